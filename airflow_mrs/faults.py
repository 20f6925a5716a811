"""What Airflow is to make of an error: a retry, or none."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

try:
    from airflow.sdk.exceptions import TaskDeferralTimeout
except ImportError:  # Airflow 2
    from airflow.exceptions import TaskDeferralTimeout  # type: ignore[no-redef]

from airflow_mrs.manager.errors import MRSError, restore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TaskDeferralTimeout", "no_retry_of_what_cannot_change", "raise_from_event"]


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


def raise_from_event(event: Mapping[str, str | int]) -> NoReturn:
    """
    Raise the error that a trigger's event tells of.

    :param event: an event with ``error`` and ``message``.
    :raises MRSError: always.
    """
    raise restore(str(event.get("error")), str(event.get("message")))
