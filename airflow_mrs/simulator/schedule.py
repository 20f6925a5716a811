"""Which faults are set, and which of them strikes a request."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mrs.simulator.calls import CONTROL, NAMES
from airflow_mrs.simulator.faults import Fault  # noqa: TC001 - the control interface reads the types of `set`
from airflow_mrs.simulator.quantities import Seconds, Share, Times  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

ANY = "any"


@dataclass
class _Planned:
    fault: Fault
    call: str
    times: int | None
    until: float | None
    chance: float

    def over(self, now: float) -> bool:
        return self.times == 0 or (self.until is not None and now >= self.until)

    def fits(self, call: str, path: str) -> bool:
        return self.call in {ANY, call} and self.fault.concerns(call, path)


class Faults:
    """The faults that are set. Every method may be called from any thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, dice: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def set(
        self,
        call: str,
        fault: Fault,
        *,
        times: Times | None = None,
        for_seconds: Seconds | None = None,
        chance: Share = 1.0,
    ) -> None:
        """Let a call, or `any`, go wrong: until cleared, or so many times, or so long; each time with some probability."""
        if call not in NAMES - {CONTROL} | {ANY}:
            raise ValueError(f"no such call: {call}")
        until = None if for_seconds is None else self._clock() + for_seconds
        with self._lock:
            self._planned.append(_Planned(fault, call, times, until, chance))

    def clear(self) -> None:
        """Let nothing go wrong any longer, and go on with what was held."""
        with self._lock:
            for planned in self._planned:
                planned.fault.release()
            self._planned.clear()

    def take(self, call: str, path: str) -> Fault | None:
        """Return what goes wrong with a request, and count that."""
        with self._lock:
            for planned in self._current():
                if planned.fits(call, path) and self._dice() < planned.chance:
                    if planned.times is not None:
                        planned.times -= 1
                    return planned.fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """Return what is set, with the times and seconds that are left."""
        with self._lock:
            now = self._clock()
            return [
                {
                    "kind": planned.fault.kind,
                    "call": planned.call,
                    "times": planned.times,
                    "for_seconds": None if planned.until is None else planned.until - now,
                    "chance": planned.chance,
                    **planned.fault.as_json(),
                }
                for planned in self._current()
            ]

    def _current(self) -> list[_Planned]:
        now = self._clock()
        return [planned for planned in self._planned if not planned.over(now)]
