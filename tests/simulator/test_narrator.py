"""What is printed, and what is not, whatever names somebody has thought up."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.simulator import __main__ as command_line
from airflow_mrs.simulator.journal import Journal
from airflow_mrs.simulator.narrator import in_words, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from .visitor import Visitor

    Visit = Callable[..., Visitor]

SIMULATOR = [sys.executable, "-m", "airflow_mrs.simulator", "--web-port", "0", "--cas-port", "0"]


def told(event: str, **details: Any) -> str | None:
    journal = Journal()
    journal.record(event, **details)
    (entry,) = journal.entries()
    return in_words(entry)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("eve\n2026-01-01 admin is logged in", r"eve\n2026-01-01 admin is logged in"),
        ("eve\radmin", r"eve\radmin"),
        ("eve\u2028admin\x85", r"eve\u2028admin\x85"),
        ("\u202enimda", r"\u202enimda"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        (r"\x1b", r"\\x1b"),
        ("Jürgen", "Jürgen"),
        ("x" * 1_000_000, "x" * 200 + "..."),
        ("\x1b" * 1_000_000, r"\x1b" * 200 + "..."),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_names_are_printed_escaped_and_cut(name: str, printed: str) -> None:
    if name != printed:
        assert told("login attempted", user=name) == f"{printed} sends a password"
    assert told("command ended", command=1, state="FAILED", error=name) == f"command 1: FAILED {printed}"
    assert told("post refused", action="stop", service=name, error="") == f"refused to stop {printed}:"


def test_a_login_prints_one_line(visit: Visit, capsys: pytest.CaptureFixture[str]) -> None:
    visitor = visit()
    visitor.simulator.journal.on_entry(tell)
    visitor.log_in("wrong", username="eve\n\x1b[1Aadmin")
    printed = capsys.readouterr().out  # with lines of the server, where Airflow has set the logs up so
    assert sum("eve" in line for line in printed.splitlines()) == 2
    assert "\x1b" not in printed
    assert r"eve\n\x1b[1Aadmin sends a password" in printed


class Started:
    """What the command line says before it serves."""

    def __init__(self, *options: str, **variables: str) -> None:
        with subprocess.Popen(
            [*SIMULATOR, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            self.connection = json.loads(process.stdout.readline())
            process.terminate()
            self.complaints = process.stderr.read()


def test_the_password_comes_from_the_environment() -> None:
    started = Started(MRS_SIMULATOR_PASSWORD="unseen")
    assert started.connection["password"] == "unseen"
    assert started.complaints == ""


def test_the_argument_goes_before_the_environment_and_nothing_is_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MRS_SIMULATOR_PASSWORD", "unseen")
    assert command_line.options(["--password", "seen"])["password"] == "seen"
    assert command_line.options([])["password"] == "unseen"
    monkeypatch.setenv("MRS_SIMULATOR_PASSWORD", "")
    assert not command_line.options([])["password"]


def test_the_help_names_the_variable_and_not_what_it_holds() -> None:
    environment = {**os.environ, "MRS_SIMULATOR_PASSWORD": "un%seen"}
    text = subprocess.run(
        [*SIMULATOR, "--help"], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert "MRS_SIMULATOR_PASSWORD" in text
    assert "un%seen" not in text


def test_it_says_what_it_means_to_listen_everywhere() -> None:
    assert "without a login" in Started("--host", "0.0.0.0").complaints


@pytest.mark.parametrize(
    "option",
    [
        "--command-seconds=nan",
        "--command-seconds=-1",
        "--idle-seconds=inf",
        "--idle-seconds=1e308",
        "--service-seconds=HBase=nan",
        "--service-seconds=HBase=-1",
        "--web-port=65536",
        "--cas-port=-1",
    ],
)
def test_options_are_numbers_that_mean_something(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command_line.options([option])
    assert exit_.value.code == 2
    assert "invalid" in capsys.readouterr().err


def test_a_terminal_without_the_letters_of_a_name_stops_nothing(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    visitor = visit()
    visitor.simulator.journal.on_entry(tell)
    assert visitor.log_in("wrong", username="J\u00fcrgen").status_code == 200
    assert rb"J\xfcrgen sends a password" in printed.getvalue()
