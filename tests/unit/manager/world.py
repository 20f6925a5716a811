"""A model of Manager, of Airflow's task state store and of everything that can go wrong around a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING

from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import AnswerLost, MRSError, Unreachable
from airflow_mrs.manager.model import ServiceState
from airflow_mrs.manager.note import Note
from airflow_mrs.manager.steps import Ask, Pause, Remember, Step
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import wait_for_change
from airflow_mrs.notes import NoteKeeper

from .driver import LOGGED_IN, LOGIN_CHECK, TO_LOGIN, Clock, Driver, answer, called, command, page, service

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from airflow_mrs.manager.message import Request, Response

REQUEST_TIMEOUT = 30.0
SWITCHOVER_SECONDS = 100.0
BLIND_SECONDS = 90.0
FREEZE_SECONDS = 400.0

WORDS = {
    ServiceState.UP: "Normal",
    ServiceState.DOWN: "Not started",
    ServiceState.STARTING: "Starting",
    ServiceState.STOPPING: "Stopping",
    ServiceState.UNKNOWN: "Failed to stop",
}


class Event(StrEnum):
    """Something that happens at one step of a task."""

    UNREACHABLE = "no connection comes about"
    LOST_BEFORE = "the request is lost after it left"
    LOST_AFTER = "the answer is lost"
    GATEWAY_BEFORE = "a gateway answers in Manager's place"
    GATEWAY_AFTER = "a gateway gives up waiting for Manager's answer"
    PAGE_BEFORE = "a page comes, and nothing was done"
    PAGE_AFTER = "a page comes in place of the answer"
    REFUSED = "Manager refuses the request"
    SESSION_LOST = "the session is gone"
    NO_ID = "a command is begun without an id"
    ODD_WORD = "a command is in a state never heard of"
    BLIND = "the service's state can't be told for a while"
    FORGET = "Manager forgets its commands"
    SWITCHOVER = "the management node is switched over"
    COMMANDS_FAIL = "what runs fails"
    COMMANDS_FAIL_MUTELY = "what runs fails, and the command has no trace of it"
    OTHER_STOPS = "somebody else stops the service"
    OTHER_STARTS = "somebody else starts the service"
    CRASH = "the worker dies"
    CRASH_AFTER = "the worker dies after the request was carried out"
    NOTE_LOST = "the note can't be kept"
    NOTE_KEPT = "the note is kept, but the worker is told otherwise"
    FREEZE = "the worker stands still until the next try has done everything, and somebody has undone it"


class Crash(Exception):
    """The worker is gone."""


class StoreDown(Exception):
    """Airflow's API server is gone."""


class Refused(Exception):
    """Airflow takes nothing from a try that another one has taken the place of."""


class Broken(AssertionError):
    """A rule is broken that holds the house up."""


@dataclass
class Running:
    """A command of Manager's: what it does, from when to when, and how it ends."""

    id: int
    leads_to: ServiceState
    ours: bool
    begins: float
    ends: float
    outcome: str = "COMPLETE"
    mute: bool = False
    forgotten: bool = False
    over: bool = False


