"""
Which try a resumption belongs to.

Airflow 3.0 keeps what a deferral came to, and hands it to each further try. Those are to begin anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

KEPT_FOR_FURTHER_TRIES = __version__.startswith("3.0.")
"""Whether this Airflow does that."""

_KEY = "mrs_deferred"


def task_instance_id(context: Context) -> str | None:
    """
    Return the id of the task instance, of which each try has its own; Airflow 2 has none.

    The number of the try would not do: where a scheduler has died, a task that is about to resume goes on under the next one.

    :param context: Airflow's context.
    """
    found = getattr(context.get("ti"), "id", None)
    return None if found is None else str(found)


def is_first_try(context: Context, retries: int | None) -> bool:
    """
    Tell whether this is the first try of a task, since it was cleared if it was.

    :param context: Airflow's context.
    :param retries: how many the task has.
    """
    ti: Any = context["ti"]
    return bool(ti.try_number == ti.max_tries - (retries or 0) + 1)


def note_deferral(context: Context) -> None:
    """
    Note which try defers, for the end that Airflow itself may put to the deferral: that one has no event.

    :param context: Airflow's context.
    """
    if KEPT_FOR_FURTHER_TRIES:
        ti: Any = context["ti"]
        ti.xcom_push(key=_KEY, value=task_instance_id(context))


def is_of_an_earlier_try(context: Context, next_kwargs: Mapping[str, Any] | None) -> bool:
    """
    Tell whether a task resumes with what the deferral of an earlier try came to.

    :param context: Airflow's context.
    :param next_kwargs: what ``resume_execution`` is handed.
    """
    event = (next_kwargs or {}).get("event")
    if event is not None:
        deferred = event.get("task_instance_id")  # a trigger of an earlier version does not tell
    elif KEPT_FOR_FURTHER_TRIES:
        ti: Any = context["ti"]
        deferred = ti.xcom_pull(task_ids=ti.task_id, key=_KEY, map_indexes=ti.map_index)
    else:
        return False
    return deferred is not None and deferred != task_instance_id(context)
