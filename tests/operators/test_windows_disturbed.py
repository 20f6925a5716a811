"""What happens to what is known of a window, while it is open: nothing is lost, and nothing unknown is called done."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.maintenance import guard, moving
from airflow_mrs.maintenance.plan import make_plan
from airflow_mrs.maintenance.state import observations, store, variables
from airflow_mrs.maintenance.state.record import Phase, WindowKey
from airflow_mrs.maintenance.state.runs import RunsUnreadable, window_states
from airflow_mrs.maintenance.state.store import WindowStore
from airflow_mrs.simulator.faults import Patch, Word
from tests.operators import windows
from tests.operators.conftest import delete_variable, load_dags, read_variables, states, write_variable
from tests.operators.windows import (
    THERE_AND_BACK,
    clock,
    down,
    held_by_somebody,
    look_after,
    record_of,
    sent,
    store_of,
    summary,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator
    from airflow_mrs.simulator.journal import Entry

    Manage = Callable[..., Simulator]
    RunWindow = Callable[..., DagRun]


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    pass


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen while the work of a window goes on."""
    return lambda happens: monkeypatch.setattr(windows, "meanwhile", happens)


def only_variable(manager: Simulator) -> str:
    [key] = read_variables(f"{store_of(manager).name}_")
    return key


def forget_what_was_handed_over() -> None:
    with import_module("airflow.utils.session").create_session() as session:
        rows: Any = import_module("airflow.models.xcom")
        rows = getattr(rows, "XComModel", None) or rows.BaseXCom
        session.query(rows).filter(rows.task_id == "maintenance.open").delete(synchronize_session=False)


# ---- what is known of it is gone --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "edited", "emptied"])
def test_its_record_is_gone(
    manager: Simulator, run_window: RunWindow, meanwhile: Callable[..., None], how: str
) -> None:
    def be_gone() -> None:
        key = only_variable(manager)
        if how == "deleted":
            delete_variable(key)
        else:
            write_variable(key, {"edited": '{"holder": "me"}', "emptied": "{}"}[how])

    meanwhile(be_gone)

    run = run_window(work="meanwhile")

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK
    assert record_of(manager).closed
    assert look_after().state == "success"


def test_what_its_opening_has_handed_over_is_gone(
    manager: Simulator, run_window: RunWindow, meanwhile: Callable[..., None]
) -> None:
    meanwhile(forget_what_was_handed_over)

    run = run_window(work="meanwhile")

    assert run.state == "success"
    assert sent(manager) == THERE_AND_BACK
    assert record_of(manager).closed


def test_what_is_known_of_it_arrives_late(
    manager: Simulator, run_window: RunWindow, meanwhile: Callable[..., None]
) -> None:
    """That the window before this one is closed is written once more, and that it is not."""
    run_window()
    first = record_of(manager)

    def arrive_late() -> None:
        write_variable(store_of(manager).key(first), first.to_json())

    meanwhile(arrive_late)

    assert run_window(work="meanwhile").state == "success"
    assert sent(manager) == THERE_AND_BACK * 2
    assert record_of(manager).closed
    assert look_after().state == "success"


# ---- the connection leads elsewhere -----------------------------------------------------------------------


def test_the_connection_is_changed_in_the_middle(
    manage: Manage, run_window: RunWindow, meanwhile: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = manage()
    other = manage(command_seconds=0.1)
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json)
    meanwhile(lambda: monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", other.connection_json))

    run = run_window(work="meanwhile")

    assert run.state == "failed"
    assert {states(run)[f"maintenance.start_{name}"] for name in ("HBase", "Hive")} == {"failed"}
    assert states(run)["maintenance.close"] == "failed"
    assert down(manager) == {"HBase", "Hive"}
    assert not record_of(manager).closed
    report = look_after()
    assert report.state == "failed"
    assert "leads to" in windows.log_of_the_report()
    assert other.cluster.commands == []

    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json)
    assert look_after().state == "failed"
    assert not down(manager)
    assert look_after().state == "success"


def test_nobody_leads_the_guard_to_another_cluster(manage: Manage) -> None:
    """By what he writes into a Variable."""
    manager = manage()
    forged = replace(held_by_somebody(manager), id=record_of(manager).id)
    delete_variable(store_of(manager).key(forged))
    write_variable(WindowStore("mrs_window_10.9.9.9_28443_1").key(forged), forged.to_json())
    manager.cluster.set_state("HBase", "stopped")

    assert look_after().state == "failed"
    assert "this connection leads to" in windows.log_of_the_report()
    assert sent(manager) == []


