"""Maintenance windows in a real Airflow, broken in every way: what was running is running again, and the run is red."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dev.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

AN_HOUR = 3600.0

OPEN, CLOSE, VERDICT = "maintenance.open", "maintenance.close", "maintenance.verdict"
STOPS = ["maintenance.stop_HBase", "maintenance.stop_Hive"]
STARTS = ["maintenance.start_Hive", "maintenance.start_HBase"]
WORK = "maintenance.work"
THERE_AND_BACK = ["stop HBase", "stop Hive", "start Hive", "start HBase"]
GUARD = "guard"


class Run:
    """A run of a DAG."""

    def __init__(self, airflow: Airflow, dag_id: str, **conf: Any) -> None:
        airflow.api.wait_for_dag(dag_id)
        self.api, self.dag_id = airflow.api, dag_id
        self.run_id = airflow.api.trigger(dag_id, conf)

    @property
    def states(self) -> dict[str, str | None]:
        return self.api.task_states(self.dag_id, self.run_id)

    def end(self) -> str:
        return self.api.wait_for_run(self.dag_id, self.run_id)

    def wait_for(self, state: str, task_id: str) -> None:
        self.api.wait_for_tasks(
            self.dag_id, self.run_id, lambda states: states.get(task_id) == state, timeout=60
        )

    def mark(self, state: str, task_id: str | None = None) -> None:
        self.api.set_state(self.dag_id, self.run_id, state, task_id)

    def clear(self, task_ids: list[str] | None = None, *, only_failed: bool = False) -> None:
        self.api.clear(self.dag_id, self.run_id, task_ids, only_failed=only_failed)

    def tries(self, task_id: str) -> int:
        [task] = [task for task in self.api.tasks(self.dag_id, self.run_id) if task.task_id == task_id]
        return task.try_number

    def log(self, task_id: str) -> str:
        return "\n".join(self.api.task_log(self.dag_id, self.run_id, task_id, try_number=self.tries(task_id)))


class Work:
    """Work that goes on until a file is there."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "done"
        self.conf = {"work": "wait", "file": str(self._file)}

    def wait_for(self) -> None:
        wait_until(self._file.with_suffix(".here").exists, "the work to begin", timeout=60)

    def be_done(self) -> None:
        self._file.touch()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    work = Work(tmp_path)
    yield work
    work.be_done()


@pytest.fixture(autouse=True)
def _no_windows(airflow: Airflow) -> Iterator[None]:
    """Leave nothing open that the guard of another test would find."""
    yield
    for key in airflow.api.variables():
        airflow.api.delete_variable(key)


@pytest.fixture
def slow(manage: Manage) -> Simulator:
    """A Manager whose commands take an hour, so that waits for them are deferred."""
    return manage(command_seconds=AN_HOUR)


def an_hour_passes(manager: Simulator) -> None:
    """Let what is under way in the cluster come to its end, and what comes after it be quick."""
    manager.cluster._clock = lambda: time.time() + AN_HOUR
    for service in manager.cluster._services.values():
        service.seconds = 0.1
    manager.cluster.advance()


def sent(manager: Simulator) -> list[str]:
    """Name the commands that reached the cluster, in their order."""
    return [f"{command.action} {command.service}" for command in manager.cluster.commands]


def is_back(manager: Simulator) -> bool:
    return all(service.state == "started" for service in manager.cluster.services.values())


def look_after(airflow: Airflow) -> tuple[str, str]:
    """Let the guard look once; return the colour of its run and its log."""
    run = Run(airflow, GUARD)
    return run.end(), run.log("bring_back")


# ---- what the tasks of a window come to ------------------------------------------------------------------


