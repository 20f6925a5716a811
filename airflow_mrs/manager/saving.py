"""Saving a configuration once: there is no service whose state could tell whether it was accepted."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import (
    AnswerLost,
    InDoubt,
    RequestRefused,
)
from airflow_mrs.manager.model import NO_COMMAND, Command, CommandState, Configuration
from airflow_mrs.manager.note import Kept, Note, Submitted
from airflow_mrs.manager.sending import ask_briefly, send
from airflow_mrs.manager.steps import Procedure, Remember, Say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.waiting import Contact

_SENDS = 2
_ROUNDS = 200_000
"""Of PBKDF2, which machines in FIPS mode have too: so many take about as long as a request."""


@dataclass(frozen=True, slots=True)
class ConfigurationSave:
    """
    Configuration values to be saved. Its text is for messages.

    :param configurations: the values, by component.
    :param cluster_id: the cluster.
    :param restart_affected: whether Manager restarts what the change affects.
    :raises InvalidArgument: for a name or an id that can't be right.
    """

    configurations: tuple[Configuration, ...]
    cluster_id: int = 1
    restart_affected: bool = False

    def __post_init__(self) -> None:
        self.send()  # checks what there is to send

    def __str__(self) -> str:
        return (
            f"saving the configuration of {', '.join(entry.component_name for entry in self.configurations)}"
        )

    def identity(self, salt: str) -> dict[str, str | int]:
        """
        Return what tells it from others. The values may be secret, and whoever sees a task sees its note.

        So a guess takes long, and its result is short: enough to notice that somebody has edited the DAG, but of a million
        possible values fifteen or so fit.

        :param salt: 32 hexadecimal digits; empty for the digest that notes of former versions have.
        """
        values = json.dumps(self.send().body, sort_keys=True).encode()
        if not salt:
            return self._identity(hashlib.sha256(values).hexdigest())
        digest = hashlib.pbkdf2_hmac("sha256", values, bytes.fromhex(salt), _ROUNDS, dklen=2)
        return {**self._identity(digest.hex()), "salt": salt}

    def _identity(self, digest: str) -> dict[str, str | int]:
        return {"action": "save", "digest": digest, "cluster_id": self.cluster_id}

    def note(self, kept: Mapping[str, object] | None) -> tuple[Note, Kept]:
        """
        Return the note of this save, and what an earlier one tells of it.

        :param kept: the note that an earlier try left, if there is one.
        """
        salt = str((kept or {}).get("salt", ""))
        if re.fullmatch("[0-9a-f]{32}", salt):
            note = Note(self.identity(salt))
            return note, note.read(kept)
        return Note(self.identity(secrets.token_hex(16))), Note(self.identity("")).read(kept)

    def send(self) -> Call[Command]:
        """Return the call that begins it."""
        return protocol.save_configuration(
            self.configurations, cluster_id=self.cluster_id, restart_affected=self.restart_affected
        )


def save(
    contact: Contact, what: ConfigurationSave, kept: Mapping[str, object] | None
) -> Procedure[Submitted]:
    """
    Begin to save, or find out that it has begun.

    The same values saved twice are the same values. A restart that comes with them is not to come twice, so that a
    lost answer ends the try where one was asked for.

    :param contact: asks Manager.
    :param what: the values.
    :param kept: the note that an earlier try left, if there is one.
    :return: what there is to wait for.
    :raises RequestRefused: when Manager answers that it does not do it.
    :raises InDoubt: when nobody can tell whether Manager restarts something.
    :raises Unreachable: when nothing could be sent.
    :raises TooLate: when nothing was sent, since this process stood still again and again.
    """
    note, earlier = what.note(kept)
    if earlier.phase == "submitted" and earlier.command_id is not None:
        resumed = yield from _resume(contact, what, note, earlier.command_id, cleared=earlier.cleared)
        if resumed is not None:
            return resumed
    if earlier.phase == "submitting":
        yield from _require_no_restart(contact, what, note)
    for _ in range(_SENDS):
        try:
            outcome = yield from send(contact, what.send(), note)
        except AnswerLost as error:
            yield Say(logging.WARNING, f"{contact.name}: the answer to the request was lost: {error}")
            yield from _require_no_restart(contact, what, note)
            lost = error
            continue
        if isinstance(outcome, Submitted):
            return outcome
        return (yield from _accepted(contact, note, outcome))
    raise AnswerLost(f"{contact.name}: sent twice, and both answers were lost, last: {lost}")


def _accepted(contact: Contact, note: Note, command: Command) -> Procedure[Submitted]:
    if command.id != NO_COMMAND:
        yield Say(logging.INFO, f"{contact.name}: Manager began command {command.id}")
        yield Remember(note.submitted(command.id))
        return Submitted(command.id)
    yield Remember(note.done())
    if command.state is not CommandState.COMPLETE:
        raise InDoubt(
            f"{contact.name}: Manager answered {command.word or 'nothing'}, without a command id that could be waited "
            "for. Have a look at Manager."
        )
    return Submitted(over=True)


def _resume(
    contact: Contact, what: ConfigurationSave, note: Note, command_id: int, *, cleared: bool
) -> Procedure[Submitted | None]:
    """Decide about a command that an earlier try sent; None where there is reason to send afresh."""
    try:
        command = yield from ask_briefly(contact, protocol.get_command(command_id))
    except RequestRefused:
        command = Command(command_id, CommandState.FAILED, "")
    if command.state is CommandState.FAILED:
        yield Say(
            logging.INFO,
            f"{contact.name}: command {command_id} of an earlier try failed with {command.failure}",
        )
        if not command.has_run:  # Manager may have forgotten it
            yield from _require_no_restart(contact, what, note)
        return None
    yield Say(logging.INFO, f"{contact.name}: command {command_id} of an earlier try is {command.word}")
    if cleared and command.state is CommandState.COMPLETE:
        return None
    if cleared:  # once is enough: a retry of this try is to wait on
        yield Remember(note.submitted(command_id))
    return Submitted(command_id, over=command.state is CommandState.COMPLETE)


def _require_no_restart(contact: Contact, what: ConfigurationSave, note: Note) -> Procedure[None]:
    """Let a request be sent again, or for the first time, where it can do no harm; Manager may have accepted one."""
    if what.restart_affected:
        yield Remember(note.done())  # whoever clears the task has looked
        raise InDoubt(
            f"{contact.name}: it is not known whether Manager has begun to save and to restart, and asking again might "
            "restart twice. Have a look at Manager; clear the task if it did not."
        )
