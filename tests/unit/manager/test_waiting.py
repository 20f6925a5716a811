from __future__ import annotations

import pytest

from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import (
    AnswerLost,
    CertificateRefused,
    CommandFailed,
    ContactLost,
    LoginRefused,
    MRSError,
    RequestRefused,
    StateContradicts,
    StateUndecided,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.manager.message import Response
from airflow_mrs.manager.waiting import Reading, poll_command, wait_for_change, wait_for_command

from .driver import NOW, Driver, Script, command, page, service

POLL = "GET /common/command/4100/progress"
CONTRADICTING_LOOKS = 6  # after 0, 1, 3, 7, 12, 17 seconds
LOOK = "GET /cluster/1/services/HBase"
STOP = ServiceChange(Action.STOP, "HBase")

RUNS, DONE = command("IN_PROGRESS", 4100, progress=10), command("COMPLETE", 4100, progress=100)
FAILED = command("FAILED", 4100, progress=50, error_code=-9, error_description="stuck")
FORGOTTEN = command("FAILED", error_code=-1, error_description="no such command")
LOST, REFUSED = AnswerLost("timed out"), page("<html>", 404)


def manager(polls: list[Response | MRSError], looks: list[Response | MRSError] | None = None) -> Driver:
    return Driver(Script({POLL: polls, LOOK: looks or [service("Stopped")]}))


def wait(driver: Driver, command_id: int | None = 4100, timeout: float = 3600.0) -> None:
    driver.run(wait_for_change(driver.contact(timeout=timeout), STOP, command_id))


def asked(driver: Driver, call: str) -> int:
    assert isinstance(driver.manager, Script)
    return driver.manager.calls.count(call)


# ---- the command -----------------------------------------------------------------------------------------


def test_polls_come_fast_at_first_and_then_at_the_interval() -> None:
    driver = manager([*[RUNS] * 5, DONE])
    assert driver.run(wait_for_command(driver.contact(), 4100)).progress == 100
    assert driver.pauses == [1, 2, 4, 5, 5]


def test_progress_is_logged_when_it_changes() -> None:
    half = command("IN_PROGRESS", 4100, progress=50)
    driver = manager([RUNS, RUNS, half, half, half, DONE])
    driver.run(wait_for_command(driver.contact(), 4100))
    assert [text for _, text in driver.lines] == [f"stop of HBase: IN_PROGRESS, {n}%" for n in (10, 50)]


def test_a_state_never_heard_of_is_no_end_and_warned_of_once() -> None:
    driver = manager([command("PAUSED"), command("PAUSED"), command(""), DONE])
    driver.run(wait_for_command(driver.contact(), 4100))
    assert len(driver.warnings) == 1


def test_out_of_time() -> None:
    driver = manager([RUNS])
    with pytest.raises(WaitTimedOut, match=r"last state IN_PROGRESS, progress 10%\. The command goes on"):
        wait(driver, timeout=60)
    assert driver.clock.now == NOW + 60


def test_failed_names_what_manager_says() -> None:
    with pytest.raises(CommandFailed, match="stop of HBase: failed with error -9: stuck") as caught:
        wait(manager([RUNS, FAILED]))
    assert caught.value.command is not None
    assert caught.value.command.error_code == -9


def test_one_poll_tells_how_far_a_command_is() -> None:
    driver = manager([RUNS, FAILED])
    assert driver.run(poll_command(driver.contact(), 4100)) == Reading(
        False, "state IN_PROGRESS, progress 10%"
    )
    with pytest.raises(CommandFailed):
        driver.run(poll_command(driver.contact(), 4100))


# ---- outages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outage",
    [
        LOST,
        Unreachable("refused"),
        *(page("", status) for status in (429, 500, 502, 503, 504)),
        page("<p>?"),
        Response(200, (), b'{"st'),
    ],
)
def test_an_outage_is_sat_out_and_told_of_at_both_ends(outage: Response | MRSError) -> None:
    driver = manager([RUNS, *[outage] * 6, DONE])
    wait(driver)
    assert len(driver.warnings) == 1
    assert sum("Manager answers again after" in text for _, text in driver.lines) == 1
    assert driver.pauses == [1, 5, 10, 20, 40, 60, 60]


