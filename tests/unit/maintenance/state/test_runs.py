from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mrs.maintenance.state.record import Phase, WindowKey, WindowRecord
from airflow_mrs.maintenance.state.runs import (
    RunsUnreadable,
    TaskStates,
    is_alive,
    is_at_a_standstill,
    is_under_way,
    window_states,
)

WINDOW = WindowKey("a_dag", "a_run", "maintenance")


def seen(run_goes_on: bool, states: dict[str, str | None]) -> Any:
    """The context of a task in Airflow 3, which asks the API server for this much."""
    ti = SimpleNamespace(
        get_dr_count=lambda **_: int(run_goes_on), get_task_states=lambda **_: {"a_run": states}
    )
    return {"ti": ti}


OVER: dict[str, str | None] = {"maintenance.start_HBase": "failed", "maintenance.verdict": "failed"}


@pytest.mark.parametrize(
    ("run_goes_on", "states", "under_way"),
    [
        (True, {"maintenance.stop_HBase": "running", "maintenance.verdict": None}, True),
        (True, {"maintenance.stop_HBase": "success", "maintenance.verdict": None}, True),
        (True, {"maintenance.start_HBase": "up_for_retry", "maintenance.verdict": None}, True),
        (True, {**OVER, "after": "running"}, False),
        (False, {"maintenance.start_HBase": "deferred", "maintenance.verdict": None}, True),
        (False, {"maintenance.start_HBase": None, "maintenance.verdict": None, "after": "running"}, False),
        (False, {}, False),
        (True, {}, True),
        (True, {"maintenance": "deferred"}, True),
        (True, {"maintenance": "failed"}, False),
    ],
    ids=[
        "a task runs",
        "between two tasks",
        "a task is to be tried again",
        "the window is over, its run is not",
        "marked failed, while a start is deferred",
        "marked failed, between two tasks",
        "deleted",
        "before its first task",
        "the guard's own, whose key is that of a task",
        "the guard's own, which has failed while others go on",
    ],
)
def test_a_window_is_under_way(run_goes_on: bool, states: dict[str, str | None], under_way: bool) -> None:
    assert is_under_way(seen(run_goes_on, states), WINDOW) == under_way


def test_one_window_of_several_in_a_mapped_group() -> None:
    states: dict[str, str | None] = {
        "g.m.open_0": "success",
        "g.m.open_1": "failed",
        "g.m.open_11": "skipped",
    }

    assert window_states(seen(True, states), WindowKey("a_dag", "a_run", "g.m", 1)) == {"g.m.open": "failed"}


def test_what_is_only_unreadable_is_not_over() -> None:
    def fail(**_: object) -> None:
        raise ConnectionError

    context: Any = {"ti": SimpleNamespace(get_dr_count=fail, get_task_states=fail)}

    with pytest.raises(RunsUnreadable, match="of run 'a_run' of DAG 'a_dag'"):
        is_under_way(context, WINDOW)


def record(phase: Phase, lapses: float = 9e9) -> WindowRecord:
    return WindowRecord("1", WINDOW, "mrs_default", 1, ("HBase",), 0.0, None, lapses, phase)


@pytest.mark.parametrize(
    ("state", "alive"), [("running", True), ("up_for_retry", False), ("failed", False), (None, False)]
)
def test_a_claim_lives_while_its_task_runs(state: str | None, alive: bool) -> None:
    """And not by any clock: that of who claims may be wrong."""
    assert is_alive(seen(True, {"maintenance.open": state}), record(Phase.CLAIMING, lapses=0.0)) == alive


def test_a_window_that_is_overdue_is_dead() -> None:
    under_way = seen(True, {"maintenance.stop_HBase": "running"})

    assert is_alive(under_way, record(Phase.OPEN))
    assert not is_alive(under_way, record(Phase.OPEN, lapses=1.0))


@pytest.mark.parametrize(
    ("states", "still"),
    [
        ({"open": "success", "stop": "scheduled"}, True),
        ({"open": "success", "stop": "queued"}, True),
        ({"open": "success", "stop": "up_for_retry"}, True),
        ({"open": "success", "stop": None}, True),
        ({"open": "success", "stop": "running"}, False),
        ({"open": "success", "stop": "deferred"}, False),
        ({"open": "success", "work": "awaiting_input", "stop": None}, False),
        (
            {"open": "success", "work": "up_for_reschedule", "stop": None},
            False,
        ),  # it looks when nobody looks at it
        ({"open": "success", "stop": "failed"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_window_is_at_a_standstill(states: TaskStates, still: bool) -> None:
    assert is_at_a_standstill(states) == still
