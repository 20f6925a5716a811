"""The sensors in Airflow's hands: the same verdict in each of their three modes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_mrs.manager.errors import ContactLost, RequestRefused
from airflow_mrs.sensors.cluster import MRSClusterHealthSensor
from airflow_mrs.sensors.service import MRSServiceSensor
from airflow_mrs.simulator.faults import Cut, Patch, Word
from airflow_mrs.triggers.base import SHORTEST_DEFERRAL, TRIGGER_GRACE
from airflow_mrs.triggers.service import MRSServiceTrigger
from tests.operators.conftest import states
from tests.operators.harness import first_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from tests.operators.conftest import Run

    Manage = Callable[..., Simulator]

AN_HOUR = 3600.0
A_WHILE = 3
"""So many polls see what is waited for under way."""

SENSORS: dict[str, dict[str, Any]] = {"command": {"command_id": 1}, "service": {}, "health": {}}

every_mode = pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
every_sensor = pytest.mark.parametrize("sensor", list(SENSORS))
under_soft_fail = pytest.mark.parametrize(("policy", "state"), [("", "failed"), ("_soft_fail", "skipped")])
whatever_policy = pytest.mark.parametrize("policy", ["", "_soft_fail", "_silent_fail"])


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    """Let triggers fire at once."""


def waited(manager: Simulator, mode: str, deferrals: list[str]) -> bool:
    """Tell whether all polls of a while were made, and those after the first one by a trigger where they should be."""
    return manager.journal.count("fault") == A_WHILE and bool(deferrals) == (mode == "deferrable")


# ---- what they wait for ----------------------------------------------------------------------------------


@every_mode
def test_a_command_that_is_over(manager: Simulator, run: Run, mode: str, deferrals: list[str]) -> None:
    command = manager.cluster.stop("HBase")
    manager.journal.wait_for(lambda: manager.cluster.running is None)

    assert states(run(f"command_{mode}", command_id=command.id)) == {"wait": "success"}
    assert deferrals == []


@every_mode
def test_a_command_that_comes_to_its_end(
    manager: Simulator, run: Run, mode: str, deferrals: list[str]
) -> None:
    command = manager.cluster.stop("HBase")
    manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=A_WHILE)

    assert states(run(f"command_{mode}", command_id=command.id)) == {"wait": "success"}
    assert waited(manager, mode, deferrals)


@every_mode
def test_where_there_is_no_command_nothing_is_asked(manager: Simulator, run: Run, mode: str) -> None:
    assert states(run(f"command_{mode}", command_id=-1)) == {"wait": "success"}
    assert manager.journal.logins_attempted == 0


@every_mode
@under_soft_fail
def test_a_failed_command(manager: Simulator, run: Run, mode: str, policy: str, state: str) -> None:
    manager.cluster.fail_next("HBase", "stop")
    command = manager.cluster.stop("HBase")

    assert states(run(f"command_{mode}{policy}", command_id=command.id)) == {"wait": state}


@every_mode
@pytest.mark.parametrize(
    ("word", "then", "state"), [("Stopping", "stopped", "down"), ("Starting", "started", "up")]
)
def test_a_service_that_gets_there(
    manager: Simulator, run: Run, mode: str, word: str, then: str, state: str, deferrals: list[str]
) -> None:
    manager.cluster.set_state("HBase", then)
    manager.faults.set("service", Word(word), times=A_WHILE)

    assert states(run(f"service_{mode}", state=state)) == {"wait": "success"}
    assert waited(manager, mode, deferrals)


@every_mode
def test_a_cluster_that_recovers(manager: Simulator, run: Run, mode: str, deferrals: list[str]) -> None:
    manager.faults.set("cluster_status", Patch({"res_obj": {"state": "BAD"}}), times=A_WHILE)

    assert states(run(f"health_{mode}")) == {"wait": "success"}
    assert waited(manager, mode, deferrals)


@every_mode
def test_a_state_without_a_known_word_is_waited_out(
    manager: Simulator, run: Run, mode: str, deferrals: list[str]
) -> None:
    manager.faults.set("service", Word("Hibernating"), times=A_WHILE)

    assert states(run(f"service_{mode}", state="up")) == {"wait": "success"}
    assert waited(manager, mode, deferrals)


@every_mode
@pytest.mark.parametrize(
    "conf", [{"service": "Nothing"}, {"service": "../HBase"}, {"state": "sideways"}], ids=str
)
def test_what_can_not_be_waited_for(manager: Simulator, run: Run, mode: str, conf: dict[str, str]) -> None:
    assert states(run(f"service_{mode}", **conf)) == {"wait": "failed"}


@pytest.mark.parametrize(("mode", "sessions"), [("poke", 1), ("reschedule", A_WHILE + 1)])
def test_no_session_is_left_behind(manager: Simulator, run: Run, mode: str, sessions: int) -> None:
    manager.faults.set("service", Word("Stopping"), times=A_WHILE)

    assert states(run(f"service_{mode}", state="up")) == {"wait": "success"}
    assert manager.journal.logins_succeeded == manager.journal.count("logout") == sessions


@pytest.mark.parametrize("state", ["up", "down"])
def test_the_worker_leaves_no_session_behind_when_it_defers_or_need_not(
    manager: Simulator, state: str
) -> None:
    sensor = MRSServiceSensor(task_id="wait", service_name="HBase", state=state, deferrable=True)
    context: Any = {}

    with pytest.raises(TaskDeferred) if state == "down" else nullcontext():
        sensor.execute(context)
    assert manager.journal.logins_succeeded == manager.journal.count("logout") == 1


def test_a_sensor_that_is_killed_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MRSServiceSensor, "log", logging.getLogger(__name__))
    MRSServiceSensor(task_id="wait", service_name="HBase").on_kill()

    assert "'mrs_default': HBase to be up: no longer waited for. What runs in Manager goes on." in caplog.text


# ---- how they defer --------------------------------------------------------------------------------------


def test_no_trigger_fires_in_its_first_seconds_or_is_cut_short(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mrs.sensors.base.SHORTEST_DEFERRAL", 10.0)
    sensor = MRSServiceSensor(
        task_id="wait", service_name="HBase", state="down", deferrable=True, timeout=AN_HOUR
    )
    context: Any = {}
    before = time.time()

    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(context)
    after = time.time()

    trigger: Any = deferral.value.trigger
    assert before + 10 <= trigger.not_before <= after + 10
    assert before + AN_HOUR <= trigger.deadline <= after + AN_HOUR
    assert deferral.value.timeout is not None
    assert trigger.deadline + TRIGGER_GRACE - after <= deferral.value.timeout.total_seconds()
    assert deferral.value.timeout.total_seconds() <= AN_HOUR + TRIGGER_GRACE


def test_a_sensor_that_was_rescheduled_has_no_more_time_than_it_had_at_first(manager: Simulator) -> None:
    first = datetime.now(tz=UTC) - timedelta(seconds=AN_HOUR / 2)
    context: Any = {"ti": SimpleNamespace(get_first_reschedule_date=lambda _: first)}
    sensor = MRSServiceSensor(
        task_id="wait",
        service_name="HBase",
        state="down",
        mode="reschedule",
        deferrable=True,
        timeout=AN_HOUR,
    )

    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(context)

    trigger: Any = deferral.value.trigger
    assert trigger.deadline == first.timestamp() + AN_HOUR


def test_an_event_does_not_come_too_soon(manager: Simulator) -> None:
    too_soon = time.time() + 1

    asyncio.run(
        first_event(MRSServiceTrigger("mrs_default", "HBase", "up", too_soon + 60, not_before=too_soon))
    )

    assert time.time() >= too_soon


# ---- what goes wrong -------------------------------------------------------------------------------------


@every_mode
@every_sensor
@under_soft_fail
def test_what_takes_too_long(
    manage: Manage, run: Run, mode: str, sensor: str, policy: str, state: str
) -> None:
    manage(command_seconds=AN_HOUR).cluster.stop("HBase")

    assert states(run(f"{sensor}_{mode}{policy}_in_haste", **SENSORS[sensor])) == {"wait": state}


@every_mode
@every_sensor
def test_an_outage_passes(manager: Simulator, run: Run, mode: str, sensor: str) -> None:
    if sensor != "health":
        manager.cluster.stop("HBase")
    manager.faults.set(
        {"command": "progress", "health": "cluster_status"}.get(sensor, sensor), Cut(), times=2
    )

    assert states(run(f"{sensor}_{mode}", **SENSORS[sensor])) == {"wait": "success"}
    assert manager.journal.count("fault") == 2


@every_mode
@every_sensor
@whatever_policy
def test_a_wrong_password_never_skips(
    manager: Simulator, run: Run, mode: str, sensor: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "wrong"))

    assert states(run(f"{sensor}_{mode}{policy}", **SENSORS[sensor])) == {"wait": "failed"}
    assert manager.journal.logins_attempted == 1


@every_mode
@pytest.mark.parametrize("conf", [{}, {"service": "Nothing"}], ids=["too long", "no such service"])
def test_what_never_fails_is_skipped(manager: Simulator, run: Run, mode: str, conf: dict[str, str]) -> None:
    assert states(run(f"service_{mode}_never_fail_in_haste", **conf)) == {"wait": "skipped"}
    assert manager.journal.requests["service"]


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("HBase", "'mrs_default': HBase to be down: not over within 1 s; HBase is 'Normal'"),
        ("Nothing", "Nothing does not exist"),
    ],
)
@pytest.mark.usefixtures("manager")
def test_a_skip_says_why(service: str, reason: str) -> None:
    sensor = MRSServiceSensor(
        task_id="wait", service_name=service, state="down", poke_interval=0.2, timeout=1, never_fail=True
    )
    context: Any = {}

    with pytest.raises(AirflowSkipException, match=reason):
        sensor.execute(context)


@every_mode
@every_sensor
@whatever_policy
def test_a_refused_certificate_never_skips(
    manager: Simulator, run: Run, mode: str, sensor: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace('"ca_cert"', '"no_cert"'))

    assert states(run(f"{sensor}_{mode}{policy}", **SENSORS[sensor])) == {"wait": "failed"}
    assert manager.journal.logins_attempted == 0


@pytest.mark.parametrize(
    ("error", "verdict", "under_soft_fail"),
    [
        ("CommandFailed", AirflowFailException, AirflowSkipException),
        ("WaitTimedOut", AirflowSensorTimeout, AirflowSkipException),
        ("LoginRefused", AirflowFailException, AirflowFailException),
        ("InvalidArgument", AirflowFailException, AirflowFailException),
        ("ContactLost", ContactLost, ContactLost),
        ("RequestRefused", RequestRefused, RequestRefused),
    ],
)
def test_airflow_retries_what_may_pass(
    error: str, verdict: type[Exception], under_soft_fail: type[Exception]
) -> None:
    event = {"status": "error", "error": error, "message": "why"}
    context: Any = {}
    policies: list[tuple[dict[str, Any], type[Exception]]] = [
        ({}, verdict),
        ({"soft_fail": True}, under_soft_fail),
        ({"never_fail": True}, AirflowSkipException),
    ]

    for policy, expected in policies:
        with pytest.raises(expected, match="why") as caught:
            MRSServiceSensor(task_id="wait", service_name="HBase", **policy).execute_complete(context, event)
        assert caught.type is expected


def test_silent_fail_silences_nothing(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "wrong"))
    sensor = MRSServiceSensor(
        task_id="wait", service_name="HBase", poke_interval=0.1, timeout=1, silent_fail=True
    )
    context: Any = {}

    with pytest.raises(AirflowFailException, match="password"):
        sensor.execute(context)


@pytest.mark.parametrize(("mode", "seconds"), [("poke", 5), ("reschedule", 10)])
def test_no_sensor_is_rescheduled_within_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, mode: str, seconds: float
) -> None:
    """Airflow 3.3 can fail a task that comes back within five or so."""
    monkeypatch.setattr("airflow_mrs.sensors.base.SHORTEST_DEFERRAL", SHORTEST_DEFERRAL)
    assert MRSClusterHealthSensor(task_id="wait", mode=mode).poke_interval == seconds
    assert MRSClusterHealthSensor(task_id="wait", mode=mode, poke_interval=60).poke_interval == 60
