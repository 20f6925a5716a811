"""When is a command over? Polling, outages and the service's own state, without I/O and without a clock."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    CommandFailed,
    ContactLost,
    LoginRefused,
    RequestRefused,
    SessionLost,
    StateContradicts,
    StateUndecided,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.manager.model import ClusterHealth, Command, CommandState, Service, ServiceState
from airflow_mrs.manager.pace import Pace
from airflow_mrs.manager.steps import Ask, Pause, Procedure, Say, Seen, Send

if TYPE_CHECKING:
    from airflow_mrs.manager.change import ServiceChange
    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.steps import Step

T = TypeVar("T")

LONGEST_OUTAGE = 600.0
"""Seconds without one good answer after which a wait gives up: a switchover takes up to five minutes."""

LONGEST_LOCKOUT = 3600.0
"""Seconds after which whoever has no deadline of its own gives up to wait until its login is let in."""

LONGEST_BACKOFF = 60.0
"""Seconds after which the same is asked once more at the latest, however rare the polls."""

CONTRADICTING_POLLS = 5
"""So many polls in a row must say the same before the state of a service counts against a command."""

UNDECIDED_POLLS = 12
"""So many polls in a row must leave the state open, where only it can decide, before a wait gives up."""

CONTRADICTING_SECONDS = 15.0
"""Either must go on for at least this long: the state may trail what happens, and polls may come every moment."""

LONGEST_CHANGE = 900.0
"""Seconds that a stop or a start may take unseen, where a service's state has no word for being on its way."""

_NEXT_LOGIN = 15.0
"""Seconds after which a login is asked for anew that was refused for now. The session sends one every ten minutes only."""

_REFUSED_POLLS = 3
_FIRST_PAUSE = 1.0


@dataclass(slots=True)
class Streak:
    """
    Polls in a row that say the same.

    :param enough: how many of them convince.
    """

    enough: int = CONTRADICTING_POLLS
    _polls: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    @property
    def begun(self) -> bool:
        """Whether the last poll was one of them."""
        return self._polls > 0

    def add(self, now: float, *, same: bool) -> None:
        """Count a poll, or begin anew."""
        if not same:
            self._polls = 0
            return
        if not self._polls:
            self._since = now
        self._polls += 1

    def convinces(self, now: float, seconds: float) -> bool:
        """Whether there were enough of them, over so many seconds."""
        return self._polls >= self.enough and now - self._since >= seconds


PASSING = (AnswerLost, Unreachable, SessionLost)
"""The errors that can pass by themselves."""


