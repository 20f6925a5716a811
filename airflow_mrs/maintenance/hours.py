"""When a window may open, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LONGEST = timedelta(hours=6)
"""How long before its end a window may open, where its author does not say."""


@dataclass(frozen=True)
class Hours:
    """
    The hours of a window, as its author gives them.

    :param ends: the time of day at which everything is to be up again, such as ``02:30``; None for no end.
    :param opens: the time of day from which it may open; by default six hours before the end. A run that starts
        late, by catch-up or by hand, is not to stop production at noon.
    :param timezone: whose time that is.
    :raises ValueError: for a time or a time zone that does not exist.
    """

    ends: str | None = None
    opens: str | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for text in (self.ends, self.opens):
            if text is not None and time.fromisoformat(text).tzinfo is not None:
                raise ValueError(f"{text!r} has a time zone of its own. Give that as timezone.")
        if self.opens is not None and self.ends is None:
            raise ValueError("A window that opens at a time of day needs one at which it ends.")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"There is no time zone {self.timezone!r}.") from None

    def end_after(self, now: datetime) -> datetime | None:
        """
        Return when the window that is open now ends, or the next one; None where none ever does.

        :param now: any moment, with its time zone.
        """
        if self.ends is None:
            return None
        return min(moment for moment in self._moments(self.ends, now) if moment > now)

    def opening_before(self, end: datetime) -> datetime:
        """
        Return from when on a window may open.

        :param end: when it ends.
        """
        if self.opens is None:
            return end - LONGEST
        return max(moment for moment in self._moments(self.opens, end) if moment < end)

    def clock(self, moment: datetime) -> str:
        """
        Return the time of day of a moment, in the window's own time zone.

        :param moment: any moment, with its time zone.
        """
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%H:%M}"

    def _moments(self, clock: str, around: datetime) -> list[datetime]:
        """Return the moments of some days at which the clocks of the zone show a time, in UTC: there, clocks don't change."""
        zone = ZoneInfo(self.timezone)
        day = around.astimezone(zone).date()
        return [
            datetime.combine(day + timedelta(days=days), time.fromisoformat(clock), zone).astimezone(UTC)
            for days in (-2, -1, 0, 1, 2)
        ]
