"""When a window may open, and when it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from airflow_mrs.manager.arguments import check_text
from airflow_mrs.manager.errors import InvalidArgument

LONGEST = timedelta(hours=6)
"""How long before its end a window may open, where its author does not say."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3])(:[0-5][0-9]){1,2}", re.ASCII)
_A_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Hours:
    """
    The hours of a window, as its author gives them.

    Each day has its own: they begin when the clocks of that day first show ``opens``, and end when they first show
    ``ends``. Where clocks are set forward over one of the two, that is the moment at which they are.

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
        _check_clock(self.ends, "ends")
        _check_clock(self.opens, "opens")
        if self.opens is not None and self.ends is None:
            raise InvalidArgument(
                f"ends must be given, such as '02:30', where opens is: a window that opens at {self.opens} needs an end."
            )
        if self.ends is not None and self.opens is not None and _time(self.opens) == _time(self.ends):
            raise InvalidArgument(
                f"opens must be another time of day than ends, such as '01:00', not {self.opens!r} as well."
            )
        check_text(self.timezone, "timezone", "Europe/Berlin")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):  # a folder of the database is an OSError
            raise InvalidArgument(
                f"timezone must be a name of the IANA database, such as 'Europe/Berlin', not {self.timezone!r}."
            ) from None

    @property
    def length(self) -> timedelta:
        """How long they are, on a day on which no clock is changed."""
        if self.opens is None or self.ends is None:
            return LONGEST
        opens, ends = (datetime.combine(date.min, _time(clock)) for clock in (self.opens, self.ends))
        return (ends - opens) % timedelta(days=1)

    def end_after(self, now: datetime) -> datetime | None:
        """
        Return when the window that is open now ends, or the next one; None where none ever does.

        :param now: any moment, with its time zone.
        """
        return min((end for _, end in self._around(now) if end > now), default=None)

    def opening_before(self, end: datetime) -> datetime:
        """
        Return from when on a window may open. It is no earlier than the end where a day has no such hours.

        :param end: when it ends, as :meth:`end_after` tells.
        """
        if self.opens is None:
            return end - LONGEST
        return max(opening for opening, other in self._around(end) if other == end)

    def clock(self, moment: datetime) -> str:
        """
        Return the time of day of a moment, in the window's own time zone.

        :param moment: any moment, with its time zone.
        """
        return f"{moment.astimezone(ZoneInfo(self.timezone)):%H:%M}"

    def _around(self, moment: datetime) -> list[tuple[datetime, datetime]]:
        """Return the hours of some days, in UTC: there, clocks don't change."""
        if self.ends is None:
            return []
        day = moment.astimezone(ZoneInfo(self.timezone)).date()
        return [self._hours_of(day + timedelta(days=days)) for days in (-2, -1, 0, 1, 2)]

    def _hours_of(self, day: date) -> tuple[datetime, datetime]:
        """Return when the window that ends on a day opens, and when it ends."""
        ends = _time(str(self.ends))
        end = self._first(datetime.combine(day, ends))
        if self.opens is None:
            return end - LONGEST, end
        opens = _time(self.opens)
        day_before = day - timedelta(days=1)
        return self._first(datetime.combine(day if opens < ends else day_before, opens)), end

    def _first(self, shown: datetime) -> datetime:
        """Return the moment at which the clocks of the zone first show a time of a day, or one beyond it."""
        zone = ZoneInfo(self.timezone)
        moment = shown.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == shown:
            return moment
        # The clocks are set forward over it: as told before that, it is a moment after; as told after that, before.
        earlier = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
        while moment - earlier > _A_SECOND:
            between = earlier + (moment - earlier) / 2
            if between.astimezone(zone).replace(tzinfo=None) >= shown:
                moment = between
            else:
                earlier = between
        return moment.replace(microsecond=0)


def _check_clock(given: object, argument: str) -> None:
    if given is not None and not (isinstance(given, str) and _CLOCK.fullmatch(given)):
        raise InvalidArgument(
            f"{argument} must be a time of day as HH:MM or HH:MM:SS, such as '02:30', not {given!r}."
        )


def _time(clock: str) -> time:
    return time.fromisoformat(clock)
