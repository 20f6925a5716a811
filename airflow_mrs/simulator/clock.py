"""The time in the simulated world."""

from __future__ import annotations

import time


class Clock:
    """The time of day, in seconds since the epoch, until somebody lets time pass at once."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return time.time() + self._ahead

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += seconds
