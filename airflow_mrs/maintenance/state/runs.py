"""What Airflow knows of runs and their tasks, asked in the ways of Airflow 3 and of Airflow 2."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException

from airflow_mrs.maintenance.state.record import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.state.record import WindowKey, WindowRecord

T = TypeVar("T")

_RUN_GOES_ON = ["queued", "running", "restarting"]
_TASK_GOES_ON = {"queued", "running", "restarting", "deferred", "awaiting_input"}
_TASK_IS_OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}
# A sensor that is rescheduled is seen between its looks, nearly always.
_IN_SOMEBODYS_HANDS = {"running", "restarting", "deferred", "awaiting_input", "up_for_reschedule"}

TaskStates = dict[str, str | None]
"""The states of tasks by their ids; mapped ones have their index behind the id."""


class RunsUnreadable(AirflowException):
    """Airflow does not tell what becomes of a run. Nothing was decided; a retry may help."""


def run_states(context: Context, window: WindowKey) -> TaskStates:
    """
    Return the states of all tasks of a window's run.

    :param context: that of any task.
    :param window: the window.
    :raises RunsUnreadable: where Airflow does not tell.
    """
    return _firmly(context, window, _states)


def window_states(context: Context, window: WindowKey) -> TaskStates:
    """
    Return the states of a window's tasks.

    :param context: that of any task.
    :param window: the window.
    :raises RunsUnreadable: where Airflow does not tell.
    """
    index = f"_{window.map_index}" if window.map_index >= 0 else ""
    of_index = {
        task_id.removesuffix(index): state
        for task_id, state in run_states(context, window).items()
        if task_id.endswith(index)
    }
    return {
        task_id: state
        for task_id, state in of_index.items()
        if task_id.startswith(f"{window.group_id}.") or task_id == window.group_id
    }


def is_alive(context: Context, record: WindowRecord) -> bool:
    """
    Tell whether a window that was not closed is to be left alone: it goes on, and its time is not over.

    :param context: that of any task.
    :param record: its record.
    :raises RunsUnreadable: where Airflow does not tell.
    """
    if record.phase is Phase.CLAIMING:
        return is_claiming(context, record.holder)
    return record.lapses > time.time() and is_under_way(context, record.holder)


def is_under_way(context: Context, window: WindowKey) -> bool:
    """
    Tell whether a window can still come to its end by itself. That of a deleted run can't.

    A run that was marked failed is over while tasks of its window are not, and a window is over while other tasks of its
    run are not.

    :param context: that of any task.
    :param window: the window.
    :raises RunsUnreadable: where Airflow does not tell.
    """
    states = set(window_states(context, window).values())
    if not _TASK_GOES_ON.isdisjoint(states):
        return True
    return _firmly(context, window, _run_goes_on) and not (states and states <= _TASK_IS_OVER)


def is_claiming(context: Context, window: WindowKey) -> bool:
    """
    Tell whether a window that wants a cluster is still about to take it: that is the work of one task, at one go.

    :param context: that of any task.
    :param window: the window.
    :raises RunsUnreadable: where Airflow does not tell.
    """
    states = window_states(context, window)
    return "running" in {states.get(f"{window.group_id}.open"), states.get(window.group_id)}


def is_over(state: str | None) -> bool:
    """
    Tell whether a task has come to its end.

    :param state: its state; None where it has not begun.
    """
    return state in _TASK_IS_OVER


def is_at_a_standstill(states: TaskStates) -> bool:
    """
    Tell whether a window that is not over only waits for somebody to take it up again.

    A DAG that was paused or has gone, or a queue without workers, looks so, and for a while a window whose next task has
    not begun or is to be tried again later.

    :param states: those of its tasks.
    """
    return _IN_SOMEBODYS_HANDS.isdisjoint(states.values()) and not set(states.values()) <= _TASK_IS_OVER


def _firmly(context: Context, window: WindowKey, ask: Callable[[Context, WindowKey], T]) -> T:
    try:
        return ask(context, window)
    except Exception as error:
        raise RunsUnreadable(
            f"{window}: Airflow does not tell what becomes of it ({type(error).__name__}). Nothing was decided by that; "
            "try again when Airflow's API server and database answer."
        ) from error


def _run_goes_on(context: Context, window: WindowKey) -> bool:
    ti: Any = context["ti"]
    if hasattr(ti, "get_dr_count"):
        return bool(ti.get_dr_count(dag_id=window.dag_id, run_ids=[window.run_id], states=_RUN_GOES_ON))
    return any(run.state in _RUN_GOES_ON for run in _runs(window))


def _states(context: Context, window: WindowKey) -> TaskStates:
    ti: Any = context["ti"]
    if hasattr(ti, "get_task_states"):
        states = ti.get_task_states(dag_id=window.dag_id, run_ids=[window.run_id])
        return dict(states.get(window.run_id, {}))
    return {
        task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}": task.state
        for run in _runs(window)
        for task in run.get_task_instances()
    }


def _runs(window: WindowKey) -> list[Any]:
    """Return the run of a window, on Airflow 2, where workers reach the database."""
    from airflow.models import DagRun  # noqa: PLC0415

    return list(DagRun.find(dag_id=window.dag_id, run_id=window.run_id))
