"""A connection that Airflow does not find for a moment: its API server or its database is away, and it does not say so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_mrs.hooks import lookup, mrs_manager
from airflow_mrs.hooks.lookup import PatientHook
from airflow_mrs.operators.service import MRSRestartServiceOperator
from airflow_mrs.triggers.service import MRSServiceTrigger
from tests.operators.conftest import states
from tests.operators.harness import carry_out, first_event
from tests.operators.windows import THERE_AND_BACK, down, sent
from tests.unit.manager.driver import NOW, Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator

    RunWindow = Callable[..., DagRun]

NOT_FOUND = AirflowNotFoundException("The conn_id `mrs_default` isn't defined")


class Airflow:
    """Looks connections up, and raises one error after the other before it finds one."""

    def __init__(self, look_up: Callable[..., Any]) -> None:
        self.errors: list[Exception] = []
        self.forever: Exception | None = None
        self.asked = 0
        self._look_up = look_up

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        if self.forever is not None:
            raise self.forever
        return self._look_up(*arguments, **more)


@pytest.fixture(autouse=True)
def clock(brisk: None, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A time that passes only while a connection is not found."""
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr(lookup, "time", SimpleNamespace(time=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(lookup, "asyncio", SimpleNamespace(sleep=sleep_async))
    return clock


@pytest.fixture
def in_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow(get_async_connection)
    monkeypatch.setattr(mrs_manager, "get_async_connection", airflow)
    return airflow


@pytest.fixture
def in_a_patient_worker(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow(PatientHook.get_connection)
    monkeypatch.setattr(PatientHook, "get_connection", airflow)
    return airflow


def wait(deadline: float = NOW + 3600) -> dict[str, Any]:
    event: dict[str, Any] = asyncio.run(
        first_event(MRSServiceTrigger("mrs_default", "HBase", "up", deadline))
    )
    return event


@pytest.mark.usefixtures("manager")
def test_a_trigger_waits_on(in_the_triggerer: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    log = SimpleNamespace(log=lambda _, words, *of: lines.append(words % of))
    monkeypatch.setattr(MRSServiceTrigger, "log", log)
    in_the_triggerer.errors = [
        NOT_FOUND,
        ConnectionError("mrs://admin:s3cret-word@10.0.0.5"),
        *[NOT_FOUND] * 9,
    ]

    assert wait()["status"] == "success"

    assert len(lines) == 3  # the last one says that HBase is up
    assert "does not find the connection, asking on: AirflowNotFoundException" in lines[0]
    assert "finds the connection again" in lines[1]


@pytest.mark.parametrize(("deadline", "seconds"), [(NOW + 3600, 600), (NOW + 60, 60), (NOW - 1, 0)])
def test_a_trigger_waits_no_longer_than_through_an_outage_of_manager(
    in_the_triggerer: Airflow, clock: Clock, deadline: float, seconds: float
) -> None:
    in_the_triggerer.forever = ConnectionError("mrs://admin:s3cret-word@10.0.0.5")

    event = wait(deadline)

    assert (event["status"], event["error"]) == ("error", "ContactLost")
    assert f"has not found the connection for {seconds} s, last with ConnectionError" in event["message"]
    assert "s3cret-word" not in event["message"]
    assert clock.now == pytest.approx(NOW + seconds)
    assert in_the_triggerer.asked < 30


def test_what_is_certain_is_said_at_once(in_the_triggerer: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_triggerer.errors = [PermissionError("denied")]
    with pytest.raises(PermissionError):
        wait()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", "http://nobody")
    assert wait()["error"] == "InvalidArgument"
    assert in_the_triggerer.asked == 2


def test_a_window_comes_back_without_a_retry(
    manager: Simulator, run_window: RunWindow, in_a_patient_worker: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task of it does not find the connection at first."""
    find = in_a_patient_worker._look_up

    def find_at_last(*arguments: Any) -> Any:
        in_a_patient_worker.errors = [NOT_FOUND, ConnectionError()]
        return find(*arguments)

    monkeypatch.setattr(in_a_patient_worker, "_look_up", find_at_last)
    in_a_patient_worker.errors = [NOT_FOUND]

    run = run_window()

    assert run.state == "success", states(run)
    assert all(ti.try_number <= 1 for ti in run.get_task_instances())
    assert sent(manager) == THERE_AND_BACK
    assert not down(manager)


def test_a_restart_goes_on_with_the_start(manager: Simulator, in_a_patient_worker: Airflow) -> None:
    in_a_patient_worker.errors = [NOT_FOUND, NOT_FOUND]

    carry_out(
        MRSRestartServiceOperator(task_id="restart", service_name="HBase", deferrable=True, poll_interval=0.1)
    )

    assert in_a_patient_worker.asked == 3
    assert not down(manager)


def test_a_worker_that_does_not_find_it_for_a_minute_says_so_as_airflow_does(
    in_a_patient_worker: Airflow, clock: Clock
) -> None:
    in_a_patient_worker.forever = NOT_FOUND

    with pytest.raises(AirflowNotFoundException):
        _ = PatientHook("mrs_default").settings

    assert clock.now == pytest.approx(NOW + 60)