@dataclass(slots=True)
class Contact:
    """
    Asks Manager again and again, through outages.

    :param name: what messages begin with: connection, service, command.
    :param poll_interval: seconds between two polls.
    :param deadline: when to give up, in seconds since the epoch.
    :param now: the time, in seconds since the epoch; it moves on with every answer.
    :param jitter: a random number from 0 to 1, so that many waits don't come back at the same moment.
    """

    name: str
    poll_interval: float
    deadline: float
    now: float
    jitter: Callable[[], float] = random.random
    _next_pause: float = field(default=_FIRST_PAUSE, init=False)
    _told: str = field(default="", init=False)
    _news: Pace = field(init=False)
    _outages: Pace = field(init=False)

    def __post_init__(self) -> None:
        self._news, self._outages = Pace(self.now), Pace(self.now)

    @property
    def time_is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.now >= self.deadline

    def ask(self, call: Call[T]) -> Procedure[T]:
        """
        Carry out a call that changes nothing, until there is an answer.

        :param call: a GET.
        :return: what it reads.
        :raises ContactLost: at the deadline, or after ten minutes without an answer.
        :raises MRSError: at once, for whatever does not pass by itself.
        """
        since, failures, told = self.now, 0, False
        while True:
            seen = yield Ask(call)
            self.now = seen.now
            if seen.error is None:
                if told:
                    yield Say(
                        logging.INFO, f"{self.name}: Manager answers again after {self.now - since:.0f} s"
                    )
                return cast("T", seen.value)
            if not isinstance(seen.error, PASSING):
                raise seen.error
            if not failures:
                since = seen.now  # the login may have had to be waited for
            if not told:
                told = yield from self.complain(f"no answer from Manager, asking on: {seen.error}")
            failures += 1
            if self.time_is_over or self.now - since >= LONGEST_OUTAGE:
                reason = str(seen.error).rstrip(".")
                raise ContactLost(
                    f"{self.name}: Manager has not answered for {self.now - since:.0f} s, last with {reason}. A "
                    "command that runs goes on in Manager."
                )
            yield from self._pause(self._backoff(failures, seen.error), until=since + LONGEST_OUTAGE)

    def pause(self, longest: float = float("inf")) -> Procedure[None]:
        """
        Wait for the time of the next poll. The first ones come faster: many a command is over at once.

        :param longest: seconds that are enough all the same.
        """
        yield from self._pause(min(self.poll_interval, self._next_pause, longest))
        self._next_pause = min(2 * self._next_pause, max(self.poll_interval, _FIRST_PAUSE))

    def begin_anew(self) -> None:
        """Let the first polls come faster once more, since they are about something else now."""
        self._next_pause = _FIRST_PAUSE

    def tell(self, words: str) -> Procedure[None]:
        """
        Log what is seen, where it has changed. Of what changes all the time, the log has less and less.

        :param words: what is seen.
        """
        if words != self._told and self._news.allows(self.now):
            self._told = words
            yield Say(logging.INFO, f"{self.name}: {words}")

    def complain(self, words: str) -> Procedure[bool]:
        """
        Log an outage. Of those that come all the time, the log has less and less.

        :param words: what goes wrong.
        :return: whether it was logged.
        """
        allowed = self._outages.allows(self.now)
        if allowed:
            yield Say(logging.WARNING, f"{self.name}: {words}")
        return allowed

    def _pause(self, seconds: float, until: float = float("inf")) -> Procedure[None]:
        seen = yield Pause(max(0.0, min(seconds, self.deadline - self.now, until - self.now)))
        self.now = seen.now

    def _backoff(self, failures: int, error: Exception) -> float:
        # However rare the polls, an outage that is over is not to be taken for one that lasts.
        first = min(self.poll_interval, LONGEST_BACKOFF)
        backoff = min(first * 2.0 ** min(failures - 1, 16), LONGEST_BACKOFF) * (0.5 + self.jitter() / 2)
        asked = error.retry_after if isinstance(error, BadAnswer) else None
        return max(backoff, asked or 0.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What one poll saw.

    :param over: whether that is what is waited for.
    :param words: what it is.
    """

    over: bool
    words: str


Poll = Callable[[Contact], Procedure[Reading]]
"""Asks once, if Manager answers."""


def wait_until_over(contact: Contact, poll: Poll) -> Procedure[None]:
    """
    Poll until what is waited for has come. Logs what changes, not every poll.

    :param contact: asks Manager.
    :param poll: what to ask.
    :raises WaitTimedOut: when the time is over.
    :raises ContactLost: when Manager gives no answer for too long.
    :raises RequestRefused: when Manager refuses to tell, three times in a row.
    """
    while True:
        reading = yield from poll_once(contact, poll)
        if reading.over:
            return
        if contact.time_is_over:
            raise WaitTimedOut(f"{contact.name}: the time for the wait is over; {reading.words}.")
        yield from contact.pause()


def poll_once(contact: Contact, poll: Poll) -> Procedure[Reading]:
    """
    Ask once, and log what has changed.

    :param contact: asks Manager.
    :param poll: what to ask.
    :return: what it saw.
    """
    reading = yield from poll(contact)
    if reading.over:
        yield Say(logging.INFO, f"{contact.name}: {reading.words}")
    else:
        yield from contact.tell(reading.words)
    return reading


def poll_service(contact: Contact, call: Call[Service], target: ServiceState) -> Procedure[Reading]:
    """
    Ask once whether a service is in a state.

    :param contact: asks Manager.
    :param call: names the service.
    :param target: the state.
    """
    service = yield from _ask_firmly(contact, call)
    return Reading(service.state is target, f"{service.name} is {service.word or 'unknown'!r}")


def poll_health(contact: Contact, cluster_id: int) -> Procedure[Reading]:
    """
    Ask once whether the health of a cluster is GOOD.

    :param contact: asks Manager.
    :param cluster_id: the cluster.
    """
    health = yield from _ask_firmly(contact, protocol.get_cluster_health(cluster_id))
    return Reading(health is ClusterHealth.GOOD, f"the health of the cluster is {health}")


def wait_for_command(contact: Contact, command_id: int) -> Procedure[Command]:
    """
    Wait for a command, and take its COMPLETE and FAILED at their word.

    :param contact: asks Manager.
    :param command_id: the command.
    :return: the command as it ended, COMPLETE.
    :raises CommandFailed: when it failed.
    :raises WaitTimedOut: when the time is over; the command goes on.
    :raises ContactLost: when Manager gives no answer for too long.
    """
    command = yield from _follow(contact, command_id)
    if command.state is CommandState.FAILED:
        raise _failed(contact, command)
    return command


def poll_command(contact: Contact, command_id: int) -> Procedure[Reading]:
    """
    Ask once whether a command is over.

    :param contact: asks Manager.
    :param command_id: the command.
    :raises CommandFailed: when it failed.
    """
    command = yield from _ask_firmly(contact, protocol.get_command(command_id))
    if command.state is CommandState.FAILED:
        raise _failed(contact, command)
    over = command.state is CommandState.COMPLETE
    return Reading(over, f"state {command.word or 'none'}, progress {command.progress}%")


def wait_for_change(contact: Contact, change: ServiceChange, command_id: int | None) -> Procedure[None]:
    """
    Wait until a service has been stopped or started.

    :param contact: asks Manager.
    :param change: the stop or the start.
    :param command_id: its command; None where nobody knows it, so that only the service's state can tell.
    :raises CommandFailed: when the command failed.
    :raises StateContradicts: when the service is clearly not where it should be.
    :raises StateUndecided: when only the service's state could tell, and it does not.
    :raises WaitTimedOut: when the time is over; the command goes on.
    :raises ContactLost: when Manager gives no answer for too long.
    """
    if command_id is None:
        yield from settle(contact, change, taken_at_its_word=False)
        return
    try:
        command = yield from _follow(contact, command_id)
    except RequestRefused as error:
        yield Say(
            logging.WARNING,
            f"{contact.name}: Manager says nothing of the command ({error}); watching the service",
        )
        yield from settle(contact, change, taken_at_its_word=False)
        return
    if command.state is CommandState.COMPLETE:
        yield from settle(contact, change, taken_at_its_word=True)
    elif command.has_run:
        raise _failed(contact, command)
    else:
        yield Say(
            logging.WARNING,
            f"{contact.name}: FAILED without a trace of a run ({command.failure}); Manager may have forgotten the "
            "command, so the service's state decides",
        )
        try:
            yield from settle(contact, change, taken_at_its_word=False)
        except StateContradicts:
            raise _failed(contact, command) from None
        except StateUndecided as error:
            raise StateUndecided(f"{error} The command itself: {command.failure}.") from None


def _follow(contact: Contact, command_id: int) -> Procedure[Command]:
    """Poll a command to its end. Logs what changes, not every poll."""
    warned = False
    while True:
        command = yield from _ask_firmly(contact, protocol.get_command(command_id))
        if command.is_over:
            return command
        if command.state is CommandState.UNKNOWN and not warned:
            warned = True
            yield Say(logging.WARNING, f"{contact.name}: state {command.word!r} is not known, polling on")
        step = f", {command.steps[-1].name}" if command.steps else ""
        yield from contact.tell(f"{command.word or 'no state'}, {command.progress}%{step}")
        if contact.time_is_over:
            raise WaitTimedOut(
                f"{contact.name}: the time for the wait is over; last state {command.word or 'none'}, progress "
                f"{command.progress}%. The command goes on in Manager."
            )
        yield from contact.pause()


def _ask_firmly(contact: Contact, call: Call[T]) -> Procedure[T]:
    """Ask; a refusal must be repeated to count, since right after a switchover much is refused."""
    for tries_left in reversed(range(_REFUSED_POLLS)):
        try:
            return (yield from contact.ask(call))
        except RequestRefused:
            if not tries_left or contact.time_is_over:
                raise
            yield from contact.pause(LONGEST_BACKOFF)
    raise AssertionError("the last try returns or raises")


def settle(contact: Contact, change: ServiceChange, *, taken_at_its_word: bool) -> Procedure[None]:
    """
    Watch a service until it is in the target state.

    :param contact: asks Manager.
    :param change: names the service and where it should get to.
    :param taken_at_its_word: whether Manager has reported COMPLETE: then a state that tells nothing will do.
    :raises StateContradicts: when the service is clearly not where it should be.
    :raises StateUndecided: when the state tells nothing, and only it could.
    :raises WaitTimedOut: when the time is over.
    """
    against, undecided = Streak(), Streak(UNDECIDED_POLLS)
    contact.begin_anew()
    while True:
        service = yield from look(contact, change)
        state = service.state if service else ServiceState.UNKNOWN
        word = (service.word if service else "") or "unknown"
        if state is change.target or (
            state is ServiceState.UNKNOWN and taken_at_its_word and not against.begun
        ):
            return
        against.add(contact.now, same=state not in {change.on_the_way, ServiceState.UNKNOWN})
        unseen = service is not None and service.hides_movement and not taken_at_its_word
        undecided.add(contact.now, same=state is ServiceState.UNKNOWN)
        patience = 0.0 if contact.time_is_over else CONTRADICTING_SECONDS
        if against.convinces(contact.now, LONGEST_CHANGE if unseen else patience):
            said = (
                "Manager reported the command COMPLETE, but"
                if taken_at_its_word
                else "no command seems to run, and"
            )
            raise StateContradicts(f"{contact.name}: {said} {change.service_name} is still {word!r}.")
        if undecided.convinces(contact.now, patience):
            raise StateUndecided(
                f"{contact.name}: only the state of {change.service_name} could tell how this went, and it is {word!r}."
            )
        yield from contact.tell(f"{change.service_name} is {word!r}")
        if contact.time_is_over:
            raise WaitTimedOut(
                f"{contact.name}: the time for the wait is over; {change.service_name} is {word!r}. What runs in "
                "Manager goes on."
            )
        yield from contact.pause()


def look(contact: Contact, change: ServiceChange) -> Procedure[Service | None]:
    """
    Read the state of a service.

    :param contact: asks Manager.
    :param change: names the service.
    :return: the service; None where Manager refuses to tell.
    """
    try:
        return (yield from contact.ask(change.look()))
    except RequestRefused:
        return None


def _failed(contact: Contact, command: Command) -> CommandFailed:
    return CommandFailed(f"{contact.name}: failed with {command.failure}.", command)


def outlast_refusals(procedure: Procedure[T], name: str, deadline: float) -> Procedure[T]:
    """
    Carry out a procedure that must not be given up because somebody has locked the account.

    A login that is refused for a while only is an outage: it is asked for anew until it is let in.

    :param procedure: the procedure.
    :param name: what messages begin with.
    :param deadline: until when, in seconds since the epoch. Then the error is one that a further try may mend.
    :return: what the procedure returns.
    """
    with closing(procedure):
        seen: Any = None  # which begins a generator
        while True:
            try:
                step = procedure.send(seen)
            except StopIteration as stop:
                return cast("T", stop.value)
            seen = yield step
            if _is_refused_for_now(seen):
                if isinstance(
                    step, Send
                ):  # much may have changed when the login is let in: look before it is sent again
                    seen = replace(seen, error=SessionLost(str(seen.error)))
                else:
                    seen = yield from _ask_until_let_in(step, seen, name, deadline)


def _ask_until_let_in(step: Step, seen: Seen, name: str, deadline: float) -> Procedure[Seen]:
    since = seen.now
    yield Say(logging.WARNING, f"{name}: {seen.error} Waiting until it is let in again")
    while _is_refused_for_now(seen):
        if seen.now >= deadline:
            lost = ContactLost(
                f"{name}: Manager has not let the account in for {seen.now - since:.0f} s. {seen.error} A command that "
                "runs goes on in Manager."
            )
            return replace(seen, error=lost)
        seen = yield Pause(min(_NEXT_LOGIN, deadline - seen.now))
        seen = yield step
    yield Say(
        logging.INFO,
        f"{name}: Manager has refused the login for {seen.now - since:.0f} s, and no longer does",
    )
    return seen


def _is_refused_for_now(seen: Seen) -> bool:
    return isinstance(seen.error, LoginRefused) and seen.error.lapses
