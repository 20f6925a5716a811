from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from airflow_mrs.maintenance.hours import LONGEST, Hours

BERLIN = ZoneInfo("Europe/Berlin")
SOME_DAY = datetime(2026, 11, 24, tzinfo=UTC)
A_SECOND = timedelta(seconds=1)
NIGHT = Hours(ends="02:30", opens="23:00", timezone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "opening", "end"),
    [
        ("2026-11-24 01:00", "2026-11-23 23:00", "2026-11-24 02:30"),
        ("2026-11-24 02:30", "2026-11-24 23:00", "2026-11-25 02:30"),
        ("2026-11-24 12:00", "2026-11-24 23:00", "2026-11-25 02:30"),
        ("2026-11-24 23:30", "2026-11-24 23:00", "2026-11-25 02:30"),
        # At 3:00 of this day clocks go back to 2:00, at 2:00 of that they go forward to 3:00.
        ("2026-10-25 01:00", "2026-10-24 23:00", "2026-10-25 02:30"),
        ("2026-03-29 01:30", "2026-03-28 23:00", "2026-03-29 03:00"),
    ],
)
def test_the_window_around_a_moment_or_the_next_one(now: str, opening: str, end: str) -> None:
    ends = NIGHT.end_after(at(now))

    assert ends == at(end)
    assert NIGHT.opening_before(ends) == at(opening)


def test_a_window_without_an_end_is_always_open() -> None:
    assert Hours().end_after(at("2026-11-24 12:00")) is None


def test_a_window_opens_some_hours_before_its_end_where_nothing_else_is_said() -> None:
    end = at("2026-11-24 02:30")

    assert end - Hours(ends="02:30").opening_before(end) == LONGEST


def is_open(hours: Hours, now: datetime) -> bool:
    end = hours.end_after(now)
    assert end is not None
    assert end > now
    return hours.opening_before(end) <= now


def test_on_the_eve_of_a_day_without_these_hours_it_does_not_open_at_noon() -> None:
    hours = Hours(opens="02:00", ends="03:00", timezone="Europe/Berlin")
    eve = at("2026-03-28 00:00")

    opened = [
        minute for minute in range(0, 3 * 24 * 60, 5) if is_open(hours, eve + timedelta(minutes=minute))
    ]

    # On the 28th and, an hour of the clock earlier, on the 30th; on the 29th no clock shows them.
    assert opened == [*range(120, 180, 5), *range(48 * 60 + 60, 48 * 60 + 120, 5)]


def test_where_clocks_are_set_back_it_opens_once_and_ends_when_they_first_say_so() -> None:
    hours = Hours(opens="02:15", ends="02:45", timezone="Europe/Berlin")
    midnight = at("2026-10-25 00:00")

    opened = [
        minute for minute in range(0, 24 * 60, 5) if is_open(hours, midnight + timedelta(minutes=minute))
    ]

    assert opened == [*range(135, 165, 5)]


def changes(zone: ZoneInfo) -> tuple[datetime, ...]:
    """Return the moments in ten years from which the clocks of a zone are other ones."""
    found, before, end = [], datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    while before < end:
        after = before + timedelta(days=7)
        earlier, later = before, after
        if earlier.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            while later - earlier > timedelta(seconds=1):
                between = earlier + (later - earlier) // 2
                same = between.astimezone(zone).utcoffset() == before.astimezone(zone).utcoffset()
                earlier, later = (between, later) if same else (earlier, between)
            found.append(later.replace(microsecond=0))
        before = after
    return tuple(found)


@cache
def every_kind_of_zone() -> dict[str, tuple[datetime, ...]]:
    """Return zones, and the changes of their clocks, one of all those that are the same in these years."""
    kinds = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        moments = changes(zone)
        around = [*(moment + timedelta(hours=hours) for moment in moments for hours in (-1, 1)), SOME_DAY]
        kinds[moments, tuple(moment.astimezone(zone).utcoffset() for moment in around)] = name
    return {name: moments for (moments, _), name in kinds.items()}


@pytest.mark.parametrize(
    ("opens", "ends"),
    [("02:00", "03:00"), ("01:00", "02:30"), ("02:30", "04:00"), ("23:30", "00:30"), ("22:00", "01:00")],
)
def test_in_all_zones_and_years_it_opens_inside_its_hours_and_never_outside(opens: str, ends: str) -> None:
    begin, stop = time.fromisoformat(opens), time.fromisoformat(ends)
    for name, moments in every_kind_of_zone().items():
        zone = ZoneInfo(name)
        hours = Hours(opens=opens, ends=ends, timezone=name)
        for moment in (*moments, SOME_DAY):
            for days in (-1, 0, 1):
                day = (moment.astimezone(zone) + timedelta(days=days)).date()
                opening = first(datetime.combine(day, begin), zone)
                end = first(datetime.combine(day if begin < stop else day + timedelta(days=1), stop), zone)
                if opening < end:
                    assert is_open(hours, opening)
                    assert is_open(hours, end - A_SECOND)
                    assert hours.end_after(opening) == end
                assert not is_open(hours, min(opening, end) - A_SECOND)
                assert not is_open(hours, max(opening, end))


def first(shown: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clocks of a zone first show a time or one beyond it, by looking at them again and again."""
    moment = shown.replace(tzinfo=UTC) - timedelta(hours=15)
    for step in (timedelta(minutes=15), timedelta(minutes=1)):
        while moment.astimezone(zone).replace(tzinfo=None) < shown:
            moment += step
        moment -= step
    return moment + step


@pytest.mark.parametrize(
    "hours",
    [
        {"ends": "24:00"},
        {"ends": "02:60"},
        {"ends": "2:30"},
        {"ends": "02.30"},
        {"ends": "0230"},
        {"ends": "02"},
        {"ends": "02:30Z"},
        {"ends": "02:30:00.5"},
        {"ends": "02:30+01:00"},
        {"ends": " 02:30"},
        {"ends": "\u0660\u0662:30"},
        {"ends": ""},
        {"ends": 230},
        {"ends": time(2, 30)},
        {"opens": "x", "ends": "02:30"},
        {"ends": None, "opens": "23:00"},
        {"opens": "02:30:00", "ends": "02:30"},
        {"timezone": "Europe/Atlantis", "ends": "02:30"},
        {"timezone": "../etc", "ends": "02:30"},
        {"timezone": "Europe", "ends": "02:30"},
        {"timezone": "", "ends": "02:30"},
        {"timezone": BERLIN, "ends": "02:30"},
    ],
    ids=str,
)
def test_hours_that_do_not_exist(hours: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(hours))} must .*, such as '"):
        Hours(**hours)