def test_the_guard_acts_for_no_record_whose_connection_leads_elsewhere(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is not the newest one of the cluster."""
    other, manager = manage(), manage()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_OTHER", other.connection_json)
    forged = held_by_somebody(manager, mrs_conn_id="mrs_other")
    held_by_somebody(manager)
    for one in (manager, other):
        one.cluster.set_state("HBase", "stopped")

    assert look_after().state == "failed"

    assert "'mrs_other': " in windows.log_of_the_report()
    assert store_of(manager).key(forged) in windows.log_of_the_report()
    assert sent(manager) == sent(other) == []
    assert other.journal.requests == {}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_record_is_forged_while_the_guard_starts_services(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, *, deferrable: bool
) -> None:
    monkeypatch.setenv("TEST_GUARD_DEFERRABLE", str(deferrable))
    other, manager = manage(), manage()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_OTHER", other.connection_json)
    held_by_somebody(manager)
    for one in (manager, other):
        for name in ("Hive", "HBase"):
            one.cluster.set_state(name, "stopped")

    def forge(entry: Entry) -> None:
        if entry.event == "state" and entry.details["state"] == "starting":
            manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=2)
            mine = record_of(manager)
            write_variable(store_of(manager).key(mine), replace(mine, mrs_conn_id="mrs_other").to_json())

    manager.journal.on_entry(forge)

    assert look_after().state == "failed"

    assert sent(other) == []
    if deferrable:
        assert "'mrs_other': " in windows.log_of_the_report()
        assert sent(manager) == ["start Hive"]
    else:
        assert sent(manager) == ["start Hive", "start HBase"]


def test_a_window_takes_over_through_its_own_connection(
    manage: Manage, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, manager = manage(), manage()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_OTHER", other.connection_json)
    held_by_somebody(manager, mrs_conn_id="mrs_other", before=("HBase", "Kafka"), down=("Hive",))
    for one in (manager, other):
        for name in ("HBase", "Kafka"):
            one.cluster.set_state(name, "stopped")

    run = run_window()

    assert run.state == "failed"  # for Kafka, which is not among its services
    assert down(manager) == {"Kafka"}
    assert other.journal.requests == {}


def test_a_service_is_taken_out_of_the_record(
    manager: Simulator, run_window: RunWindow, meanwhile: Callable[..., None]
) -> None:
    def take_out() -> None:
        record = record_of(manager)
        write_variable(store_of(manager).key(record), replace(record, before=("Hive",)).to_json())

    meanwhile(take_out)

    run = run_window(work="meanwhile")

    assert run.state == "success"
    assert not down(manager)
    assert record_of(manager).before == ("Hive", "HBase")


# ---- the guard --------------------------------------------------------------------------------------------


FORGED: dict[str, dict[str, Any]] = {
    "a path": {"before": ["HBase/../../2/services/HBase"]},
    "a template": {"before": ["{{ conn.warehouse.password }}"]},
    "dots": {"before": [".."]},
    "another cluster": {"cluster_id": 2},
    "no window": {"holder": {"dag_id": "d", "run_id": "r", "group_id": "g", "map_index": "x"}},
    "not a number": {"lapses": float("nan")},
    "before all time": {"lapses": -1e300},
    "beyond all time": {"lapses": 10**400},
    "8 MB": {"mrs_conn_id": "x" * 8_000_000},
}


@pytest.mark.parametrize("edit", FORGED.values(), ids=FORGED)
def test_the_guard_names_a_record_that_somebody_has_forged(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any]
) -> None:
    """It looks after other clusters all the same."""
    other, manager = manage(), manage()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_OTHER", other.connection_json)
    held_by_somebody(other, mrs_conn_id="mrs_other")
    forged = held_by_somebody(manager)
    key = store_of(manager).key(forged)
    write_variable(key, json.dumps({**forged.to_dict(), **edit}))
    for one in (manager, other):
        one.cluster.set_state("HBase", "stopped")

    assert look_after().state == "failed"

    assert key in windows.log_of_the_report()
    assert len(windows.log_of_the_report()) < 2000
    assert manager.journal.requests == {}
    assert sent(other) == ["start HBase"]


@pytest.mark.parametrize("key", ["mrs_window_notes", "mrs_window_10.9.9.9_28443_1_2026-old"])
def test_the_guard_names_what_is_called_like_a_window_and_is_none(manager: Simulator, key: str) -> None:
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    write_variable(key, "{}")

    assert look_after().state == "failed"
    assert key in windows.log_of_the_report()
    assert not down(manager)
    assert look_after().state == "failed"
    assert key in windows.log_of_the_report()


def test_the_guard_names_an_index_that_somebody_has_edited(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    monkeypatch.setattr(variables, "damaged", lambda: ["mrs_windows_2"])

    assert look_after().state == "failed"
    assert "mrs_windows_2" in windows.log_of_the_report()
    assert not down(manager)


DOUBTFUL: dict[str, tuple[dict[str, Any], str]] = {
    "opened tomorrow": ({"opened": time.time() + 86_400, "lapses": time.time() + 90_000}, "in the future"),
    "for ever": ({"lapses": 9e9}, "more than a year"),
    "never at a standstill": ({"still_after": 9e9}, "more than a year"),
}


@pytest.mark.parametrize(("edit", "reason"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_the_guard_names_a_window_that_can_not_be_true(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any], reason: str
) -> None:
    record = held_by_somebody(manager, **edit)
    manager.cluster.set_state("HBase", "stopped")
    monkeypatch.setattr(guard, "is_alive", lambda *_: True)
    monkeypatch.setattr(guard, "window_states", lambda *_: MOVES)

    assert look_after().state == "failed"
    assert reason in windows.log_of_the_report()
    assert store_of(manager).key(record) in windows.log_of_the_report()
    assert sent(manager) == []


def test_the_guard_names_a_window_whose_run_has_no_such_tasks(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    monkeypatch.setattr(guard, "is_alive", lambda *_: True)

    assert look_after().state == "failed"
    assert "its run has no such tasks" in windows.log_of_the_report()


@pytest.mark.parametrize("date", ["20200101", "20991231"])
def test_the_guard_says_so_if_it_can_not_claim_the_cluster(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    """A claim stands in its way, dated whenever."""
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    held_by_somebody(
        manager,
        id=f"{date}T000000000000-00000000",
        holder=WindowKey("another_dag", "another_run", "maintenance"),
        phase=Phase.CLAIMING,
        lapses=time.time() + 86_400,
    )
    monkeypatch.setattr(store, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(guard, "is_alive", lambda _, record: record.phase is Phase.CLAIMING)

    assert look_after().state == "failed"
    assert "somebody else is just claiming the cluster" in windows.log_of_the_report()
    assert sent(manager) == []


def test_what_was_found_dead_can_not_be_read_a_moment_later(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    find = guard.FindDeadWindows.execute

    def find_and_edit(self: guard.FindDeadWindows, context: Any) -> Any:
        found = find(self, context)
        write_variable(store_of(manager).key(record), "by hand")
        return found

    monkeypatch.setattr(guard.FindDeadWindows, "execute", find_and_edit)

    assert look_after().state == "failed"
    assert store_of(manager).key(record) in windows.log_of_the_report()


def test_airflow_does_not_tell_of_one_window(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run has a name, say, that its API refuses. The others are looked after."""
    other, manager = manage(), manage()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_OTHER", other.connection_json)
    held_by_somebody(other, mrs_conn_id="mrs_other")
    held_by_somebody(manager, holder=WindowKey("strange", "a_run", "maintenance"))
    other.cluster.set_state("HBase", "stopped")
    ask = window_states

    def refuse(context: Any, holder: WindowKey) -> Any:
        if holder.dag_id == "strange":
            raise RunsUnreadable("Airflow does not tell.")
        return ask(context, holder)

    monkeypatch.setattr(guard, "window_states", refuse)

    assert look_after().state == "failed"
    assert f"cluster {store_of(manager)} can't be looked after" in windows.log_of_the_report()
    assert sent(other) == ["start HBase"]


@pytest.mark.parametrize("text", ["by hand", "[]", '{"phase": "closed"}'])
def test_a_record_that_can_not_be_read_makes_the_guard_red(manage: Manage, text: str) -> None:
    manager = manage()
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    write_variable("mrs_window_10.9.9.9_28443_1_20260101T000000000000-00000000", text)

    assert look_after().state == "failed"
    assert "mrs_window_10.9.9.9_28443_1_20260101T000000000000-00000000" in windows.log_of_the_report()
    assert not down(manager)
    assert look_after().state == "failed"


def test_many_clusters_are_looked_after_side_by_side(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    managers = [manage() for _ in range(10)]
    for number, manager in enumerate(managers):
        monkeypatch.setenv(f"AIRFLOW_CONN_MRS_{number}", manager.connection_json)
        held_by_somebody(manager, mrs_conn_id=f"mrs_{number}")
        manager.cluster.set_state("HBase", "stopped")

    run = look_after()

    assert run.state == "failed"
    tasks = [ti for ti in run.get_task_instances() if ti.task_id == guard.BRING_BACK]
    assert [ti.state for ti in tasks] == ["success"] * 10
    assert all(sent(manager) == ["start HBase"] for manager in managers)
    assert windows.log_of_the_report().count("started HBase") == 10
    assert look_after().state == "success"


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_guard_starts_one_service_after_the_other(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch, deferrals: list[str], *, deferrable: bool
) -> None:
    monkeypatch.setenv("TEST_GUARD_DEFERRABLE", str(deferrable))
    held_by_somebody(manager, before=("HDFS", "Hive", "HBase"))
    for service in ("HDFS", "HBase", "Hive"):
        manager.cluster.set_state(service, "stopped")
    manager.cluster.fail_next("Hive", "start")

    def take_long(entry: Entry) -> None:
        if entry.event == "state" and entry.details["state"] == "starting":
            manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=2)

    manager.journal.on_entry(take_long)

    assert look_after().state == "failed"

    assert sent(manager) == ["start HDFS", "start Hive", "start HBase"]
    assert down(manager) == {"Hive"}
    assert ("start of HBase" in " ".join(deferrals)) == deferrable
    report = windows.log_of_the_report()
    assert "started HDFS, HBase" in report
    assert "NOT started: Hive" in report
    assert look_after().state == "failed"
    assert not down(manager)


STILL = {"maintenance.open": "success", "maintenance.stop_HBase": "queued"}
MOVES = {"maintenance.open": "success", "maintenance.stop_HBase": "running"}


@pytest.mark.parametrize(("seen", "brought_back"), [(STILL, True), (MOVES, False)], ids=["still", "slow"])
def test_a_window_in_which_nothing_moves_any_more(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch, seen: dict[str, str], *, brought_back: bool
) -> None:
    """Its DAG was paused, or its file has gone; its run is under way for ever."""
    held_by_somebody(manager)
    manager.cluster.set_state("HBase", "stopped")
    monkeypatch.setattr(guard, "is_alive", lambda *_: True)
    monkeypatch.setattr(guard, "window_states", lambda *_: seen)
    colours = []
    for minutes in (0, 5, 10):
        now = time.time() + 60 * minutes
        monkeypatch.setattr(observations, "time", SimpleNamespace(time=lambda now=now: now))
        colours.append(look_after().state)

    assert colours == ["success", "success", "failed" if brought_back else "success"]
    assert (not down(manager)) == brought_back


# ---- smaller ----------------------------------------------------------------------------------------------


def test_a_service_that_the_window_has_never_seen_was_not_anything(manager: Simulator) -> None:
    """Somebody has added it to the DAG in the middle."""
    dag = load_dags("windows.py")["window"]
    close: Any = dag.get_task("maintenance.close")
    close.terms = replace(close.terms, plan=make_plan(["HBase", "Hive", "Kafka"]))

    run: DagRun = dag.test()

    assert run.state == "success"
    assert {entry["service"] for entry in summary(run)["services"]} == {"HBase", "Hive"}


def test_the_cutoff_passes_while_a_service_settles(
    manager: Simulator, run_window: RunWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at right before the request is sent."""

    def come_up(entry: Any) -> None:
        if entry.event == "state" and manager.cluster.service("HBase").state == "stopped":
            manager.faults.set("service", Word("Starting", "Hive"), times=3)

    def now() -> float:
        return time.time() + (3600 if manager.journal.count("fault") >= 2 else 0)

    manager.journal.on_entry(come_up)
    monkeypatch.setattr(moving, "time", SimpleNamespace(time=now))

    run = run_window(ends=clock(hours=1), cutoff=60)

    assert states(run)["maintenance.stop_Hive"] == "failed"
    assert manager.journal.count("fault") == 3
    assert sent(manager) == ["stop HBase", "start HBase"]


@pytest.mark.parametrize("action", ["stop", "start"])
def test_a_command_that_had_to_be_retried_is_not_measured(
    manager: Simulator, run_window: RunWindow, action: str
) -> None:
    """It would count from the last try on: too short, so that the next window stops services too late to start them."""
    manager.cluster.fail_next("HBase", action)

    run = run_window(default_args={"retries": 1, "retry_delay": 1})

    other = {"stop": "start", "start": "stop"}[action]
    assert sent(manager) == sorted([*THERE_AND_BACK, f"{action} HBase"], key=THERE_AND_BACK.index)
    key = store_of(manager).name.replace("mrs_window_", "mrs_durations_")
    measured = json.loads(read_variables(key)[key])
    assert {name: set(times) for name, times in measured.items()} == {
        "HBase": {other},
        "Hive": {"stop", "start"},
    }
    hbase = next(entry for entry in summary(run)["services"] if entry["service"] == "HBase")
    first_stop = next(command.begun for command in manager.cluster.commands if command.service == "HBase")
    if action == "start":
        assert hbase["stopped"] <= first_stop
        assert hbase["downtime"] > 0
    elif hbase["stopped"] is None:  # no store tells a further try when the first one began
        assert hbase["downtime"] is None
    else:
        assert hbase["stopped"] <= first_stop
        assert hbase["downtime"] > 1


def test_durations_that_somebody_has_edited_keep_no_window_shut(
    manager: Simulator, run_window: RunWindow
) -> None:
    key = store_of(manager).name.replace("mrs_window_", "mrs_durations_")
    write_variable(key, "by hand")

    assert run_window().state == "success"
    assert read_variables(key) == {key: "by hand"}
