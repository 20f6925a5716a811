"""The cluster that Manager administers: its services, what needs what, and the commands that move them.

Nothing here waits and nothing does I/O: what is to happen stands in an agenda, and `advance()` lets all happen that is
due by the clock. Every look at the cluster advances it first.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mrs.simulator.quantities import (  # noqa: TC001 - the control interface reads the types
    ErrorCode,
    Seconds,
    Share,
    Times,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

NEEDS: Mapping[str, frozenset[str]] = {
    service: frozenset(needs.split())
    for service, needs in {
        "LdapServer": "",
        "KrbServer": "LdapServer",
        "DBService": "",
        "ZooKeeper": "KrbServer",
        "HDFS": "ZooKeeper",
        "Yarn": "ZooKeeper HDFS",
        "Mapreduce": "ZooKeeper HDFS Yarn",
        "HBase": "ZooKeeper HDFS",
        "Hive": "ZooKeeper HDFS Yarn DBService",
        "Spark2x": "ZooKeeper HDFS Yarn Hive",
        "Kafka": "ZooKeeper",
        "Storm": "ZooKeeper",
        "Loader": "ZooKeeper HDFS Yarn Mapreduce DBService",
        "Hue": "DBService",
        "Oozie": "DBService HDFS Yarn",
        "Flink": "ZooKeeper HDFS Yarn DBService",
    }.items()
}
"""What each service needs to run, as the vendor's alarm pages tell it."""

_KERBEROS = frozenset({"KrbServer", "LdapServer"})


class Code:
    """Error codes. Manager's own are not published: these are the simulator's."""

    NO_SUCH_CLUSTER = -2001
    NO_SUCH_SERVICE = -2002
    NO_SUCH_COMMAND = -2003
    COMMAND_RUNNING = -2004
    SERVICE_FAILED = -2005
    NORMAL_MODE = -2006


class State(StrEnum):
    """Where a service is."""

    STARTED = "started"
    STOPPED = "stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    FAILED_TO_START = "failed to start"
    FAILED_TO_STOP = "failed to stop"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What a command does to a service."""

    STOP = "stop"
    START = "start"
    CONFIGURE = "configure"


class CommandState(StrEnum):
    """Where a command is, in the words of the API."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


_MOVING = {Action.STOP: State.STOPPING, Action.START: State.STARTING}
_MOVED = {Action.STOP: State.STOPPED, Action.START: State.STARTED}
_STUCK = {Action.STOP: State.FAILED_TO_STOP, Action.START: State.FAILED_TO_START}
_SETTLED = {State.STOPPING: State.STOPPED, State.STARTING: State.STARTED}


class Refused(Exception):
    """Manager does not do what it was asked for: the error code and text of its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Record(Protocol):
    """Where the cluster notes what happens, see `Journal.record`."""

    def __call__(self, event: str, at: float | None = None, **details: Any) -> None:  # noqa: ANN401
        """Note an event."""


@dataclass
class Service:
    """One service: its state, what it needs to run, how long a stop or a start of it takes."""

    name: str
    needs: frozenset[str]
    seconds: float
    state: State = State.STARTED
    configuration: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One service's part in a command."""

    action: Action
    service: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.action.capitalize()} {self.service}"


@dataclass(frozen=True)
class Failure:
    """How a service's next stop or start goes wrong: after which part of its time, with what error."""

    at: float
    code: int
    text: str


@dataclass
class Command:
    """One stop, start or configuration: its steps run one after the other."""

    id: int
    action: Action
    service: str
    only_self: bool
    steps: tuple[Step, ...]
    begun: float
    state: CommandState = CommandState.IN_PROGRESS
    progress: int = 0
    failed: Step | None = None
    error_code: int = 0
    error_description: str = ""

    @property
    def seconds(self) -> float:
        """How long all steps take together."""
        return sum(step.seconds for step in self.steps)


