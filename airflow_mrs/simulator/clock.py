"""The time in the simulated world."""

from __future__ import annotations

import time

# A little before the year 9900, after which calendars end.
_LAST = 250_000_000_000


class Clock:
    """The time of day, in seconds since the epoch, until somebody lets time pass at once."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return time.time() + self._ahead

    def skip(self, seconds: float) -> None:
        """Let time pass at once; raise ValueError if it would run back or out."""
        if not 0 <= seconds <= _LAST - self():
            raise ValueError(f"no time for {seconds} seconds to pass")
        self._ahead += seconds
