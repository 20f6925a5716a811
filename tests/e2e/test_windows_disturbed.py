"""What people and machines do to a maintenance window: what was running is running again, and the run is red."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.simulator.faults import Stall
from dev.processes import wait_until
from tests.e2e.holding import AN_HOUR, PATIENT
from tests.e2e.windows import (
    OPEN,
    STARTS,
    STOPS,
    THERE_AND_BACK,
    VERDICT,
    WORK,
    Run,
    Work,
    an_hour_passes,
    is_back,
    lapse,
    look_after,
    sent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow
    from tests.e2e.holding import Hold

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.usefixtures("no_windows")]


# ---- what people do to it --------------------------------------------------------------------------------


def test_a_deferred_stop_is_marked_failed(airflow: Airflow, slow: Simulator) -> None:
    run = Run(airflow, "window")
    run.wait_for("deferred", STOPS[0])

    run.mark("failed", STOPS[0])
    run.wait_for("running", STARTS[1])  # HBase is still being stopped
    an_hour_passes(slow)

    assert run.end() == "failed"
    assert sent(slow) == ["stop HBase", "start HBase"]
    assert is_back(slow)


def test_the_run_is_marked_failed_while_a_stop_is_deferred(airflow: Airflow, slow: Simulator) -> None:
    run = Run(airflow, "window")
    run.wait_for("deferred", STOPS[0])

    run.mark("failed")
    an_hour_passes(slow)

    assert run.end() == "failed"
    wait_until(lambda: run.states[VERDICT] == "failed", "the verdict")
    assert sent(slow) == ["stop HBase", "start HBase"]
    assert is_back(slow)


def test_the_run_is_marked_failed_while_the_work_goes_on(
    airflow: Airflow, manager: Simulator, work: Work
) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()

    run.mark("failed")

    wait_until(lambda: run.states[VERDICT] == "failed", "the verdict")
    assert run.end() == "failed"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


def test_the_run_is_marked_failed_while_a_start_is_deferred(
    airflow: Airflow, manager: Simulator, work: Work
) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()
    manager.cluster._services["Hive"].seconds = AN_HOUR
    work.be_done()
    run.wait_for("deferred", STARTS[0])

    run.mark("failed")
    an_hour_passes(manager)

    wait_until(lambda: run.states[VERDICT] in {"success", "failed"}, "the verdict")
    run.end()
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


@pytest.mark.parametrize("moment", ["stop", "work"])
def test_the_run_is_marked_success(airflow: Airflow, manage: Manage, work: Work, moment: str) -> None:
    manager = manage(command_seconds=AN_HOUR if moment == "stop" else 0.1)
    run = Run(airflow, "window", **work.conf)
    if moment == "stop":
        run.wait_for("deferred", STOPS[0])
    else:
        work.wait_for()

    run.mark("success")
    an_hour_passes(manager)

    wait_until(lambda: run.states[VERDICT] in {"success", "failed"}, "the verdict")
    run.end()
    assert is_back(manager)


def test_a_pending_start_is_marked_failed(airflow: Airflow, manager: Simulator, work: Work) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()

    run.mark("failed", STARTS[1])
    work.be_done()

    assert run.end() == "failed"
    assert manager.cluster.service("Hive").state == "started"
    assert manager.cluster.service("HBase").state == "stopped"
    colour, log = look_after(airflow)
    assert (colour, "started HBase" in log) == ("failed", True)
    assert is_back(manager)


def test_the_work_is_cleared_afterwards(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window")
    run.end()

    run.clear([WORK])

    wait_until(lambda: run.tries(VERDICT) == 2, "a whole new window")
    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK * 2
    assert is_back(manager)


def test_only_what_failed_is_cleared(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window", work="fail")
    run.end()

    run.clear(only_failed=True)

    wait_until(lambda: run.tries(WORK) == 2, "the work")
    assert run.end() == "failed"
    assert "Clear the whole window" in run.log(WORK)
    assert "The work failed." not in run.log(WORK)
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


def test_only_what_failed_of_mapped_work_is_cleared(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window_with_mapped_work", work="fail")
    assert run.end() == "failed"
    assert run.states["maintenance.part[0]"] == "success"
    assert sent(manager) == THERE_AND_BACK

    run.clear(only_failed=True)

    wait_until(lambda: run.tries("maintenance.part", 1) == 2, "the work")
    assert run.end() == "failed"
    assert "Clear the whole window" in run.log("maintenance.part", 1)
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


def test_the_whole_window_is_cleared_after_a_start_failed(airflow: Airflow, manager: Simulator) -> None:
    """It goes back to what was running at first, not to what it finds."""
    manager.cluster.fail_next("HBase", "start", times=4)
    run = Run(airflow, "window")
    assert run.end() == "failed"

    run.clear()

    wait_until(lambda: run.tries(OPEN) == 2, "the window to open again")
    assert run.end() == "success"
    assert is_back(manager)


def test_the_run_is_deleted(airflow: Airflow, manager: Simulator, work: Work) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()

    airflow.delete_run(run.dag_id, run.run_id)
    work.be_done()

    colour, log = look_after(airflow)
    assert (colour, "started Hive, HBase" in log) == ("failed", True)
    assert is_back(manager)


def test_the_dag_is_paused(airflow: Airflow, manager: Simulator, work: Work) -> None:
    run = Run(airflow, "window_that_is_paused", **work.conf)
    work.wait_for()
    airflow.api.pause(run.dag_id)
    look_after(airflow)  # a scheduler that gets round to this has seen the pause
    work.be_done()
    run.wait_for("success", WORK)
    assert look_after(airflow)[0] == "success"
    assert not is_back(manager)

    lapse(airflow)
    colour, log = look_after(airflow)

    assert (colour, "should have been closed by" in log) == ("failed", True)
    assert is_back(manager)
    airflow.api.unpause(run.dag_id)
    assert run.end() == "failed"
    assert is_back(manager)


# ---- what happens to Airflow -----------------------------------------------------------------------------


def test_the_scheduler_is_killed(airflow: Airflow, slow: Simulator) -> None:
    run = Run(airflow, "window")
    run.wait_for("deferred", STOPS[0])

    airflow.kill("scheduler")
    an_hour_passes(slow)
    airflow.start_component("scheduler")

    assert run.end() == "success"
    assert sent(slow) == THERE_AND_BACK
    assert is_back(slow)


@pytest.mark.parametrize("task_id", [STOPS[0], STARTS[0]])
def test_a_worker_is_killed(
    airflow: Airflow, manage: Manage, hold: Callable[..., Hold], work: Work, task_id: str
) -> None:
    action, _, service = task_id.rpartition(".")[2].partition("_")
    manager = manage(service_seconds={service: AN_HOUR} if task_id in STOPS else None)
    accepted = hold(manager, "post accepted", service=service, action=action)
    run = Run(airflow, "window", **work.conf)
    if task_id in STARTS:
        work.wait_for()
        manager.cluster._services[service].seconds = AN_HOUR
    work.be_done()
    accepted.wait()
    manager.faults.set("progress", Stall(PATIENT), times=1)
    accepted.release()
    manager.journal.wait_for(lambda: manager.journal.count("fault") == 1, timeout=300)

    airflow.task_process("window", run.run_id, task_id).kill()

    run.wait_for("deferred", task_id)
    an_hour_passes(manager)
    assert run.tries(task_id) == 2
    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
