"""Maintenance windows in Airflow's hands, without a scheduler: what they check, stop, start, notice and tell."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.hooks import lookup
from airflow_mrs.maintenance import admission, closing, moving
from airflow_mrs.maintenance.state.store import WindowStore
from airflow_mrs.simulator.faults import Patch, Status, Word
from tests.operators.conftest import AIRFLOW_3, states, write_variable, xcom
from tests.operators.windows import (
    THERE_AND_BACK,
    clock,
    down,
    held_by_somebody,
    look_after,
    record_of,
    records_of,
    sent,
    summary,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator

    Manage = Callable[..., Simulator]
    RunWindow = Callable[..., DagRun]

WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    pass


# ---- down and up -----------------------------------------------------------------------------------------


@WAYS
def test_all_goes_well(manage: Manage, run_window: RunWindow, *, deferrable: bool) -> None:
    manager = manage(command_seconds=0.3)

    run = run_window(deferrable=deferrable)

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK
    assert not down(manager)
    assert all(command.only_self for command in manager.cluster.commands)
    assert record_of(manager).closed
    assert "Everything is as before" in str(xcom(run, "report"))


def test_what_was_down_before_is_left_alone(manager: Simulator, run_window: RunWindow) -> None:
    """Kafka is not needed by anything else, so that the cluster is well without it."""
    manager.cluster.set_state("Kafka", "stopped")
    manager.faults.set("cluster_status", Patch({"res_obj": {"state": "GOOD"}}))

    run = run_window(services=["Kafka", "HBase"])

    assert run.state == "success"
    assert sent(manager) == ["stop HBase", "start HBase"]
    assert down(manager) == {"Kafka"}


def test_dependents_are_taken_along_and_come_back(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(services=["HDFS"], with_dependents=True)

    assert run.state == "success"
    stops = [command.service for command in manager.cluster.commands if command.action == "stop"]
    starts = [command.service for command in manager.cluster.commands if command.action == "start"]
    assert stops[-1] == "HDFS"
    assert {"Yarn", "HBase", "Hive", "Spark2x"} < set(stops)
    assert starts == stops[::-1]
    assert not down(manager)


def test_renamed_services_and_a_graph_of_the_authors(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(services=["HDFS", "Kafka"], needs={"HDFS": ["Kafka"]})

    assert run.state == "success"
    assert sent(manager) == ["stop HDFS", "stop Kafka", "start Kafka", "start HDFS"]


def test_services_that_are_on_their_way_settle_before_anything_is_remembered(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mrs.maintenance.opening.POKE_SECONDS", 0.5)
    manager.faults.set("service", Word("Starting", "HBase"), times=2)

    assert run_window().state == "success"
    assert manager.journal.count("fault") == 2
    assert sent(manager) == THERE_AND_BACK


# ---- what goes wrong in it -------------------------------------------------------------------------------


def test_the_work_fails(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(work="fail")

    assert run.state == "failed"
    assert states(run)["report"] == "success"
    assert not down(manager)


@WAYS
@pytest.mark.parametrize("service", ["HBase", "Hive"])
def test_a_stop_fails(manager: Simulator, run_window: RunWindow, service: str, *, deferrable: bool) -> None:
    manager.cluster.fail_next(service, "stop")

    run = run_window(deferrable=deferrable)

    assert run.state == "failed"
    assert states(run)["maintenance.work"] == "upstream_failed"
    assert not down(manager)


@WAYS
@pytest.mark.parametrize("service", ["HBase", "Hive"])
def test_a_start_fails_and_the_guard_brings_it_back(
    manager: Simulator, run_window: RunWindow, service: str, *, deferrable: bool
) -> None:
    manager.cluster.fail_next(service, "start")

    run = run_window(deferrable=deferrable)

    assert run.state == "failed"
    assert down(manager) == {service}
    assert summary(run)["differences"][0].startswith(f"{service} was running and is")
    assert look_after().state == "failed"
    assert not down(manager)
    assert look_after().state == "success"


def test_manager_is_away_when_services_are_to_be_started(manager: Simulator, run_window: RunWindow) -> None:
    """Longer than a start alone would ask for it, and there is no second try here."""

    def go_away_after_the_stops(entry: Any) -> None:
        if entry.event == "logout" and manager.cluster.service("Hive").state == "stopped":
            manager.faults.set("any", Status(503), times=6)

    manager.journal.on_entry(go_away_after_the_stops)

    run = run_window(work="sleep 0")

    assert states(run)["maintenance.start_Hive"] == "success"
    assert not down(manager)
    assert manager.journal.count("fault") == 6


def test_the_work_ends_with_a_branch(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(work="branch")

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK


def test_a_failure_is_not_hidden_by_what_follows(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(work="fail", afterwards="all_done")

    assert states(run)["afterwards"] == "success"
    assert run.state == "failed"
    assert not down(manager)


def test_what_follows_a_good_window(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(afterwards="all_success")

    assert set(states(run).values()) == {"success"}
    assert run.state == "success"


def test_a_process_that_ends_as_it_closes_the_window(
    manager: Simulator, run_window: RunWindow, tmp_path: Path
) -> None:
    hooks = {"notes": str(tmp_path / "notes"), "fail": False, "dies_once": True}

    run = run_window(hooks=hooks, default_args={"retries": 1, "retry_delay": 0})

    assert run.state == "success"
    assert record_of(manager).closed


def test_something_else_starts_a_service_meanwhile(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(work="start HBase")

    assert run.state == "failed"
    assert summary(run)["differences"] == ["HBase was started by something else while the window was open"]
    assert sent(manager) == ["stop HBase", "stop Hive", "start HBase", "start Hive"]
    assert "HBase was started by something else" in str(xcom(run, "report"))


def test_the_health_is_bad_afterwards(manager: Simulator, run_window: RunWindow) -> None:
    manager.faults.set("cluster_status", Patch({"res_obj": {"state": "BAD"}}))
    manager.faults.set("clusters", Patch({}))

    run = run_window()

    assert states(run)["maintenance.open"] == "failed"
    assert sent(manager) == []


def test_the_health_takes_a_while(manage: Manage, run_window: RunWindow) -> None:
    manager = manage()

    def spoil_the_health(entry: Any) -> None:
        if entry.event == "command started" and entry.details["action"] == "start":
            manager.faults.clear()
            manager.faults.set("cluster_status", Patch({"res_obj": {"state": "BAD"}}), times=2)

    manager.journal.on_entry(spoil_the_health)

    assert run_window(settles_within=60).state == "success"
    assert manager.journal.count("fault") == 2


@pytest.mark.parametrize("fail", [False, True])
def test_hooks_are_called_and_never_in_the_way(
    manager: Simulator, run_window: RunWindow, tmp_path: Path, *, fail: bool
) -> None:
    notes = tmp_path / "notes"

    run = run_window(hooks={"notes": str(notes), "fail": fail})

    assert run.state == "success"
    assert notes.read_text().splitlines() == ["maintenance.open", "maintenance.close 2"]


# ---- what it refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"opens": 60, "ends": 120},
        {"opens": -60, "ends": 3},
        {"opens": -60, "ends": 8, "cutoff": 300},
        {"cluster_name": "production"},
        {"cluster_id": 2},
        {"services": ["HBase", "Unknown"]},
    ],
    ids=["too early", "too late", "too late for its cutoff", "another cluster", "no cluster", "no service"],
)
@pytest.mark.parametrize(("on_refusal", "colour"), [("fail", "failed"), ("skip", "success")])
def test_it_does_not_open(
    manager: Simulator, run_window: RunWindow, arguments: dict[str, Any], on_refusal: str, colour: str
) -> None:
    hours = {name: clock(minutes=arguments[name]) for name in ("opens", "ends") if name in arguments}

    run = run_window(**arguments | hours, on_refusal=on_refusal)

    assert run.state == colour
    assert states(run)["maintenance.open"] == {"fail": "failed", "skip": "skipped"}[on_refusal]
    assert manager.cluster.commands == []


@pytest.mark.parametrize("what", ["health", "patch", "state"])
def test_it_does_not_open_on_a_cluster_that_is_not_well(
    manager: Simulator, run_window: RunWindow, what: str
) -> None:
    if what == "health":
        manager.cluster.set_state("Kafka", "stopped")
    elif what == "patch":
        entry = {"id": 1, "name": "simulated", "cluster_state": "installingPatch"}
        manager.faults.set("clusters", Patch({"res_obj": {"clusters": [entry]}}))
    else:
        manager.faults.set("service", Word("Failed to stop", "HBase"))

    run = run_window()

    assert run.state == "failed"
    assert states(run)["maintenance.open"] == "failed"
    assert manager.cluster.commands == []


def test_it_opens_within_its_hours(manager: Simulator, run_window: RunWindow) -> None:
    run = run_window(opens=clock(hours=-1), ends=clock(hours=1), cluster_name="simulated")

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK


def test_a_wrong_password_is_tried_once(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "wrong"))

    assert run_window().state == "failed"
    assert manager.journal.logins_attempted == 1


# ---- the cutoff ------------------------------------------------------------------------------------------


def set_clock(monkeypatch: pytest.MonkeyPatch, module: ModuleType, now: Callable[[], float]) -> None:
    """Let a module, and nothing else, take this for the time: no test is to hurry."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=now))