def test_all_goes_well(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window_with_a_report")

    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert airflow.api.xcom(run.dag_id, run.run_id, "report") == []
    summary = airflow.api.xcom(run.dag_id, run.run_id, CLOSE)
    assert [entry["service"] for entry in summary["services"]] == ["Hive", "HBase"]
    assert [entry["stop_command"] for entry in summary["services"]] == [2, 1]
    assert all(0 < entry["downtime"] < 60 for entry in summary["services"])


@pytest.mark.parametrize("work", ["fail", "time out", "die"])
def test_the_work_ends_badly(airflow: Airflow, manager: Simulator, work: str) -> None:
    run = Run(airflow, "window", work=work)

    assert run.end() == "failed"
    assert run.states[WORK] == "failed"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


def test_the_work_is_skipped(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window", work="skip")

    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


def test_a_failure_is_not_hidden_by_a_report(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window_with_a_report", work="fail")

    assert run.end() == "failed"
    assert run.states["report"] == "success"
    assert is_back(manager)


@pytest.mark.parametrize("service", ["HBase", "Hive"])
def test_a_stop_fails_half_way(airflow: Airflow, manager: Simulator, service: str) -> None:
    manager.cluster.fail_next(service, "stop", times=4)
    run = Run(airflow, "window")

    assert run.end() == "failed"
    assert run.states[f"maintenance.stop_{service}"] == "failed"
    assert run.states[WORK] == "upstream_failed"
    assert is_back(manager)


@pytest.mark.parametrize("service", ["HBase", "Hive"])
def test_a_start_fails(airflow: Airflow, manager: Simulator, service: str) -> None:
    manager.cluster.fail_next(service, "start", times=4)
    run = Run(airflow, "window")

    assert run.end() == "failed"
    assert Counter(run.states[start] for start in STARTS) == {"failed": 1, "success": 1}
    assert not is_back(manager)
    colour, log = look_after(airflow)
    assert colour == "failed"
    assert f"started {service}" in log
    assert is_back(manager)
    assert look_after(airflow)[0] == "success"


def test_a_dag_that_fails_fast(airflow: Airflow, manager: Simulator) -> None:
    run = Run(airflow, "window_fail_fast", work="fail")

    assert run.end() == "failed"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


# ---- what people do to it --------------------------------------------------------------------------------


def test_a_deferred_stop_is_marked_failed(airflow: Airflow, slow: Simulator) -> None:
    run = Run(airflow, "window")
    run.wait_for("deferred", STOPS[0])

    run.mark("failed", STOPS[0])
    run.wait_for("running", STARTS[0])
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

    wait_until(lambda: run.states[VERDICT] in {"success", "failed"}, "the verdict", timeout=90)
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

    wait_until(lambda: run.tries(VERDICT) == 2, "a whole new window", timeout=90)
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
    run = Run(airflow, "window_that_lapses", **work.conf)
    work.wait_for()
    airflow.api.pause("window_that_lapses")
    work.be_done()
    run.wait_for("success", WORK)
    assert look_after(airflow)[0] == "success"
    assert not is_back(manager)

    time.sleep(15)  # until it lapses
    colour, log = look_after(airflow)

    assert (colour, "should have been closed by" in log) == ("failed", True)
    assert is_back(manager)
    airflow.api.unpause("window_that_lapses")
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
def test_a_worker_is_killed(airflow: Airflow, manage: Manage, task_id: str) -> None:
    action, _, service = task_id.rpartition(".")[2].partition("_")
    manager = manage(service_seconds={service: 3.0})
    run = Run(airflow, "window")
    manager.journal.wait_for(lambda: manager.journal.accepted(service, action) == 1, timeout=60)

    airflow.task_process("window", run.run_id, task_id).kill()

    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)


# ---- one window at a time --------------------------------------------------------------------------------


def test_a_second_window_refuses(airflow: Airflow, manager: Simulator, work: Work) -> None:
    first = Run(airflow, "window", **work.conf)
    work.wait_for()

    second = Run(airflow, "window_with_a_report")

    assert second.end() == "failed"
    assert second.states[OPEN] == "failed"
    assert "window 'maintenance' of run" in second.log(OPEN)
    work.be_done()
    assert first.end() == "success"
    assert sent(manager) == THERE_AND_BACK


def test_two_windows_at_once(airflow: Airflow, manager: Simulator) -> None:
    runs = [Run(airflow, dag_id) for dag_id in ("window", "window_with_a_report")]

    # The later one refuses, or has looked so early that it looks again, and finds the first one closed.
    colours = Counter(run.end() for run in runs)
    assert colours["success"] >= 1
    assert sent(manager) == THERE_AND_BACK * colours["success"]
    assert is_back(manager)


def test_a_second_window_waits(airflow: Airflow, manager: Simulator, work: Work) -> None:
    first = Run(airflow, "window", **work.conf)
    work.wait_for()

    second = Run(airflow, "window_that_waits")
    second.wait_for("up_for_reschedule", OPEN)
    work.be_done()

    assert first.end() == "success"
    assert second.end() == "success"
    assert sent(manager) == THERE_AND_BACK * 2


def test_a_dead_window_does_not_bar_the_next_one(airflow: Airflow, manager: Simulator, work: Work) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()
    airflow.delete_run(run.dag_id, run.run_id)
    work.be_done()

    following = Run(airflow, "window")

    assert following.end() == "success"
    assert sent(manager) == ["stop HBase", "stop Hive", "start Hive", "start HBase"]
    assert is_back(manager)


# ---- several clusters ------------------------------------------------------------------------------------


def test_windows_on_several_clusters(airflow: Airflow, manage: Manage) -> None:
    managers = {name: manage(name) for name in ("mrs_one", "mrs_two")}
    managers["mrs_two"].cluster.fail_next("Hive", "stop", times=4)

    run = Run(airflow, "windows", connections=list(managers))

    assert run.end() == "failed"
    assert run.states["one_cluster.maintenance.verdict[0]"] == "success"
    assert run.states["one_cluster.maintenance.verdict[1]"] == "failed"
    assert sent(managers["mrs_one"]) == THERE_AND_BACK
    assert all(is_back(manager) for manager in managers.values())
