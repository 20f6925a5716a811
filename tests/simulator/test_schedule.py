from __future__ import annotations

import pytest

from airflow_mrs.simulator.faults import KINDS, Cut, LoginPage, Status, Truncate, Word
from airflow_mrs.simulator.schedule import Faults


class Day:
    """Faults whose time and luck are in a test's hands."""

    def __init__(self) -> None:
        self.now = 0.0
        self.luck = 0.0
        self.faults = Faults(clock=lambda: self.now, dice=lambda: self.luck)


def test_a_fault_stays_until_it_is_cleared() -> None:
    faults = Day().faults
    faults.set("stop", Cut())
    assert [faults.take("stop", "/") for _ in range(3)] == [Cut()] * 3
    assert faults.take("start", "/") is None
    faults.clear()
    assert faults.take("stop", "/") is None


def test_a_fault_strikes_so_many_times_and_the_first_one_goes_first() -> None:
    faults = Day().faults
    faults.set("stop", Cut(), times=2)
    faults.set("any", Status(503), times=1)
    assert [faults.take("stop", "/") for _ in range(4)] == [Cut(), Cut(), Status(503), None]


def test_a_fault_strikes_for_so_long() -> None:
    day = Day()
    day.faults.set("any", Cut(), for_seconds=5)
    day.now = 4.9
    assert day.faults.take("stop", "/") == Cut()
    day.now = 5.0
    assert day.faults.take("stop", "/") is None
    assert day.faults.as_json() == []


def test_a_fault_strikes_by_chance_and_gives_way_to_the_next() -> None:
    day = Day()
    day.faults.set("any", Cut(), chance=0.1, times=1)
    day.faults.set("any", Truncate(), chance=0.5)
    day.luck = 0.5
    assert day.faults.take("stop", "/") is None
    day.luck = 0.1
    assert day.faults.take("stop", "/") == Truncate()
    day.luck = 0.09
    assert day.faults.take("stop", "/") == Cut()
    assert day.faults.take("stop", "/") == Truncate()


def test_a_fault_is_spent_only_on_what_it_concerns() -> None:
    faults = Day().faults
    faults.set("any", Word("Unknown", service="HBase"), times=1)
    faults.set("any", LoginPage("locked"), times=1)
    assert faults.take("service", "/web/v1/cluster/1/services/Hue") is None
    assert faults.take("stop", "/web/v1/maintain/cluster/1/service/HBase/stop") is None
    assert faults.take("login_page", "/cas/login") is None
    assert faults.take("service", "/web/v1/cluster/1/services/HBase") == Word("Unknown", service="HBase")
    assert faults.take("login", "/cas/login") == LoginPage("locked")


@pytest.mark.parametrize("call", ["Stop", "control", ""])
def test_only_calls_that_there_are(call: str) -> None:
    with pytest.raises(ValueError, match="no such call"):
        Day().faults.set(call, Cut())


def test_what_is_set_is_listed() -> None:
    day = Day()
    day.faults.set("stop", Status(503, after=True), times=2, for_seconds=5, chance=0.5)
    day.now = 1
    day.faults.take("stop", "/")
    assert day.faults.as_json() == [
        {
            "kind": "status",
            "call": "stop",
            "times": 1,
            "for_seconds": 4,
            "chance": 0.5,
            "code": 503,
            "retry_after": None,
            "after": True,
        }
    ]


def test_kinds_are_named_after_their_classes() -> None:
    for kind, fault in KINDS.items():
        assert kind.replace("_", "") == fault.__name__.lower()