@dataclass
class World:
    """
    Manager, its service, the store and the clock.

    :param action: what the task wants.
    :param plan: which event happens at which step, counted over all tries.
    :param command_seconds: how long a command takes.
    :param lag: seconds by which the service's state trails the truth.
    :param timeout: the task's.
    """

    action: Action = Action.STOP
    plan: Mapping[int, Event] = field(default_factory=dict)
    command_seconds: float = 30.0
    lag: float = 0.0
    timeout: float = 600.0
    poll_interval: float = 5.0
    forgets_by_404: bool = False
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.change = ServiceChange(self.action, "HBase")
        self.origin = ServiceState.UP if self.action is Action.STOP else ServiceState.DOWN
        self.history: list[tuple[float, ServiceState]] = [(0.0, self.origin)]
        self.commands: list[Running] = []
        self.ids = count(4100)
        self.steps = count()
        self.fault: Event | None = None
        self.note_fault: Event | None = None
        self.signed_in = False
        self.away_until = self.blind_until = 0.0
        self.note: dict[str, str | int] | None = None
        self.last_look = ServiceState.UNKNOWN
        self.last_command_word = ""
        self.story: list[str] = []
        self.newest_try = 0
        self.taken_over = False

    # ---- the task ----------------------------------------------------------------------------------------

    def run_task(self, tries: int = 6, retry_delay: float = 60.0) -> bool:
        """Let Airflow run the task until it succeeds or its tries are used up."""
        for _ in range(tries):
            self.newest_try += 1
            number, error = self.newest_try, None
            try:
                self._try_once(number)
            except (Crash, StoreDown, Refused, MRSError) as caught:
                error = caught
                self.story.append(f"-- try {number}: {type(error).__name__}: {error}")
            if number != self.newest_try:
                return self.taken_over  # Airflow does not care for what became of this one
            if error is None:
                self._require_true_success()
                return True
            if isinstance(error, MRSError) and error.permanent:
                return False
            self.clock.now += retry_delay
        return False

    def _try_once(self, number: int) -> None:
        """What the operator's ``execute`` does."""
        driver = Driver(lambda request: self.handle(request, number), self.clock, self.before_step)
        log: logging.Logger = _Log(self.story)  # type: ignore[assignment]
        store = _Store(self, number)
        keeper = NoteKeeper({"task_state_store": store}, log)  # type: ignore[typeddict-item]
        driver.remember = keeper.keep
        deadline = self.clock.now + self.timeout
        contact = driver.contact(poll_interval=self.poll_interval, timeout=self.timeout)
        submitted = driver.run(submit(contact, self.change, keeper.kept()))
        if not submitted.over:
            contact = driver.contact(poll_interval=self.poll_interval, timeout=deadline - self.clock.now)
            driver.run(wait_for_change(contact, self.change, submitted.command_id))
        keeper.keep(Note.done())

    def _require_true_success(self) -> None:
        seen = self.last_look
        if seen is self.change.target:
            return
        if seen is ServiceState.UNKNOWN and self.last_command_word == "COMPLETE":
            return
        raise Broken(f"success, but the service was seen {seen} and the command {self.last_command_word!r}")

    # ---- what goes wrong ---------------------------------------------------------------------------------

    def before_step(self, step: Step) -> None:
        """Let the event of this step happen."""
        if not isinstance(step, Ask | Pause | Remember):
            return
        number = next(self.steps)
        if number > 3000:
            raise Broken("the task comes to no end")
        event = self.plan.get(number)
        self.story.append(
            f"{number:3} t={self.clock.now - 1.8e9:.0f} {step}"[:110]
            + (f"  <== {event.name}" if event else "")
        )
        self.fault = self.note_fault = None
        if event in HAPPENINGS:
            HAPPENINGS[event](self)
        elif event in {Event.NOTE_LOST, Event.NOTE_KEPT}:
            self.note_fault = event
        else:
            self.fault = event

    def freeze(self) -> None:
        """Let Airflow give this try up, the next one do everything, and somebody undo it; then go on here."""
        self.clock.now += FREEZE_SECONDS
        self.taken_over = self.run_task()
        self.begin(self.origin, ours=False)
        self.clock.now += FREEZE_SECONDS
        self.fault = self.note_fault = None

    def crash(self) -> None:
        raise Crash

    def end_session(self) -> None:
        self.signed_in = False

    def go_blind(self) -> None:
        self.blind_until = self.clock.now + BLIND_SECONDS

    def forget(self) -> None:
        for known in self.commands:
            known.forgotten = True

    def switch_over(self) -> None:
        self.forget()
        self.end_session()
        self.away_until = self.clock.now + SWITCHOVER_SECONDS

    def fail_commands(self, *, mutely: bool = False) -> None:
        self.pass_time()
        for running in self.commands:
            if not running.over:
                running.outcome = "FAILED"
                running.mute = mutely

    # ---- the store ---------------------------------------------------------------------------------------

    def get(self, key: str) -> dict[str, str | int] | None:
        return self.note

    def set(self, key: str, value: dict[str, str | int]) -> None:
        if self.note_fault is Event.NOTE_LOST:
            raise StoreDown
        self.note = value
        if self.note_fault is Event.NOTE_KEPT:
            raise StoreDown

    # ---- Manager -----------------------------------------------------------------------------------------

    def handle(self, request: Request, by: int) -> Response:
        """Answer a request of a try, or lose it."""
        if request.method == "POST" and by != self.newest_try:
            raise Broken("a try sends that was given up")
        if self.clock.now < self.away_until or self.fault is Event.UNREACHABLE:
            raise Unreachable("no connection: connection refused")
        call = called(request)
        if call == LOGIN_CHECK:
            self.signed_in = True
            return LOGGED_IN
        if not self.signed_in:
            return TO_LOGIN
        if self.fault in {Event.LOST_BEFORE, Event.LOST_AFTER}:
            self.clock.now += REQUEST_TIMEOUT
        spoiled = IN_PLACE_OF_THE_ANSWER.get(self.fault) if self.fault else None
        if spoiled is None:
            return self.carry_out(call)
        if self.fault in CARRIED_OUT:
            known = self.last_look, self.last_command_word
            self.carry_out(call)
            self.last_look, self.last_command_word = known  # nobody got to know
        elif self.fault is Event.REFUSED and "/services/" in call:
            self.last_look = ServiceState.UNKNOWN
        if isinstance(spoiled, Exception):
            raise spoiled
        return spoiled

    def carry_out(self, call: str) -> Response:
        """Do what a call asks for."""
        self.pass_time()
        if call.startswith("POST"):
            begun = self.begin(self.change.target, ours=True)
            self.story.append(f"      ACCEPTED {begun.id}")
            no_id = self.fault is Event.NO_ID
            self.last_command_word = "IN_PROGRESS"
            return command("IN_PROGRESS", -1 if no_id else begun.id)
        if "/command/" in call:
            return self.progress(int(call.split("/")[3]))
        self.last_look = self.state_at(self.clock.now - self.lag)
        if self.clock.now < self.blind_until:
            self.last_look = ServiceState.UNKNOWN
        return service(WORDS[self.last_look])

    def progress(self, command_id: int) -> Response:
        known = next((c for c in self.commands if c.id == command_id and not c.forgotten), None)
        if known is None:
            self.last_command_word = "FAILED"
            return (
                answer(404)
                if self.forgets_by_404
                else command("FAILED", error_code=-7, error_description="no such command")
            )
        if self.fault is Event.ODD_WORD:
            self.last_command_word = "PAUSED"
            return command("PAUSED", command_id)
        self.last_command_word = known.outcome if known.over else "IN_PROGRESS"
        return command(self.last_command_word, command_id, progress=0 if known.mute else 50)

    def begin(self, leads_to: ServiceState, *, ours: bool) -> Running:
        """Accept a command, behind those that run."""
        self.pass_time()
        if ours:
            self._require_no_earlier_one()
        begins = max([self.clock.now, *(c.ends for c in self.commands)])
        accepted = Running(next(self.ids), leads_to, ours, begins, begins + self.command_seconds)
        self.commands.append(accepted)
        self.pass_time()
        return accepted

    def _require_no_earlier_one(self) -> None:
        own = [c for c in self.commands if c.ours]
        if any(not c.over for c in own):
            raise Broken("a second command was accepted while the first one runs")
        if any(c.outcome == "COMPLETE" for c in own) and self.history[-1][1] is self.change.target:
            raise Broken("a second command was accepted after the first one had done it")

    def pass_time(self) -> None:
        """Let commands begin and end up to now."""
        for running in self.commands:
            if running.over or running.begins > self.clock.now:
                continue
            way = ServiceState.STOPPING if running.leads_to is ServiceState.DOWN else ServiceState.STARTING
            back = ServiceState.UP if running.leads_to is ServiceState.DOWN else ServiceState.DOWN
            if self.history[-1][1] is not way:
                self.history.append((running.begins, way))
            if running.ends <= self.clock.now:
                running.over = True
                done = running.outcome == "COMPLETE"
                self.history.append((running.ends, running.leads_to if done else back))

    def state_at(self, moment: float) -> ServiceState:
        return next(state for since, state in reversed(self.history) if since <= moment)