@pytest.mark.parametrize(("on_refusal", "stop"), [("fail", "failed"), ("skip", "skipped")])
def test_after_the_cutoff_nothing_is_stopped(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch, on_refusal: str, stop: str
) -> None:
    set_clock(monkeypatch, moving, lambda: time.time() + (3600 if sent(manager) else 0))

    run = run_window(ends=clock(hours=1), cutoff=60, on_refusal=on_refusal)

    assert states(run)["maintenance.stop_Hive"] == stop
    assert sent(manager) == ["stop HBase", "start HBase"]
    assert run.state == {"fail": "failed", "skip": "success"}[on_refusal]
    assert not down(manager)


CUT_AT_ONCE = (True, 1, "failed")
CUT_IN_THE_MIDDLE = (True, -1, "failed")
NOT_CUT = (False, 1, "success")


# On Airflow 2, DAG.test() is over when a task times out.
@pytest.mark.parametrize(
    ("cut_work", "past_the_cutoff", "work"),
    [NOT_CUT, CUT_AT_ONCE, *([CUT_IN_THE_MIDDLE] if AIRFLOW_3 else [])],
)
def test_the_work_goes_on_or_is_cut(
    manager: Simulator,
    run_window: RunWindow,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cut_work: bool,
    past_the_cutoff: float,
    work: str,
) -> None:
    def now() -> float:
        return (record_of(manager).cutoff or 0.0) + past_the_cutoff

    set_clock(monkeypatch, admission, now)

    run = run_window(ends=clock(hours=1), cutoff=60, work="sleep 8", cut_work=cut_work)

    assert states(run)["maintenance.work"] == work
    assert run.state == work
    assert sent(manager) == THERE_AND_BACK
    assert not down(manager)


