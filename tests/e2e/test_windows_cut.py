"""Work that is cut, in a real Airflow: services are up again, in whatever way the work is not over."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from dev.processes import wait_until
from tests.e2e.windows import VERDICT, Run, is_back, newest, records, sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.usefixtures("no_windows")]

UNFINISHED: dict[str, set[str | None]] = {
    "to_be_retried": {"up_for_retry"},
    "not_begun": {None},
    "rescheduled": {"up_for_reschedule"},
    "deferred": {"deferred"},
    "deferred_for_a_run": {"deferred"},
    "polling_a_run": {"running"},
    "without_a_slot": {None, "scheduled"},
    "for_a_person": {"awaiting_input", "deferred"},
}
"""The tasks of the work, and the states in which nobody ends them today."""


@pytest.fixture
def run(airflow: Airflow, manager: Simulator) -> Iterator[Run]:
    airflow.cli("pools", "set", "no_slots", "0", "full for ever")
    run = Run(airflow, "unfinished_work")
    yield run
    run.mark("failed")
    for row in airflow.rows("SELECT run_id FROM dag_run WHERE dag_id = 'endless' AND state = 'running'"):
        airflow.api.set_state("endless", row["run_id"], "failed")


def test_services_are_up_again_however_the_work_is_unfinished(
    airflow: Airflow, manager: Simulator, run: Run
) -> None:
    def is_unfinished(states: dict[str, str | None]) -> bool:
        return all(
            states.get(f"maintenance.{task_id}") in in_state for task_id, in_state in UNFINISHED.items()
        )

    airflow.api.wait_for_tasks(run.dag_id, run.run_id, is_unfinished)
    key = newest(airflow)
    airflow.api.set_variable(key, json.dumps({**records(airflow)[key], "cutoff": time.time()}))

    run.wait_for("failed", VERDICT)
    assert is_back(manager)
    assert sent(manager) == ["stop HBase", "start HBase"]
    assert is_unfinished(run.states)
    wait_until(lambda: "did not go well" in run.log(VERDICT), "the verdict to be in the log")
    for task_id in UNFINISHED:
        assert f"maintenance.{task_id} was cut: it is " in run.log(VERDICT)
    assert "maintenance.mapped_1 was cut: it is up_for_retry" in run.log(VERDICT)
