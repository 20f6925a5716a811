"""Drives a procedure for days of simulated time, by answers that are made up without any HTTP."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.steps import Ask, Pause, Procedure, Remember, Say, Seen, Send
from airflow_mrs.manager.waiting import Contact

from .driver import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DAY = 86_400.0
WEEK = 7 * DAY


@dataclass
class Endurance:
    """
    A driver whose pauses take no time but the clock's, and which keeps nothing but what is logged.

    :param manager: answers a call, given by its text, at a moment, in seconds since the beginning.
    :param outage: the error that Manager is away with at a moment; None where it is there.
    """

    manager: Callable[[str, float], object]
    outage: Callable[[float], MRSError | None] = lambda _: None
    now: float = NOW
    asked: int = 0
    failed: int = 0
    lines: list[tuple[float, str]] = field(default_factory=list)
    notes: list[dict[str, str | int]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def contact(self, poll_interval: float, timeout: float = WEEK + DAY) -> Contact:
        return Contact("the test", poll_interval, self.now + timeout, self.now)

    @property
    def elapsed(self) -> float:
        return self.now - NOW

    def run(self, procedure: Procedure[T]) -> T:
        try:
            step = next(procedure)
            while True:
                value: Any = None
                error = None
                match step:
                    case Ask(call) | Send(call):
                        value, error = self._ask(str(call))
                    case Say(_, text):
                        self.lines.append((self.elapsed, text))
                    case Remember(note):
                        self.notes.append(note)
                    case Pause(seconds):
                        self.now += seconds
                step = procedure.send(Seen(self.now, value, error))
        except StopIteration as stop:
            return cast("T", stop.value)

    def _ask(self, call: str) -> tuple[object, MRSError | None]:
        self.asked += 1
        if tracemalloc.is_tracing() and self.asked % 10_000 == 0:
            self.memory.append(tracemalloc.get_traced_memory()[0])
        error = self.outage(self.elapsed)
        if error is not None:
            self.failed += 1
            return None, error
        value = self.manager(call, self.elapsed)
        return (None, value) if isinstance(value, MRSError) else (value, None)
