"""When nothing of a window moves any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.maintenance.state import observations as module
from airflow_mrs.maintenance.state.observations import LONGEST_GAP, Observations
from airflow_mrs.maintenance.state.variables import VariablesUnreadable

if TYPE_CHECKING:
    from airflow_mrs.maintenance.state.runs import TaskStates
    from tests.unit.maintenance.state.fakes import Time, Unlisted

STILL: TaskStates = {"m.open": "success", "m.stop_HBase": "queued"}
FIVE_MINUTES = 300.0


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch, clock: Time) -> None:
    monkeypatch.setattr(module, "time", clock)


def look(clock: Time, states: TaskStates = STILL, *, after: float = FIVE_MINUTES) -> float:
    clock.sleep(after)
    observations = Observations.read()
    still = observations.still_for("a_window", states)
    observations.write()
    return still


def test_it_adds_up_from_look_to_look(airflow: type[Unlisted], clock: Time) -> None:
    assert [look(clock) for _ in range(4)] == [0.0, 300.0, 600.0, 900.0]


def test_it_begins_anew_when_anything_has_moved(airflow: type[Unlisted], clock: Time) -> None:
    look(clock)
    look(clock)

    assert look(clock, {**STILL, "m.stop_HBase": "up_for_retry"}) == 0.0
    assert look(clock, {**STILL, "m.stop_HBase": "up_for_retry"}) == 300.0


def test_it_begins_anew_after_an_outage_of_airflow(airflow: type[Unlisted], clock: Time) -> None:
    """In an hour without a scheduler nothing moves, and nothing is wrong with the windows."""
    look(clock)
    look(clock)

    assert look(clock, after=LONGEST_GAP + 1) == 0.0


def test_a_window_that_moved_on_is_forgotten(airflow: type[Unlisted], clock: Time) -> None:
    look(clock)
    observations = Observations.read()
    observations.write()

    assert Observations.read().earlier == {}


@pytest.mark.parametrize(
    "text",
    [
        "by hand",
        "[]",
        "null",
        '{"a_window": 1}',
        '{"a_window": {"since": "1", "last": 0}}',
        "{",
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_what_somebody_has_edited_only_takes_longer(airflow: type[Unlisted], clock: Time, text: str) -> None:
    airflow.rows["mrs_guard_observations"] = text

    assert look(clock) == 0.0
    assert look(clock) == 300.0


def test_a_moment_in_the_future_proves_nothing(airflow: type[Unlisted], clock: Time) -> None:
    seen = {"a_window": {"states": STILL, "since": 0.0, "last": clock.now + 9e6}}
    airflow.rows["mrs_guard_observations"] = json.dumps(seen)

    assert look(clock) == 0.0


def test_in_an_outage_nothing_is_new(airflow: type[Unlisted], clock: Time) -> None:
    airflow.broken = staticmethod(lambda _: True)

    with pytest.raises(VariablesUnreadable):
        Observations.read()
