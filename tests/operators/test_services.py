"""The operators in Airflow's hands: whole DAG runs, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.operators.base import PATIENCE
from airflow_mrs.simulator.faults import Patch, Word
from tests.operators.conftest import states, xcom

if TYPE_CHECKING:
    from airflow_mrs.simulator import Simulator
    from tests.operators.conftest import Run

WAYS = ["blocking", "deferrable"]
A_WHILE = 3
"""So many looks see a service on its way."""

MORE_THAN_A_WORKER_ASKS = 2 * round(PATIENCE / 0.2)
"""So many polls see a command under way; a worker asks half as often before it defers, or less on a slow machine."""


def words(manager: Simulator, service: str = "HBase") -> list[str]:
    return [change.details["state"] for change in manager.journal.state_changes(service)]


@pytest.mark.parametrize("way", WAYS)
def test_down_and_up_again(manager: Simulator, run: Run, way: str, deferrals: list[str]) -> None:
    """A command that is over at once is waited for by the worker, in any case."""
    assert states(run(f"stop_and_start_{way}")) == {"stop": "success", "start": "success"}
    assert deferrals == []
    assert words(manager) == ["stopping", "stopped", "starting", "started"]
    assert manager.journal.logins_succeeded == manager.journal.count("logout") == 2


def test_a_longer_command_is_waited_for_by_a_trigger(
    manager: Simulator, run: Run, deferrals: list[str]
) -> None:
    manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=MORE_THAN_A_WORKER_ASKS)

    assert states(run("stop_and_start_deferrable")) == {"stop": "success", "start": "success"}
    assert manager.journal.accepted("HBase", "stop") == manager.journal.accepted("HBase", "start") == 1
    assert "stop of HBase, command 1" in deferrals


@pytest.mark.parametrize("way", WAYS)
def test_a_service_that_is_down_is_left_alone(manager: Simulator, run: Run, way: str) -> None:
    manager.cluster.set_state("HBase", "stopped")

    done = run(f"stop_and_start_{way}")

    assert states(done)["stop"] == "success"
    assert manager.journal.accepted("HBase", "stop") == 0
    assert xcom(done, "stop") == -1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("brisk")
def test_a_service_that_is_going_down_is_waited_for(
    manager: Simulator, run: Run, way: str, deferrals: list[str]
) -> None:
    manager.cluster.set_state("HBase", "stopped")
    manager.faults.set("service", Word("Stopping"), times=A_WHILE)

    assert states(run(f"stop_and_start_{way}")) == {"stop": "success", "start": "success"}
    assert manager.journal.count("fault") == A_WHILE
    assert ("stop of HBase" in deferrals) == (way == "deferrable")
    assert manager.journal.accepted("HBase", "stop") == 0
    assert manager.journal.accepted("HBase", "start") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_service_that_is_coming_up_settles_first(manager: Simulator, run: Run, way: str) -> None:
    manager.faults.set("service", Word("Starting"), times=A_WHILE)

    assert states(run(f"stop_and_start_{way}")) == {"stop": "success", "start": "success"}
    seen = [entry.event for entry in manager.journal.entries() if entry.event in {"fault", "post accepted"}]
    assert seen == ["fault"] * A_WHILE + ["post accepted"] * 2
    assert words(manager) == ["stopping", "stopped", "starting", "started"]


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_command_fails_the_task(manager: Simulator, run: Run, way: str) -> None:
    manager.cluster.fail_next("HBase", "stop", text="RegionServer does not let go.")

    assert states(run(f"stop_and_start_{way}")) == {"stop": "failed", "start": "upstream_failed"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("service", ["NoSuchService", "../HBase", "HBase?x=1", "HBase%2f", ".."])
def test_a_wrong_name_fails_the_task(manager: Simulator, run: Run, way: str, service: str) -> None:
    assert states(run(f"stop_and_start_{way}", service=service))["stop"] == "failed"
    assert manager.journal.entries("post accepted") == []
