"""How often the log is told of what comes again and again."""

from __future__ import annotations

from dataclasses import dataclass, field

_SHARE = 0.01


@dataclass(slots=True)
class Pace:
    """
    Lets through what comes again and again: all of it at first, and the longer it goes on, the less.

    A hundredth of the time so far must have passed since the last one: that makes some hundred in the first ten
    minutes, and some eight hundred in a week.

    :param begun: when it began, in seconds of any clock.
    """

    begun: float
    _last: float | None = field(default=None, init=False)

    def allows(self, now: float) -> bool:
        """Whether another one may come; it is taken to come."""
        if self._last is not None and now - self._last < _SHARE * (now - self.begun):
            return False
        self._last = now
        return True
