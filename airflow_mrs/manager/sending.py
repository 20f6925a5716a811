"""A few tries for what begins something: a wait may go on for hours, a beginning may not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import (
    AnswerLost,
    ForeignRedirect,
    MRSError,
    RequestRefused,
    SessionLost,
    TooLate,
    Unreachable,
)
from airflow_mrs.manager.steps import Ask, Procedure, Remember, Say, Send
from airflow_mrs.manager.waiting import LONGEST_BACKOFF, PASSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.model import Command
    from airflow_mrs.manager.note import Note, Submitted
    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.waiting import Contact

T = TypeVar("T")

SENT_WITHIN = 5.0
"""Seconds from asking for its note to be kept in which a request must leave: far less than Airflow takes to give a try up."""

_TRIES = 3
_NOTHING_SENT = (Unreachable, SessionLost, TooLate)
_PERHAPS_ACCEPTED = (AnswerLost, ForeignRedirect)
"""A foreign redirect is by something in front of Manager, which may have passed the request on."""


def ask_briefly(contact: Contact, call: Call[T]) -> Procedure[T]:
    """
    Ask three times at most: before anything is sent, a task that fails can simply be retried.

    :param contact: asks Manager.
    :param call: a GET.
    :return: what it reads.
    :raises MRSError: whatever goes wrong with it.
    """
    for tries_left in reversed(range(_TRIES)):
        seen = yield Ask(call)
        contact.now = seen.now
        if seen.error is None:
            break
        if not (isinstance(seen.error, PASSING) and tries_left):
            raise seen.error
        yield from contact.complain(f"no answer from Manager, asking again: {seen.error}")
        yield from contact.pause(LONGEST_BACKOFF)
    return cast("T", seen.value)


def send(
    contact: Contact,
    call: Call[Command],
    note: Note,
    look: Callable[[], Procedure[Submitted | None]] | None = None,
) -> Procedure[Command | Submitted]:
    """
    Note a request that changes something, and send it; where nothing has left, look and try again, three times in all.

    :param contact: asks Manager.
    :param call: the request.
    :param note: what a later try is to know of it.
    :param look: finds out before each of the tries whether there is still a reason to send.
    :return: the command that it began; or what was found, where there is no reason to send.
    :raises AnswerLost: when nobody knows whether it was accepted.
    :raises RequestRefused: when Manager answers that it does not do it.
    :raises Unreachable: when nothing could be sent.
    :raises TooLate: when nothing was sent, since this process stood still again and again.
    """
    for tries_left in reversed(range(_TRIES)):
        found = None if look is None else (yield from look())
        if found is not None:
            return found
        seen = yield Send(call, note.submitting(), SENT_WITHIN)
        contact.now = seen.now
        error = seen.error or _refusal(seen.value, contact.name)
        if error is None:
            break
        if isinstance(error, _PERHAPS_ACCEPTED):
            raise error
        if not (isinstance(error, _NOTHING_SENT) and tries_left):
            yield Remember(note.done())
            raise error
        yield Say(logging.WARNING, f"{contact.name}: nothing was sent, trying again: {error}")
        yield from contact.pause(LONGEST_BACKOFF)
    return cast("Command", seen.value)


def _refusal(command: Command, name: str) -> MRSError | None:
    try:
        protocol.require_accepted(command, name)
    except RequestRefused as refusal:
        return refusal
    return None