def test_ten_minutes_without_an_answer_are_the_end() -> None:
    driver = manager([RUNS, LOST])
    with pytest.raises(ContactLost, match="has not answered for 600 s"):
        wait(driver)
    assert driver.clock.now == NOW + 1 + 600


def test_out_of_time_in_an_outage_is_a_broken_connection() -> None:
    driver = manager([RUNS, LOST])
    with pytest.raises(ContactLost):
        wait(driver, timeout=60)
    assert driver.clock.now == NOW + 60


@pytest.mark.parametrize(("asked_for", "pause"), [("90", 90), ("1", 5), ("99999", 599)])
def test_retry_after_is_honoured_but_not_past_the_deadline(asked_for: str, pause: float) -> None:
    driver = manager([RUNS, page("", 503, ("Retry-After", asked_for)), DONE])
    wait(driver, timeout=600)
    assert driver.pauses == [1, pause]


@pytest.mark.parametrize("error", [LoginRefused("wrong password"), CertificateRefused("unknown authority")])
def test_what_does_not_pass_ends_the_wait_at_once(error: MRSError) -> None:
    driver = manager([error])
    with pytest.raises(type(error)):
        wait(driver)
    assert driver.pauses == []


def test_a_refusal_counts_when_it_is_repeated() -> None:
    wait(manager([REFUSED, REFUSED, DONE]))
    driver = manager([REFUSED])
    with pytest.raises(RequestRefused):
        driver.run(wait_for_command(driver.contact(), 4100))
    assert asked(driver, POLL) == 3


# ---- the service -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "looks",
    [
        ["Stopped"],
        ["Stopping", "Stopping", "Stopped"],
        ["Started", "Started", "Started", "Started", "Not started"],
        ["Failed to stop"],
        ["hibernating"],
        [""],
    ],
)
def test_complete_holds_unless_the_service_contradicts(looks: list[str]) -> None:
    driver = manager([DONE], [service(word) for word in looks])
    wait(driver)
    assert asked(driver, LOOK) == len(looks)


@pytest.mark.parametrize("word", ["Started", "Starting", "Bad"])
def test_complete_and_a_lasting_contradiction_is_an_error(word: str) -> None:
    driver = manager([DONE], [service(word)])
    with pytest.raises(StateContradicts, match=f"reported the command COMPLETE, but HBase is still '{word}'"):
        wait(driver)
    assert asked(driver, LOOK) == CONTRADICTING_LOOKS


def test_complete_of_a_service_that_manager_does_not_show() -> None:
    wait(manager([DONE], [REFUSED]))


def test_one_unreadable_state_does_not_end_a_contradiction() -> None:
    with pytest.raises(StateContradicts):
        wait(manager([DONE], [service("Started"), REFUSED, service("Started")]))


@pytest.mark.parametrize("forgotten", [FORGOTTEN, REFUSED], ids=["FAILED without a trace", "404"])
def test_of_a_forgotten_command_the_service_tells(forgotten: Response) -> None:
    wait(manager([RUNS, forgotten], [service("Stopping"), service("Stopped")]))


def test_failed_without_a_trace_and_a_service_untouched_is_failed() -> None:
    with pytest.raises(CommandFailed, match="no such command"):
        wait(manager([FORGOTTEN], [service("Started")]))


def test_where_only_the_state_could_tell_and_does_not() -> None:
    driver = manager([FORGOTTEN], [service("Unknown")])
    with pytest.raises(StateUndecided, match=r"it is 'Unknown'.*no such command"):
        wait(driver)
    assert asked(driver, LOOK) == 12


def test_without_a_command_the_state_decides() -> None:
    driver = manager([], [service("Stopping"), service("Unknown"), service("Stopped")])
    wait(driver, command_id=None)
    with pytest.raises(StateContradicts, match="no command seems to run"):
        wait(manager([], [service("Started")]), command_id=None)
    with pytest.raises(WaitTimedOut, match="HBase is 'Stopping'"):
        wait(manager([], [service("Stopping")]), command_id=None, timeout=30)


def test_a_state_that_hides_movement_is_given_the_time_that_a_stop_takes() -> None:
    """MRS 2.x says *started* until a service is *stopped*."""
    wait(manager([], [*[service("STARTED")] * 100, service("STOPPED")]), command_id=None)
    with pytest.raises(StateContradicts):
        wait(manager([], [service("STARTED")]), command_id=None)
