"""A few tries for what begins something: a wait may go on for hours, a beginning may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import MRSError, SessionLost, Unreachable
from airflow_mrs.manager.steps import Ask, Procedure
from airflow_mrs.manager.waiting import PASSING

if TYPE_CHECKING:
    from airflow_mrs.manager.model import Command
    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.waiting import Contact

T = TypeVar("T")

_TRIES = 3


def ask_briefly(contact: Contact, call: Call[T]) -> Procedure[T]:
    """
    Ask three times at most: before anything is sent, a task that fails can simply be retried.

    :param contact: asks Manager.
    :param call: a GET.
    :return: what it reads.
    :raises MRSError: whatever goes wrong with it.
    """
    return (yield from _try(contact, call, PASSING, "no answer from Manager, asking again"))


def send(contact: Contact, call: Call[Command]) -> Procedure[Command]:
    """
    Send a request that changes something; a connection that does not come about is tried again, since nothing left by it.

    :param contact: asks Manager.
    :param call: the request.
    :return: the command that it began.
    :raises AnswerLost: when nobody knows whether it was accepted.
    :raises RequestRefused: when Manager answers that it does not do it.
    :raises Unreachable: when nothing could be sent.
    """
    command = yield from _try(contact, call, (Unreachable, SessionLost), "nothing was sent, trying again")
    protocol.require_accepted(command, contact.name)
    return command


def _try(contact: Contact, call: Call[T], passing: tuple[type[MRSError], ...], words: str) -> Procedure[T]:
    for tries_left in reversed(range(_TRIES)):
        seen = yield Ask(call)
        contact.now = seen.now
        if seen.error is None:
            break
        if not (isinstance(seen.error, passing) and tries_left):
            raise seen.error
        yield from contact.try_again(f"{words}: {seen.error}")
    return cast("T", seen.value)
