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


def try_number(context: Context) -> int | None:
    """
    Return the number of this try, which a trigger carries into its event.

    :param context: Airflow's context.
    """
    return getattr(context.get("ti"), "try_number", None)


def note_deferral(context: Context) -> None:
    """
    Note which try defers, for the end that Airflow itself may put to the deferral: that one has no event.

    :param context: Airflow's context.
    """
    if KEPT_FOR_FURTHER_TRIES:
        ti: Any = context["ti"]
        ti.xcom_push(key=_KEY, value=ti.try_number)


def is_of_an_earlier_try(context: Context, next_kwargs: Mapping[str, Any] | None) -> bool:
    """
    Tell whether a task resumes with what the deferral of an earlier try came to.

    :param context: Airflow's context.
    :param next_kwargs: what ``resume_execution`` is handed.
    """
    event = (next_kwargs or {}).get("event")
    if event is not None:
        deferred = event.get("try_number")  # a trigger of an earlier version does not tell
    elif KEPT_FOR_FURTHER_TRIES:
        ti: Any = context["ti"]
        deferred = ti.xcom_pull(task_ids=ti.task_id, key=_KEY, map_indexes=ti.map_index)
    else:
        return False
    return deferred is not None and deferred != try_number(context)
