"""What a procedure of many calls asks its driver for, one step at a time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_mrs.manager.errors import MRSError
    from airflow_mrs.manager.protocol import Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Carry out a call; its result or its error goes into the next :class:`Seen`."""

    call: Call[Any]


@dataclass(frozen=True, slots=True)
class Send:
    """
    Carry out a call that changes something, each time that its request is about to leave after keeping a note of that.

    Whoever stands still in between for longer than ``within``, as a process or a machine that was frozen does, may long
    have been replaced. Then nothing is sent, and the error is :class:`~airflow_mrs.manager.errors.TooLate`.

    :param call: the call.
    :param note: what to keep. An error of the keeping is the driver's, and nothing is sent.
    :param within: seconds from asking for the note to be kept to the first byte of the request.
    """

    call: Call[Any]
    note: dict[str, str | int]
    within: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Let some seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Say:
    """Write a line to the log, at a level of :mod:`logging`."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep a note for a later try, before anything else happens. An error of the keeping is the driver's."""

    note: dict[str, str | int]


Step = Ask | Send | Pause | Say | Remember


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What came of a step.

    :param now: seconds since the epoch.
    :param value: the result of an :class:`Ask` or a :class:`Send`.
    :param error: what went wrong with it.
    """

    now: float
    value: Any = None
    error: MRSError | None = None


Procedure = Generator[Step, Seen, T]
"""Yields steps, is sent what came of each, returns what came of all. It does no I/O and has no clock."""


class Logger(Protocol):
    """Where the lines of a procedure go: a logger of :mod:`logging`, or one of Airflow's."""

    def log(self, level: int, message: str, /, *args: object) -> object:
        """Write a line."""


class OutOfPatience(Exception):
    """A driver was to wait only so long, and the procedure wants to pause beyond that."""
