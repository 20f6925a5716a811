"""The clock of a whole suite."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from dev.at import moment
from dev.database import ROOT

WHAT_TIME_IS_IT = """
import datetime, json, os, pathlib, subprocess, sys, time
import pendulum, sqlalchemy

file, *same_again = sys.argv[1:]
if same_again:
    subprocess.run([sys.executable, "-c", *same_again, file], check=True)
    sys.exit()
pathlib.Path(file).touch()
with sqlalchemy.create_engine("sqlite://").connect() as database:
    databases = database.scalar(sqlalchemy.select(sqlalchemy.func.now()))
print(json.dumps([
    time.time(),
    time.time_ns() / 1e9,
    datetime.datetime.now().timestamp(),
    pendulum.now().timestamp(),
    databases.replace(tzinfo=datetime.UTC).timestamp(),
    os.path.getmtime(file),
]))
"""


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-03-29T01:30+01:00", 0),
        ("2026-03-29 01:30", 1),
        ("2026-07-01 01:30 Europe/Berlin", -1),
        ("2026-10-25 02:30 Europe/Berlin", 0),  # the first of two
    ],
)
def test_a_moment(text: str, hour: int) -> None:
    day = datetime.fromisoformat(text[:10]).replace(tzinfo=UTC)

    assert moment(text).astimezone(UTC) == day + timedelta(hours=hour, minutes=30)


def test_all_clocks_of_all_processes_show_it(tmp_path: object) -> None:
    at = "2040-02-29 23:59 Europe/Berlin"
    done = subprocess.run(
        [sys.executable, "-m", "dev.at", at, "-c", WHAT_TIME_IS_IT, f"{tmp_path}/file", WHAT_TIME_IS_IT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert not done.stderr
    for clock in json.loads(done.stdout):
        assert 0 <= clock - moment(at).timestamp() + 1 < 120, clock