# ---- one at a time, and what is remembered ---------------------------------------------------------------


def test_what_a_dead_window_left_down_is_brought_back(manager: Simulator, run_window: RunWindow) -> None:
    """Its run does not exist (any more), so that it will never be closed by itself."""
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")

    run = run_window()

    assert run.state == "success"
    assert sent(manager) == ["stop Hive", "start Hive", "start HBase"]
    assert not down(manager)


def test_a_service_outside_of_this_window_is_left_to_the_guard(
    manager: Simulator, run_window: RunWindow
) -> None:
    held_by_somebody(manager, before=("Kafka",))
    manager.cluster.set_state("Kafka", "stopped")

    run = run_window()

    assert run.state == "failed"
    assert "Kafka was running and is 'Not started'".replace("'", "") in summary(run)["differences"]
    assert look_after().state == "failed"
    assert not down(manager)


def test_a_service_that_is_gone_is_a_difference(manager: Simulator, run_window: RunWindow) -> None:
    held_by_somebody(manager, before=("Gone",))

    run = run_window()

    assert run.state == "failed"
    assert summary(run)["differences"] == ["Gone was running and can't be found"]
    assert not record_of(manager).closed


def test_a_window_that_took_too_long_leaves_the_next_one_alone(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, others = closing._settle, []

    def take_too_long(*arguments: Any) -> Any:
        seen = yield from settle(*arguments)
        others.append(held_by_somebody(manager, took_over=(record_of(manager).id,)))
        return seen

    monkeypatch.setattr(closing, "_settle", take_too_long)

    run_window()

    assert records_of(manager)[-1] == others[0]


def test_the_guard_touches_nothing_that_no_window_stopped(manager: Simulator) -> None:
    held_by_somebody(manager, before=("Hive",))
    for service in ("Hive", "Kafka"):
        manager.cluster.set_state(service, "stopped")

    assert look_after().state == "failed"
    assert sent(manager) == ["start Hive"]
    assert down(manager) == {"Kafka"}


def test_the_guard_closes_what_is_back_already_without_a_word(manager: Simulator) -> None:
    held_by_somebody(manager)

    assert look_after().state == "success"
    assert record_of(manager).closed
    assert sent(manager) == []


def test_the_guard_tries_every_start_and_comes_again(manager: Simulator) -> None:
    held_by_somebody(manager)
    for service in ("Hive", "HBase"):
        manager.cluster.set_state(service, "stopped")
    manager.cluster.fail_next("Hive", "start")

    assert look_after().state == "failed"
    assert down(manager) == {"Hive"}
    assert look_after().state == "failed"
    assert not down(manager)
    assert look_after().state == "success"


def test_one_cluster_that_is_gone_does_not_keep_others_down(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "PATIENCE", 0.0)
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    gone = replace(record_of(manager), mrs_conn_id="no_such_connection")
    write_variable(WindowStore("mrs_window_gone_1_1").key(gone), gone.to_json())

    assert look_after().state == "failed"
    assert not down(manager)
