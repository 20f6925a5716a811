"""Maintenance windows in a real Airflow: whatever their tasks come to, what was running is running again."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.e2e.windows import CLOSE, OPEN, STARTS, THERE_AND_BACK, WORK, Run, Work, is_back, look_after, sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.usefixtures("no_windows")]


# ---- what the tasks of a window come to ------------------------------------------------------------------


def test_all_goes_well(airflow: Airflow, manager: Simulator) -> None:
    begun = time.time()
    run = Run(airflow, "window_with_a_report")

    assert run.end() == "success"
    took = time.time() - begun
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert airflow.api.xcom(run.dag_id, run.run_id, "report") == []
    summary = airflow.api.xcom(run.dag_id, run.run_id, CLOSE)
    assert [entry["service"] for entry in summary["services"]] == ["Hive", "HBase"]
    assert [entry["stop_command"] for entry in summary["services"]] == [2, 1]
    assert all(0 < entry["downtime"] < took for entry in summary["services"])


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
