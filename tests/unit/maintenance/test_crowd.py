"""Whatever becomes of calls and of processes: one window at a time, nothing is forgotten, and no guard is green in vain."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.maintenance.crowd import Crowd, Fault, Guard, Window, simulated

CHOICES = st.integers(0, 3)
FAULTS = st.sampled_from([Fault.NONE] * 3 + list(Fault))
SCHEDULES = st.lists(st.tuples(CHOICES, FAULTS), min_size=40, max_size=400)


def bring_back_in_the_end(crowd: Crowd) -> None:
    """Let everything come to its end, and then the guard look until it has nothing to do."""
    crowd.run()
    crowd.faults = iter(())
    for number in range(100, 106):
        crowd.now += 300.0
        last = Guard(crowd, number)
        crowd.run()
        down = [name for name, up in crowd.up.items() if not up]
        assert not (last.green and down), "\n".join(crowd.story)
        if last.green:
            break
    else:
        raise AssertionError("\n".join([*crowd.story, "the guard never has done"]))
    assert len(crowd.variables) < 20


@settings(max_examples=150)
@given(
    schedule=SCHEDULES,
    begins=st.lists(st.sampled_from([0.0, 0.5, 5.0, 40.0, 130.0, 400.0]), min_size=1, max_size=3),
    guards=st.lists(st.sampled_from([0.0, 20.0, 100.0, 300.0, 900.0]), max_size=3),
    if_busy=st.sampled_from(["refuse", "wait"]),
    listed=st.booleans(),
)
def test_many_things_go_wrong(
    schedule: list[tuple[int, Fault]],
    begins: list[float],
    guards: list[float],
    if_busy: str,
    listed: bool,
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        crowd = Crowd(iter(schedule), listed=listed)
        with simulated(monkeypatch, crowd):
            for number, begin in enumerate(begins):
                Window(crowd, f"w{number}", begins=begin, if_busy=if_busy)
            for number, begin in enumerate(guards):
                Guard(crowd, number, begins=begin)
            bring_back_in_the_end(crowd)
