"""A password that was rejected is not tried by each run of the guard, and what tells so tells nothing of the password."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.maintenance.state import rejections
from airflow_mrs.manager.settings import Settings

if TYPE_CHECKING:
    from tests.unit.maintenance.state.fakes import Time, Unlisted

KEY = "mrs_rejected_10.0.0.5_28443_1"
SETTINGS = Settings("mrs_default", "10.0.0.5", login="admin", password="s3cret-word")


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch, clock: Time) -> None:
    monkeypatch.setattr(rejections, "time", clock)


def test_it_is_known_for_an_hour(airflow: type[Unlisted], clock: Time) -> None:
    assert rejections.known(KEY, SETTINGS) is None

    rejections.keep(KEY, SETTINGS, "wrong")

    assert rejections.known(KEY, SETTINGS) == "wrong"
    clock.sleep(3599)
    assert rejections.known(KEY, SETTINGS) == "wrong"
    clock.sleep(2)
    assert rejections.known(KEY, SETTINGS) is None


@pytest.mark.parametrize(
    "change",
    [
        {"password": "another-word"},
        {"login": "operator"},
        {"auth": "none"},
        {"cas_port": 20010},
        {"cas_url": "https://elsewhere:20009/cas"},
    ],
    ids=str,
)
def test_a_changed_connection_is_tried_at_once(airflow: type[Unlisted], change: dict[str, Any]) -> None:
    rejections.keep(KEY, SETTINGS, "wrong")

    assert rejections.known(KEY, replace(SETTINGS, **change)) is None


def test_it_tells_nothing_of_the_password(airflow: type[Unlisted]) -> None:
    """Each byte is that of every 256th word."""
    words = [f"word-{number}" for number in range(12)]
    marks = []
    for word in words:
        rejections.keep(KEY, replace(SETTINGS, password=word), "wrong")
        assert word not in airflow.rows[KEY]
        marks.append(json.loads(airflow.rows[KEY])["password"])

    assert all(mark in range(256) for mark in marks)
    assert len(set(marks)) > 6


def test_it_is_forgotten(airflow: type[Unlisted]) -> None:
    rejections.forget(KEY)
    rejections.keep(KEY, SETTINGS, "wrong")
    rejections.forget(KEY)

    assert rejections.known(KEY, SETTINGS) is None
    assert KEY not in airflow.rows


@pytest.mark.parametrize(
    "edit",
    [
        {"at": "now"},
        {"at": float("nan")},
        {"at": 9e300},
        {"at": 0},
        {"reason": None},
        {"account": ["x"]},
        {"password": "1"},
        {"more": 1},
    ],
    ids=str,
)
def test_what_somebody_has_edited_costs_an_attempt(airflow: type[Unlisted], edit: dict[str, object]) -> None:
    rejections.keep(KEY, SETTINGS, "wrong")
    airflow.rows[KEY] = json.dumps({**json.loads(airflow.rows[KEY]), **edit})

    assert rejections.known(KEY, SETTINGS) is None


@pytest.mark.parametrize("text", ["", "by hand", "[]", "null", "[" * 100_000], ids=lambda text: text[:9])
def test_what_is_no_object_costs_an_attempt(airflow: type[Unlisted], text: str) -> None:
    airflow.rows[KEY] = text

    assert rejections.known(KEY, SETTINGS) is None


def test_what_somebody_has_written_is_short(airflow: type[Unlisted]) -> None:
    rejections.keep(KEY, SETTINGS, "wrong")
    airflow.rows[KEY] = json.dumps({**json.loads(airflow.rows[KEY]), "reason": "x" * 8_000_000})

    assert len(rejections.known(KEY, SETTINGS) or "") < 600
