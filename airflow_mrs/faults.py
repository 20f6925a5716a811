"""What Airflow is to make of an error: a retry, or none."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_mrs.manager.errors import MRSError, restore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def no_retry_of_what_cannot_change() -> Iterator[None]:
    """
    Turn an error that trying again can't mend into one that Airflow does not retry.

    :raises AirflowFailException: for a wrong password, a refused certificate, a bad argument and the like.
    """
    try:
        yield
    except MRSError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise


def deferral_timed_out(next_method: str, next_kwargs: Mapping[str, object] | None) -> bool:
    """
    Tell whether a task resumes because Airflow itself ended its deferral at the time-out.

    Airflow 2 has no exception of its own for that, so what the resumption is handed decides.

    :param next_method: what ``resume_execution`` is to call.
    :param next_kwargs: with what.
    """
    return next_method == "__fail__" and "timeout" in str((next_kwargs or {}).get("error")).lower()


def raise_from_event(event: Mapping[str, str | int]) -> NoReturn:
    """
    Raise the error that a trigger's event tells of.

    :param event: an event with ``error`` and ``message``.
    :raises MRSError: always.
    """
    raise restore(str(event.get("error")), str(event.get("message")))