class Cluster:
    """One cluster with all its services running. Every method may be called from any thread."""

    def __init__(
        self,
        record: Record,
        *,
        needs: Mapping[str, Iterable[str]] = NEEDS,
        security: bool = True,
        command_seconds: float = 1.0,
        service_seconds: Mapping[str, float] | None = None,
        first_command_id: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = 1
        self.security = security
        self._record = record
        self._clock = clock
        self._lock = threading.RLock()
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._tie_break = itertools.count()
        self._command_ids = itertools.count(first_command_id)
        self._commands: dict[int, Command] = {}
        self._running: Command | None = None
        self._failures: dict[tuple[str, Action], list[Failure]] = {}
        self._pretences: dict[tuple[str, Action], int] = {}
        seconds = service_seconds or {}
        self._services = {
            name: Service(
                name,
                frozenset(others) | _kerberos(name, security=security),
                seconds.get(name, command_seconds),
            )
            for name, others in needs.items()
        }
        if unknown := seconds.keys() - self._services.keys():
            raise ValueError(f"no such service: {', '.join(sorted(unknown))}")
        self._order = tuple(
            TopologicalSorter({s.name: s.needs for s in self._services.values()}).static_order()
        )

    # What there is

    @property
    def services(self) -> dict[str, Service]:
        """All services by name, as they are now."""
        with self._lock:
            self.advance()
            return {name: replace(service) for name, service in self._services.items()}

    def service(self, name: str) -> Service:
        """Return one service as it is now."""
        with self._lock:
            self.advance()
            return replace(self._service(name))

    def command(self, command_id: int) -> Command:
        """Return one command as it is now."""
        with self._lock:
            self.advance()
            if command_id not in self._commands:
                raise Refused(Code.NO_SUCH_COMMAND, f"The command {command_id} does not exist.")
            return replace(self._commands[command_id])

    @property
    def commands(self) -> list[Command]:
        """All commands as they are now, the oldest first."""
        with self._lock:
            self.advance()
            return [replace(command) for command in self._commands.values()]

    @property
    def running(self) -> Command | None:
        """The command that is running now, whether or not its id is still known."""
        with self._lock:
            self.advance()
            return replace(self._running) if self._running else None

    def healthy(self, name: str) -> bool:
        """Tell whether a service runs and has all it needs."""
        with self._lock:
            self.advance()
            service = self._service(name)
            return service.state is State.STARTED and not self._missing(service)

    @property
    def good(self) -> bool:
        """Whether the whole cluster is well: every service runs and has all it needs."""
        return all(self.healthy(name) for name in self._order)

    # What Manager does

    def stop(self, service: str, *, only_self: bool = True) -> Command:
        """Stop a service; unless `only_self`, the running services that depend on it go first."""
        return self._move(Action.STOP, service, only_self=only_self)

    def start(self, service: str, *, only_self: bool = True) -> Command:
        """Start a service; unless `only_self`, the services it needs that do not run go first."""
        return self._move(Action.START, service, only_self=only_self)

    def configure(self, values: Mapping[str, Mapping[str, str]], *, restart: bool) -> Command:
        """Save configuration values by service, and on request restart those services."""
        with self._lock:
            self._ready()
            services = [self._service(name) for name in values]
            steps = [Step(Action.CONFIGURE, service.name, 0) for service in services]
            if restart:
                order = [
                    service for service in map(self._services.__getitem__, self._order) if service in services
                ]
                steps += [Step(Action.STOP, service.name, service.seconds) for service in reversed(order)]
                steps += [Step(Action.START, service.name, service.seconds) for service in order]
            for service in services:
                service.configuration = {**service.configuration, **values[service.name]}
            return self._begin(Action.CONFIGURE, ", ".join(values), steps, only_self=True)

    def advance(self) -> None:
        """Let happen what is due."""
        with self._lock:
            now = self._clock()
            while self._agenda and self._agenda[0][0] <= now:
                at, _, happen = heapq.heappop(self._agenda)
                happen(at)
            if (command := self._running) is not None and command.seconds:
                command.progress = min(99, int(100 * (now - command.begun) / command.seconds))

    # What may go wrong

    def fail_next(
        self,
        service: str,
        action: str,
        *,
        at: Share = 0.5,
        times: Times = 1,
        code: ErrorCode = Code.SERVICE_FAILED,
        text: str | None = None,
    ) -> None:
        """Let the service's next stop or start fail after a part (0 to 1) of its time."""
        with self._lock:
            key = (self._service(service).name, _stop_or_start(action))
            failure = Failure(at, code, text or f"Failed to {action} {service}.")
            self._failures.setdefault(key, []).extend([failure] * times)

    def pretend_next(self, service: str, action: str, *, times: Times = 1) -> None:
        """Let the service's next stop or start report COMPLETE although the service stays as it was."""
        with self._lock:
            key = (self._service(service).name, _stop_or_start(action))
            self._pretences[key] = self._pretences.get(key, 0) + times

    def fail_no_more(self) -> None:
        """Let the stops and starts to come go well again."""
        with self._lock:
            self._failures.clear()
            self._pretences.clear()

    def set_state(self, service: str, state: str, *, seconds: Seconds | None = None) -> None:
        """Put a service into a state without a command; one that is starting or stopping gets there after `seconds`."""
        with self._lock:
            self.advance()
            now = self._clock()
            self._service(service)
            settled = _SETTLED.get(State(state))
            if seconds is not None and settled is None:
                raise ValueError(f"a service that is {state} gets nowhere in any seconds")
            self._change(service, State(state), now)
            if seconds is not None and settled is not None:
                self._schedule(now + seconds, lambda at: self._change(service, settled, at))

    def forget_commands(self) -> None:
        """Know no command id any more, as after a switchover. A running command goes on."""
        with self._lock:
            self.advance()
            self._commands.clear()
            self._record("commands forgotten")

    # How it does it

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise Refused(Code.NO_SUCH_SERVICE, f"The service {name} does not exist.")
        return self._services[name]

    def _missing(self, service: Service) -> list[str]:
        return sorted(name for name in service.needs if self._services[name].state is not State.STARTED)

    def _ready(self) -> None:
        self.advance()
        if self._running is not None:
            raise Refused(
                Code.COMMAND_RUNNING,
                f"Another command is running: {self._running.id} ({self._running.action} {self._running.service}).",
            )

    def _move(self, action: Action, name: str, *, only_self: bool) -> Command:
        with self._lock:
            target = self._service(name)
            self._ready()
            others = set[str]() if only_self else self._also(action, name)
            order = reversed(self._order) if action is Action.STOP else self._order
            steps = [
                Step(action, service.name, 0 if service.state is _MOVED[action] else service.seconds)
                for service in map(self._services.__getitem__, order)
                if service is target or (service.name in others and service.state is not _MOVED[action])
            ]
            return self._begin(action, name, steps, only_self=only_self)

    def _also(self, action: Action, name: str) -> set[str]:
        """Return the services that a command for one takes along: all that depend on it, or all that it needs."""

        def neighbours(of: str) -> Iterator[str]:
            if action is Action.START:
                yield from self._services[of].needs
            else:
                yield from (other.name for other in self._services.values() if of in other.needs)

        found: set[str] = set()
        at_hand = [name]
        while at_hand:
            new = set(neighbours(at_hand.pop())) - found
            found |= new
            at_hand += new
        return found

    def _begin(self, action: Action, service: str, steps: list[Step], *, only_self: bool) -> Command:
        now = self._clock()
        command = Command(next(self._command_ids), action, service, only_self, tuple(steps), now)
        self._commands[command.id] = self._running = command
        self._record(
            "command started", now, command=command.id, action=action, service=service, only_self=only_self
        )
        self._begin_step(command, 0, now)
        return replace(command)

    def _begin_step(self, command: Command, index: int, at: float) -> None:
        if index == len(command.steps):
            self._end(command, CommandState.COMPLETE, at)
            return
        step = command.steps[index]
        service = self._services[step.service]
        before = service.state
        if command.seconds:
            command.progress = min(99, int(100 * (at - command.begun) / command.seconds))
        self._record("command step", at, command=command.id, step=str(step), progress=command.progress)
        if step.action in _MOVING and before is not _MOVED[step.action]:
            self._change(service.name, _MOVING[step.action], at)
        if (failure := self._failure(step)) is not None:
            self._schedule(at + failure.at * step.seconds, lambda at: self._fail(command, step, failure, at))
        else:
            stays = before if self._pretends(step) else None
            self._schedule(at + step.seconds, lambda at: self._end_step(command, index, stays, at))

    def _end_step(self, command: Command, index: int, stays: State | None, at: float) -> None:
        step = command.steps[index]
        if step.action in _MOVED:
            self._change(step.service, stays or _MOVED[step.action], at)
        self._begin_step(command, index + 1, at)

    def _fail(self, command: Command, step: Step, failure: Failure, at: float) -> None:
        self._change(step.service, _STUCK[step.action], at)
        command.failed = step
        command.error_code = failure.code
        command.error_description = failure.text
        self._end(command, CommandState.FAILED, at)

    def _end(self, command: Command, state: CommandState, at: float) -> None:
        command.state = state
        if state is CommandState.COMPLETE:
            command.progress = 100
        self._running = None
        self._record("command ended", at, command=command.id, state=state, error=command.error_description)

    def _failure(self, step: Step) -> Failure | None:
        service = self._services[step.service]
        if ordered := self._failures.get((step.service, step.action)):
            return ordered.pop(0)
        if (
            step.action is Action.START
            and service.state is State.STARTING
            and (missing := self._missing(service))
        ):
            text = f"Failed to start {service.name}: it needs {', '.join(missing)}."
            return Failure(0.5, Code.SERVICE_FAILED, text)
        return None

    def _pretends(self, step: Step) -> bool:
        key = (step.service, step.action)
        left = self._pretences.get(key, 0)
        self._pretences[key] = max(0, left - 1)
        return left > 0

    def _change(self, name: str, state: State, at: float) -> None:
        service = self._services[name]
        if service.state is not state:
            was, service.state = service.state, state
            self._record("state", at, service=name, was=was, state=state)

    def _schedule(self, at: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._tie_break), happen))


def _stop_or_start(action: str) -> Action:
    if action not in _MOVED:
        raise ValueError(f"{action!r} is neither stop nor start")
    return Action(action)


def _kerberos(service: str, *, security: bool) -> frozenset[str]:
    return _KERBEROS if security and service not in _KERBEROS else frozenset()
