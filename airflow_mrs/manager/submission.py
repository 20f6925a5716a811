"""Stopping once: how a stop or a start is sent so that it is never sent twice and never forgotten."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    RequestRefused,
    StateUndecided,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.manager.model import NO_COMMAND, Command, CommandState, ServiceState
from airflow_mrs.manager.note import Note, Submitted
from airflow_mrs.manager.sending import ask_briefly, send
from airflow_mrs.manager.steps import Procedure, Remember, Say
from airflow_mrs.manager.waiting import (
    CONTRADICTING_SECONDS,
    LONGEST_CHANGE,
    UNDECIDED_POLLS,
    Contact,
    Streak,
    look,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mrs.manager.change import ServiceChange

_SENDS = 2


def submit(
    contact: Contact, change: ServiceChange, kept: Mapping[str, object] | None
) -> Procedure[Submitted]:
    """
    Begin a change of a service, or find out that it has begun, or that there is nothing to do.

    :param contact: asks Manager.
    :param change: the stop or the start.
    :param kept: the note that an earlier try left, if there is one.
    :return: what there is to wait for.
    :raises RequestRefused: when Manager answers that it does not do it.
    :raises StateUndecided: when nobody can tell whether the request was accepted.
    :raises Unreachable: when nothing could be sent.
    :raises TooLate: when nothing was sent, since this process stood still again and again.
    """
    note = Note(change.identity)
    earlier = note.read(kept)
    doubtful = earlier.phase == "submitting"
    if earlier.phase == "submitted" and earlier.command_id is not None:
        resumed = yield from _resume(contact, change, earlier.command_id)
        if resumed is not None:
            return resumed
    for _ in range(_SENDS):
        try:
            outcome = yield from send(
                contact, change.send(), note, partial(_look, contact, change, doubtful=doubtful)
            )
        except AnswerLost as error:
            yield Say(logging.WARNING, f"{contact.name}: the answer to the request was lost: {error}")
            doubtful = True
            continue
        if isinstance(outcome, Submitted):
            return outcome
        return (yield from _accepted(contact, change, note, outcome))
    found = yield from _find_out(contact, change)
    if found is not None:
        return found
    raise StateUndecided(
        f"{contact.name}: the answer to the request was lost twice, and {change.service_name} shows no sign of it. "
        "Have a look at Manager before trying again."
    )


def _resume(contact: Contact, change: ServiceChange, command_id: int) -> Procedure[Submitted | None]:
    """Decide about a command that an earlier try sent; None where there is reason to send afresh."""
    try:
        command = yield from ask_briefly(contact, protocol.get_command(command_id))
    except RequestRefused:
        command = Command(command_id, CommandState.FAILED, "")
    if not command.is_over:
        yield Say(
            logging.INFO, f"{contact.name}: command {command_id} of an earlier try is running, waiting for it"
        )
        return Submitted(command_id)
    if command.state is CommandState.FAILED and command.has_run:
        yield Say(
            logging.INFO,
            f"{contact.name}: command {command_id} of an earlier try failed with {command.failure}",
        )
        return None
    service = yield from look(contact, change)
    state = service.state if service else ServiceState.UNKNOWN
    if state is change.target or (state is ServiceState.UNKNOWN and command.state is CommandState.COMPLETE):
        yield Say(logging.INFO, f"{contact.name}: command {command_id} of an earlier try has done it")
        return Submitted(command_id, over=True)
    # FAILED without a trace: Manager may have forgotten it. COMPLETE: the service may only be slow to show it.
    return (yield from _find_out(contact, change, may_run=command.state is CommandState.FAILED))


def _look(contact: Contact, change: ServiceChange, *, doubtful: bool) -> Procedure[Submitted | None]:
    """Look whether there is a reason to send; None where there is. A request that was sent before may be in doubt."""
    if not doubtful:
        return (yield from _look_before(contact, change))
    yield Say(logging.WARNING, f"{contact.name}: it is not known whether the request was accepted; looking")
    return (yield from _find_out(contact, change))


def _look_before(contact: Contact, change: ServiceChange) -> Procedure[Submitted | None]:
    """Read the state before anything is sent; None where the request is to be sent."""
    opposite = ServiceState.UP if change.target is ServiceState.DOWN else ServiceState.DOWN
    settling = False
    while True:
        try:
            service = yield from ask_briefly(contact, change.look())
        except (RequestRefused, BadAnswer) as error:
            if isinstance(error, BadAnswer) and error.gateway:
                raise Unreachable(f"{contact.name}: Manager is away, nothing was sent: {error}") from None
            yield Say(
                logging.WARNING, f"{contact.name}: the state of {change.service_name} can't be read: {error}"
            )
            return None
        except AnswerLost as error:
            raise Unreachable(f"{contact.name}: Manager does not answer, nothing was sent: {error}") from None
        if service.state is change.target:
            yield Say(logging.INFO, f"{contact.name}: {change.service_name} is already {service.word!r}")
            return Submitted(over=True)
        if service.state is change.on_the_way:
            yield Say(
                logging.INFO,
                f"{contact.name}: {change.service_name} is already {service.word!r}, waiting for it",
            )
            return Submitted()
        if service.state in {opposite, ServiceState.UNKNOWN}:
            return None
        if not settling:
            settling = True
            yield Say(
                logging.INFO,
                f"{contact.name}: {change.service_name} is {service.word!r}, letting that settle first",
            )
        if contact.time_is_over:
            raise WaitTimedOut(
                f"{contact.name}: {change.service_name} is {service.word!r} and did not settle in time. Nothing was sent."
            )
        yield from contact.pause()


def _find_out(
    contact: Contact, change: ServiceChange, *, may_run: bool = True
) -> Procedure[Submitted | None]:
    """
    Find out by the service's state whether a request was accepted; None where nothing comes of it any more.

    A service that moves the other way tells nothing yet: the request may stand behind that. One whose state has no
    word for moving does not tell that it was left alone, unless the command is known not to run (``may_run``).

    :raises StateUndecided: where the state does not tell.
    """
    untouched, undecided = Streak(), Streak(UNDECIDED_POLLS)
    begun = contact.now
    contact.begin_anew()
    while True:
        service = yield from look(contact, change)
        state, word = (service.state, service.word) if service else (ServiceState.UNKNOWN, "")
        if state in {change.target, change.on_the_way}:
            yield Say(
                logging.INFO,
                f"{contact.name}: the request got through, {change.service_name} is {word!r}; watching its state",
            )
            return Submitted(over=state is change.target)
        untouched.add(contact.now, same=state.settled)
        undecided.add(contact.now, same=state is ServiceState.UNKNOWN)
        unseen = may_run and service is not None and service.hides_movement
        if untouched.convinces(contact.now, CONTRADICTING_SECONDS) and not unseen:
            yield Say(
                logging.INFO, f"{contact.name}: {change.service_name} stays {word!r}, nothing is under way"
            )
            return None
        waited_in_vain = contact.time_is_over or contact.now - begun >= LONGEST_CHANGE
        if undecided.convinces(contact.now, CONTRADICTING_SECONDS) or waited_in_vain:
            raise StateUndecided(
                f"{contact.name}: it is not known whether the request got through, and the state of "
                f"{change.service_name}, which alone could tell, is {word or 'unknown'!r}. Have a look at Manager; a "
                "further try begins with the service's state."
            )
        yield from contact.pause()


def _accepted(contact: Contact, change: ServiceChange, note: Note, command: Command) -> Procedure[Submitted]:
    if command.id == NO_COMMAND:
        yield Say(
            logging.INFO,
            f"{contact.name}: Manager answered {command.word or 'nothing'}, without a command id",
        )
        if command.state is not CommandState.COMPLETE:
            return Submitted()
        yield from settle(contact, change, taken_at_its_word=True)
        return Submitted(over=True)
    yield Say(logging.INFO, f"{contact.name}: Manager began command {command.id}")
    yield Remember(note.submitted(command.id))
    return Submitted(command.id)