HAPPENINGS: dict[Event | None, Callable[[World], object]] = {
    Event.CRASH: World.crash,
    Event.FREEZE: World.freeze,
    Event.SESSION_LOST: World.end_session,
    Event.BLIND: World.go_blind,
    Event.FORGET: World.forget,
    Event.SWITCHOVER: World.switch_over,
    Event.COMMANDS_FAIL: World.fail_commands,
    Event.COMMANDS_FAIL_MUTELY: lambda world: world.fail_commands(mutely=True),
    Event.OTHER_STOPS: lambda world: world.begin(ServiceState.DOWN, ours=False),
    Event.OTHER_STARTS: lambda world: world.begin(ServiceState.UP, ours=False),
}

_LOST = AnswerLost("no answer: timed out")
_GATEWAY = page("gateway time-out", 504)
_PAGE = page("<p>Something went wrong")

IN_PLACE_OF_THE_ANSWER: dict[Event, Response | Exception] = {
    Event.LOST_BEFORE: _LOST,
    Event.LOST_AFTER: _LOST,
    Event.GATEWAY_BEFORE: _GATEWAY,
    Event.GATEWAY_AFTER: _GATEWAY,
    Event.PAGE_BEFORE: _PAGE,
    Event.PAGE_AFTER: _PAGE,
    Event.REFUSED: command("FAILED", error_code=-30, error_description="try again later"),
    Event.CRASH_AFTER: Crash(),
}
CARRIED_OUT = {Event.LOST_AFTER, Event.GATEWAY_AFTER, Event.PAGE_AFTER, Event.CRASH_AFTER}


@dataclass
class _Store:
    """The store of one try."""

    world: World
    number: int

    def get(self, key: str) -> dict[str, str | int] | None:
        return self.world.get(key)

    def set(self, key: str, value: dict[str, str | int]) -> None:
        if self.number != self.world.newest_try:
            raise Refused
        self.world.set(key, value)


class _Log:
    def __init__(self, story: list[str]) -> None:
        self._story = story

    def log(self, level: int, message: str, *args: object) -> None:
        self._story.append(message % args)
