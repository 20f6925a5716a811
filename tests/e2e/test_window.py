"""The example window in a real Airflow: HBase is up again at the end, and the run has the right colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

DAG_ID = "example_mrs_maintenance"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def states_of(airflow: Airflow, run_id: str) -> dict[str, str | None]:
    return airflow.api.task_states(DAG_ID, run_id)


def test_all_goes_well(airflow: Airflow, manage: Callable[..., Simulator]) -> None:
    manager = manage(service_seconds={"HBase": 6.0})
    airflow.api.wait_for_dag(DAG_ID)
    run_id = airflow.api.trigger(DAG_ID)

    assert airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert set(states_of(airflow, run_id).values()) == {"success"}
    assert [change.details["state"] for change in manager.journal.state_changes("HBase")] == [
        "stopping",
        "stopped",
        "starting",
        "started",
    ]
    assert manager.journal.accepted("HBase", "stop") == manager.journal.accepted("HBase", "start") == 1


@pytest.mark.usefixtures("broken_work")
def test_the_work_fails(airflow: Airflow, manager: Simulator) -> None:
    run_id = airflow.api.trigger(DAG_ID)

    assert airflow.api.wait_for_run(DAG_ID, run_id) == "failed"
    assert states_of(airflow, run_id)["back_up_hbase"] == "failed"
    assert manager.cluster.service("HBase").state == "started"
    assert manager.journal.accepted("HBase", "stop") == manager.journal.accepted("HBase", "start") == 1


def test_every_try_of_the_stop_fails_half_way(airflow: Airflow, manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "stop", times=3)
    run_id = airflow.api.trigger(DAG_ID)

    assert airflow.api.wait_for_run(DAG_ID, run_id) == "failed"
    assert states_of(airflow, run_id) == {
        "open_window": "success",
        "stop_hbase": "failed",
        "back_up_hbase": "upstream_failed",
        "start_hbase": "success",
        "close_window": "failed",
    }
    assert manager.cluster.service("HBase").state == "started"
    assert manager.journal.accepted("HBase", "stop") == 3


def test_a_stop_that_fails_once_is_sent_afresh(airflow: Airflow, manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "stop")
    run_id = airflow.api.trigger(DAG_ID)

    assert airflow.api.wait_for_run(DAG_ID, run_id) == "success"
    assert manager.journal.accepted("HBase", "stop") == 2
    assert manager.cluster.service("HBase").state == "started"


def test_the_start_fails_for_good(airflow: Airflow, manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "start", times=3)
    run_id = airflow.api.trigger(DAG_ID)

    assert airflow.api.wait_for_run(DAG_ID, run_id) == "failed"
    assert states_of(airflow, run_id)["start_hbase"] == "failed"
