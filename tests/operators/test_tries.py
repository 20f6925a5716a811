"""What a wait came to counts for the try that waited: Airflow 3.0 hands it to each further try as well."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from airflow.exceptions import TaskDeferralError
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_mrs.manager.errors import CommandFailed, RequestRefused, WaitTimedOut
from airflow_mrs.operators.configuration import MRSSaveConfigurationOperator
from airflow_mrs.operators.service import (
    MRSRestartServiceOperator,
    MRSStartServiceOperator,
    MRSStopServiceOperator,
)
from airflow_mrs.sensors.cluster import MRSClusterHealthSensor
from airflow_mrs.sensors.command import MRSCommandSensor
from airflow_mrs.sensors.service import MRSServiceSensor
from airflow_mrs.simulator.faults import Status
from tests.operators.harness import Died, Instance, Store, carry_out, die, first_event, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.operators.base import MRSCommandOperator
    from airflow_mrs.sensors.base import MRSSensor
    from airflow_mrs.simulator import Simulator

A_WHILE = 600.0
AN_HOUR = 3600.0
REFUSALS_THAT_COUNT = 3

Resumption = tuple[str, dict[str, Any]]
ENDED_BY_AIRFLOW: Resumption = ("__fail__", {"error": "Trigger timeout"})
TRIGGER_FAILED: Resumption = ("__fail__", {"error": "Trigger failure"})

OPERATORS: dict[str, Callable[..., MRSCommandOperator]] = {
    "stop": MRSStopServiceOperator,
    "start": MRSStartServiceOperator,
    "restart": MRSRestartServiceOperator,
    "save": MRSSaveConfigurationOperator,
}
SENSORS: dict[str, Callable[..., MRSSensor]] = {
    "command": MRSCommandSensor,
    "service": MRSServiceSensor,
    "health": MRSClusterHealthSensor,
}
POLLS = {"command": "progress", "service": "service", "health": "cluster_status"}


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    """Defer at once, and let triggers fire at once."""


@pytest.fixture(params=[True, False], ids=["store", "no store"])
def store(request: pytest.FixtureRequest) -> Store | None:
    """As on Airflow 3.3, and as on 3.0."""
    return Store() if request.param else None


@pytest.fixture
def slow(manage: Callable[..., Simulator]) -> Simulator:
    """A Manager whose commands go on until somebody lets time pass."""
    return manage(command_seconds=A_WHILE)


@pytest.fixture
def airflow_3_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_mrs.tries.KEPT_FOR_FURTHER_TRIES", True)


def operator(kind: str, **arguments: Any) -> MRSCommandOperator:
    what: dict[str, Any] = (
        {"configurations": {"HBase": {"hbase.master.port": "16000"}}, "restart_affected": True}
        if kind == "save"
        else {"service_name": "HBase"}
    )
    return OPERATORS[kind](task_id=kind, poll_interval=0.1, deferrable=True, **what, **arguments)


def sensor(kind: str, **arguments: Any) -> MRSSensor:
    what: dict[str, dict[str, Any]] = {
        "command": {"command_id": 1},
        "service": {"service_name": "HBase", "state": "up"},
    }
    return SENSORS[kind](
        task_id="wait", poke_interval=0.1, deferrable=True, **what.get(kind, {}), **arguments
    )


# ---- a further try is handed the event of an earlier one -------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "failing"),
    [("stop", "stop"), ("start", "start"), ("restart", "stop"), ("restart", "start"), ("save", "start")],
)
def test_after_a_command_that_failed_another_one_is_sent(
    slow: Simulator, store: Store | None, kind: str, failing: str
) -> None:
    slow.cluster.set_state("HBase", "stopped" if kind == "start" else "started")
    slow.cluster.fail_next("HBase", failing)
    task, instance = operator(kind), Instance()
    carry_on = partial(
        carry_out, task, store, instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR)
    )

    with pytest.raises(CommandFailed):
        carry_on()
    carry_on()

    assert not instance.xcoms
    assert slow.journal.requests["save" if kind == "save" else failing] == 2
    assert slow.cluster.service("HBase").state == ("stopped" if kind == "stop" else "started")


@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_sensor_asks_again(slow: Simulator, kind: str) -> None:
    under_way(slow)
    instance = Instance()
    refuse = partial(slow.faults.set, POLLS[kind], Status(404), times=REFUSALS_THAT_COUNT)

    with pytest.raises(RequestRefused):
        carry_out(sensor(kind), instance=instance, while_deferred=refuse)
    carry_out(sensor(kind), instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR))

    assert instance.try_number == 2


def under_way(manager: Simulator) -> None:
    """Let what each of the sensors waits for come with time."""
    manager.cluster.set_state("HBase", "stopped")
    manager.cluster.start("HBase")


def test_a_success_is_that_of_its_try_too(slow: Simulator) -> None:
    """The worker dies with it, and somebody starts the service before the next try."""
    instance, store = Instance(), Store()
    store.on_set["before done"] = die
    with pytest.raises(Died):
        carry_out(operator("stop"), store, instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR))
    slow.cluster.set_state("HBase", "started")

    carry_out(operator("stop"), instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR))

    assert slow.cluster.service("HBase").state == "stopped"


def test_an_event_counts_under_a_further_number_of_the_same_try(slow: Simulator) -> None:
    """The scheduler died as the task was about to resume."""
    task, instance = operator("restart"), Instance()
    assert carry_out(task, instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR)) == 2
    instance.try_number += 1

    assert start(task, instance) == 2
    assert (slow.journal.requests["stop"], slow.journal.requests["start"]) == (1, 1)


def test_a_further_try_waits_for_the_command_that_still_runs(slow: Simulator, store: Store | None) -> None:
    instance = Instance()
    with pytest.raises(WaitTimedOut):
        carry_out(operator("stop", timeout=0.5), store, instance=instance)

    carry_out(operator("stop"), store, instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR))

    assert slow.journal.requests["stop"] == 1
    assert slow.cluster.service("HBase").state == "stopped"


@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_trigger_of_an_earlier_version_waits_for_whoever_asks(slow: Simulator, kind: str) -> None:
    """It was in the database when the provider was updated, or its event was."""
    under_way(slow)
    slow.pass_time(AN_HOUR)
    trigger = sensor(kind).trigger(time.time() + A_WHILE)
    _, arguments = trigger.serialize()
    del arguments["task_instance_id"]
    event = asyncio.run(first_event(type(trigger)(**arguments)))
    without = {name: value for name, value in event.items() if name != "task_instance_id"}
    logins = slow.journal.logins_attempted

    for told in (event, without):
        start(sensor(kind), Instance(id=uuid4(), resumption=("execute_complete", {"event": told})))

    assert slow.journal.logins_attempted == logins


# ---- Airflow ends the deferral ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stop", "restart", "save"])
def test_a_wait_that_airflow_ended_fails(slow: Simulator, store: Store | None, kind: str) -> None:
    """As where no triggerer runs."""
    instance, task = Instance(), operator(kind)
    with pytest.raises(Died):
        carry_out(task, store, instance=instance, while_deferred=die)
    instance.resumption = ENDED_BY_AIRFLOW

    with pytest.raises(
        AirflowFailException if kind == "save" and store is None else WaitTimedOut,
        match=f"{'command 1' if store else 'its command'} goes on",
    ):
        start(task, instance, store)


@pytest.mark.parametrize(
    ("policy", "verdict"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_sensor_whose_wait_airflow_ended_is_out_of_time(
    kind: str, policy: dict[str, bool], verdict: type[Exception]
) -> None:
    with pytest.raises(verdict, match="Airflow ended the wait"):
        start(sensor(kind, **policy), Instance(try_number=1, resumption=ENDED_BY_AIRFLOW))


@pytest.mark.parametrize("ended", [ENDED_BY_AIRFLOW, TRIGGER_FAILED])
@pytest.mark.parametrize("kind", ["stop", "restart"])
@pytest.mark.usefixtures("airflow_3_0")
def test_an_operator_begins_anew_after_the_try_whose_wait_airflow_ended(
    slow: Simulator, kind: str, ended: Resumption
) -> None:
    instance, task = Instance(), operator(kind)
    with pytest.raises(Died):
        carry_out(task, instance=instance, while_deferred=die)
    instance.resumption = ended
    with pytest.raises((WaitTimedOut, TaskDeferralError)):
        start(task, instance)

    carry_out(task, instance=instance, while_deferred=lambda: slow.pass_time(AN_HOUR))

    assert slow.journal.requests["stop"] == 1
    assert slow.cluster.service("HBase").state == ("stopped" if kind == "stop" else "started")


@pytest.mark.usefixtures("airflow_3_0")
@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_sensor_begins_anew_after_the_try_whose_trigger_failed(slow: Simulator, kind: str) -> None:
    under_way(slow)
    instance = Instance()
    with pytest.raises(Died):
        carry_out(sensor(kind), instance=instance, while_deferred=die)
    instance.resumption = TRIGGER_FAILED
    with pytest.raises(TaskDeferralError):
        start(sensor(kind), instance)

    slow.pass_time(AN_HOUR)
    carry_out(sensor(kind), instance=instance)
