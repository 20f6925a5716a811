from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mrs.maintenance.hours import LONGEST, Hours

BERLIN = ZoneInfo("Europe/Berlin")
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
        ("2026-03-29 01:30", "2026-03-28 23:00", "2026-03-29 02:30"),
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


@given(st.integers(0, 10 * 365 * 24 * 60), st.times(), st.times())
def test_it_ends_within_a_day_and_opens_within_a_day_before(
    minutes: int, opens: object, ends: object
) -> None:
    now = at("2020-01-01 00:00") + timedelta(minutes=minutes)
    hours = Hours(ends=str(ends), opens=str(opens), timezone="Europe/Berlin")

    end = hours.end_after(now)

    longest = timedelta(hours=25)  # when clocks go back
    assert end is not None
    assert timedelta() < end - now <= longest
    assert timedelta() < end - hours.opening_before(end) <= longest


@pytest.mark.parametrize(
    "hours",
    [
        {"ends": "25:00"},
        {"ends": "02:30+01:00"},
        {"ends": "half past two"},
        {"ends": "02:30", "opens": "x"},
        {"opens": "23:00"},
        {"ends": "02:30", "timezone": "Europe/Atlantis"},
        {"ends": "02:30", "timezone": "../etc"},
    ],
    ids=str,
)
def test_hours_that_do_not_exist(hours: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some are Python's own
        Hours(**hours)
