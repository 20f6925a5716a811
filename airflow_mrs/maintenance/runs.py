"""What Airflow knows of runs and their tasks, asked in the ways of Airflow 3 and of Airflow 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.record import Holder

_RUN_GOES_ON = ["queued", "running", "restarting"]
_TASK_GOES_ON = {"queued", "running", "restarting", "deferred"}
_TASK_IS_OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}


def window_states(context: Context, holder: Holder) -> dict[str, str | None]:
    """
    Return the states of a window's tasks, by their ids; mapped ones have their index behind the id.

    :param context: that of any task.
    :param holder: the window.
    """
    states = _states(context, holder)
    prefix, index = f"{holder.group_id}.", f"_{holder.map_index}" if holder.map_index >= 0 else ""
    return {
        task_id.removesuffix(index): state
        for task_id, state in states.items()
        if task_id.startswith(prefix) and task_id.endswith(index)
    }


def is_under_way(context: Context, holder: Holder) -> bool:
    """
    Tell whether a window can still come to its end by itself. That of a deleted run can't.

    A run that was marked failed is over while tasks of its window are not, and a window is over while other tasks of its
    run are not. The guard holds a cluster without tasks that belong to it alone.

    :param context: that of any task.
    :param holder: the window.
    """
    states = set(window_states(context, holder).values())
    if not _TASK_GOES_ON.isdisjoint(states):
        return True
    return _run_goes_on(context, holder) and not (states and states <= _TASK_IS_OVER)


def _run_goes_on(context: Context, holder: Holder) -> bool:
    ti: Any = context["ti"]
    if hasattr(ti, "get_dr_count"):
        return bool(ti.get_dr_count(dag_id=holder.dag_id, run_ids=[holder.run_id], states=_RUN_GOES_ON))
    return any(run.state in _RUN_GOES_ON for run in _runs(holder))


def _states(context: Context, holder: Holder) -> dict[str, str | None]:
    ti: Any = context["ti"]
    if hasattr(ti, "get_task_states"):
        states = ti.get_task_states(dag_id=holder.dag_id, run_ids=[holder.run_id])
        return dict(states.get(holder.run_id, {}))
    return {
        task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}": task.state
        for run in _runs(holder)
        for task in run.get_task_instances()
    }


def _runs(holder: Holder) -> list[Any]:
    """Return the run of a window, on Airflow 2, where workers reach the database."""
    from airflow.models import DagRun  # noqa: PLC0415

    return list(DagRun.find(dag_id=holder.dag_id, run_id=holder.run_id))
