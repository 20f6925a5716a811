from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mrs.maintenance.guard import BringBack
from airflow_mrs.maintenance.record import Holder, Phase, Record
from airflow_mrs.maintenance.runs import is_under_way, window_states

HOLDER = Holder("a_dag", "a_run", "maintenance")


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
    ],
    ids=[
        "a task runs",
        "between two tasks",
        "a task is to be tried again",
        "the window is over, its run is not",
        "marked failed, while a start is deferred",
        "marked failed, between two tasks",
        "deleted",
        "the guard's own",
    ],
)
def test_a_window_is_under_way(run_goes_on: bool, states: dict[str, str | None], under_way: bool) -> None:
    assert is_under_way(seen(run_goes_on, states), HOLDER) == under_way


def test_one_window_of_several_in_a_mapped_group() -> None:
    states: dict[str, str | None] = {
        "g.m.open_0": "success",
        "g.m.open_1": "failed",
        "g.m.open_11": "skipped",
    }

    assert window_states(seen(True, states), Holder("a_dag", "a_run", "g.m", 1)) == {"g.m.open": "failed"}


def test_the_guard_goes_on_with_what_an_earlier_try_of_its_own_has_begun() -> None:
    mine = Holder("mrs_maintenance_guard", "a_run", "mrs_window_10.0.0.5_28443_1")
    record = Record(mine, "mrs_default", 1, ("HBase",), 0.0, None, 9e9, Phase.CLOSING)
    guard, context = BringBack(task_id="bring_back"), seen(True, {})

    assert guard._why_dead(context, record, mine) == "has brought back only a part, in a try before this one"
    assert guard._why_dead(context, record, Holder(mine.dag_id, "another_run", mine.group_id)) is None
