"""Somebody locks the account while services are down: they come back all the same, and nobody locks it for longer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.manager.session import forget_refusals
from airflow_mrs.operators.service import MRSStartServiceOperator
from airflow_mrs.simulator.faults import LoginPage, Patch
from tests.operators import windows
from tests.operators.conftest import read_variables, states, write_variable
from tests.operators.harness import Store, carry_out
from tests.operators.windows import THERE_AND_BACK, down, held_by_somebody, look_after, record_of, sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator
    from airflow_mrs.simulator.faults import PageName
    from airflow_mrs.simulator.journal import Entry

    RunWindow = Callable[..., DagRun]

PAGES: list[PageName] = ["locked", "captcha"]
TIMES = 3


@pytest.fixture(autouse=True)
def _brisk(brisk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lockout take no longer than a moment."""
    monkeypatch.setattr("airflow_mrs.manager.session._LOCKOUT", 0.2)
    monkeypatch.setattr("airflow_mrs.manager.session._BETWEEN_ATTEMPTS", 0.3)
    monkeypatch.setattr("airflow_mrs.manager.waiting._NEXT_LOGIN", 0.1)


@pytest.fixture
def lock_when(manager: Simulator) -> Callable[..., None]:
    """Let nobody in for a while from a moment on, and end all sessions."""

    def lock(is_the_moment: Callable[[Entry], bool], page: PageName = "locked", times: int = TIMES) -> None:
        once = iter([True])

        def look(entry: Entry) -> None:
            if is_the_moment(entry) and next(once, False):
                manager.faults.set(
                    "login_page" if page == "captcha" else "login", LoginPage(page), times=times
                )

        manager.journal.on_entry(look)

    return lock


def is_state(entry: Entry, state: str) -> bool:
    return entry.event == "state" and entry.details["state"] == state


def take_long(manager: Simulator) -> None:
    """Let each start go on beyond its first poll."""

    def look(entry: Entry) -> None:
        if is_state(entry, "starting"):
            manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=2)

    manager.journal.on_entry(look)


@pytest.mark.parametrize("page", PAGES)
def test_the_account_is_locked_when_services_are_to_be_started(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch, page: PageName
) -> None:
    call = "login_page" if page == "captcha" else "login"
    monkeypatch.setattr(windows, "meanwhile", lambda: manager.faults.set(call, LoginPage(page), times=TIMES))

    run = run_window(work="meanwhile")

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK
    assert manager.journal.count("fault") == TIMES


def test_the_account_is_locked_while_a_start_is_waited_for_in_the_triggerer(
    manager: Simulator, run_window: RunWindow, lock_when: Callable[..., None], deferrals: list[str]
) -> None:
    take_long(manager)
    lock_when(lambda entry: is_state(entry, "starting"))

    run = run_window(deferrable=True)

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK
    assert "start of HBase" in " ".join(deferrals)
    assert manager.journal.count("login refused") == TIMES


def test_the_account_is_locked_when_the_window_is_to_be_closed(
    manager: Simulator, run_window: RunWindow, lock_when: Callable[..., None]
) -> None:
    lock_when(
        lambda entry: is_state(entry, "started") and manager.cluster.service("HBase").state == "started"
    )

    run = run_window()

    assert run.state == "success"
    assert record_of(manager).closed
    assert manager.journal.count("login refused") == TIMES


def test_the_account_is_locked_when_a_service_is_to_be_stopped(
    manager: Simulator, run_window: RunWindow, lock_when: Callable[..., None]
) -> None:
    """That can wait for another night."""
    lock_when(lambda entry: entry.event == "login succeeded", times=1)

    run = run_window()

    assert run.state == "failed"
    assert states(run)["maintenance.stop_HBase"] == "failed"
    assert sent(manager) == []
    assert not down(manager)


def test_a_start_of_its_own_does_not_wait(manager: Simulator) -> None:
    manager.faults.set("login", LoginPage("locked"))

    with pytest.raises(Exception, match="is locked"):
        carry_out(MRSStartServiceOperator(task_id="start", service_name="HBase"), Store())

    assert manager.journal.logins_attempted == 1


@pytest.mark.parametrize("page", PAGES)
def test_the_account_is_locked_when_the_guard_comes(manager: Simulator, page: PageName) -> None:
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    manager.faults.set("login_page" if page == "captcha" else "login", LoginPage(page), times=TIMES)

    assert look_after().state == "failed"

    assert "started HBase" in windows.log_of_the_report()
    assert not down(manager)
    assert look_after().state == "success"


def test_the_account_is_locked_while_the_guard_waits_in_the_triggerer(
    manager: Simulator,
    lock_when: Callable[..., None],
    deferrals: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEST_GUARD_DEFERRABLE", "True")
    held_by_somebody(manager)
    for name in ("Hive", "HBase"):
        manager.cluster.set_state(name, "stopped")
    take_long(manager)
    lock_when(lambda entry: is_state(entry, "starting"))

    assert look_after().state == "failed"

    assert sent(manager) == ["start Hive", "start HBase"]
    assert "started Hive, HBase" in windows.log_of_the_report()
    assert deferrals
    assert manager.journal.count("login refused") == TIMES


def test_the_guard_does_not_lock_the_account(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a password that is wrong, in a process of its own each time."""
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    wrong = manager.connection_json.replace(manager.password, "wrong")
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", wrong)

    for attempts in (1, 1, 1):
        assert look_after().state == "failed"
        forget_refusals()
        assert "rejected the login" in windows.log_of_the_report()
        assert manager.journal.logins_attempted == attempts
    assert "delete Variable mrs_rejected_" in windows.log_of_the_report()

    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", wrong.replace("wrong", "wrong as well"))
    assert look_after().state == "failed"
    forget_refusals()
    assert manager.journal.logins_attempted == 2

    assert "wrong as well" not in str(read_variables("mrs_"))

    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json)
    assert look_after().state == "failed"
    assert "started HBase" in windows.log_of_the_report()
    assert not read_variables("mrs_rejected_")
    assert look_after().state == "success"


def test_the_guard_tries_a_rejected_password_again_after_an_hour(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have made it the right one, in Manager."""
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    manager.faults.set("login", LoginPage("wrong_password"), times=1)
    assert look_after().state == "failed"
    forget_refusals()
    assert look_after().state == "failed"
    assert down(manager)

    [key] = read_variables("mrs_rejected_")
    kept: Any = json.loads(read_variables(key)[key])
    write_variable(key, json.dumps({**kept, "at": kept["at"] - 3601}))
    assert look_after().state == "failed"
    assert not down(manager)
