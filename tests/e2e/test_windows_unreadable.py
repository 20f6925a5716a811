"""Windows whose Airflow does not answer, answers late or twice, or has forgotten: nothing is lost, and no guard is green too soon."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dev.processes import wait_until
from tests.e2e.holding import AN_HOUR
from tests.e2e.proxy import ERROR, NOT_FOUND, Held, Late, cut
from tests.e2e.windows import (
    CLOSE,
    GUARD,
    OPEN,
    STARTS,
    STOPS,
    THERE_AND_BACK,
    Run,
    Work,
    all_closed,
    an_hour_passes,
    is_back,
    look_after,
    records,
    sent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow
    from tests.e2e.holding import Hold
    from tests.e2e.proxy import Proxy, Rule

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.usefixtures("no_windows")]

WITHDRAWN = {"failed", "up_for_reschedule"}
A_VARIABLE, THE_LIST = r"/variables/(?!keys\b)", r"/variables/keys\b"


@contextmanager
def outage(proxy: Proxy) -> Iterator[list[Rule]]:
    """What tasks see while the API server's database is away for a moment."""
    with (
        proxy.rule("GET", A_VARIABLE, NOT_FOUND, times=2) as no_variable,
        proxy.rule("GET", THE_LIST, ERROR, times=1) as no_list,
        proxy.rule("PUT", A_VARIABLE, cut, times=1) as no_write,
    ):
        yield [no_variable, no_list, no_write]


def is_over(rules: list[Rule]) -> bool:
    return all(rule.struck == rule.times for rule in rules)


# ---- Airflow does not answer -----------------------------------------------------------------------------


def test_variables_are_unreadable_for_a_while(
    airflow: Airflow, proxy: Proxy, manager: Simulator, hold: Callable[..., Hold], work: Work
) -> None:
    last_start = hold(manager, "post accepted", service="HBase", action="start")
    with outage(proxy) as while_it_opens:
        run = Run(airflow, "window", **work.conf)
        work.wait_for()
    with outage(proxy) as while_another_one_opens:
        refused = Run(airflow, "window")
        assert refused.end() == "failed"
    with outage(proxy) as while_it_starts:
        work.be_done()
        last_start.wait()
    with outage(proxy) as while_it_closes:
        last_start.release()
        colour = run.end()

    assert all(map(is_over, (while_it_opens, while_it_starts, while_it_closes)))
    assert is_over(while_another_one_opens[:2])  # it had nothing to write
    assert "holds the cluster" in refused.log(OPEN)
    assert colour == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert all_closed(airflow)


def test_variables_are_unreadable_for_the_guard(
    airflow: Airflow, proxy: Proxy, manager: Simulator, work: Work
) -> None:
    run = Run(airflow, "window", **work.conf)
    work.wait_for()
    airflow.delete_run(run.dag_id, run.run_id)
    work.be_done()

    with proxy.rule("GET", "/variables/", NOT_FOUND):
        blind = Run(airflow, "impatient_guard")
        assert blind.end() == "failed"
    assert "It is not known whether a window has left anything down" in blind.log("report")
    assert sent(manager) == THERE_AND_BACK[:2]

    with outage(proxy) as passing:
        colour, log = look_after(airflow)
    assert is_over(passing)
    assert (colour, "started Hive, HBase" in log) == ("failed", True)
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert look_after(airflow)[0] == "success"


@pytest.mark.parametrize("moment", ["work", "start"])
def test_the_database_restarts(
    airflow: Airflow, manager: Simulator, hold: Callable[..., Hold], work: Work, moment: str
) -> None:
    start = hold(manager, "post accepted", service="Hive", action="start")
    run = Run(airflow, "window", **work.conf)
    work.wait_for()
    if moment == "start":
        work.be_done()
        start.wait()

    airflow.database.restart()
    start.release()
    work.be_done()

    def ends_in_spite_of_it() -> bool:
        airflow.restart_what_has_ended()
        return run.is_over

    wait_until(ends_in_spite_of_it, "the end of the window", timeout=600)
    airflow.wait_until_healthy()
    assert run.end() == "success"
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert all_closed(airflow)


# ---- writes that come late, or twice ---------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, float("inf")], ids=["once", "always"])
def test_a_window_is_closed_late(
    airflow: Airflow, proxy: Proxy, manager: Simulator, work: Work, times: float
) -> None:
    """What says that it is closed is delivered when the next window is open."""
    late = Late()
    with proxy.rule("PUT", "/variables/mrs_window_", late, body="closed", times=times) as lost:
        first = Run(airflow, "window")
        lost.wait()
        if times > 1:
            first.mark("failed", CLOSE)
        assert first.end() == ("failed" if times > 1 else "success")
    second = Run(airflow, "window", **work.conf)
    work.wait_for()

    assert set(late.deliver()) == {201}
    work.be_done()

    assert second.end() == "success"
    assert sent(manager) == THERE_AND_BACK * 2
    assert is_back(manager)
    assert look_after(airflow)[0] == "success"


@pytest.mark.parametrize("written", ["-claim$", "-[0-9a-f]{8}$"], ids=["the claim", "the record"])
def test_two_windows_at_once_of_which_one_is_held_up(
    airflow: Airflow, proxy: Proxy, manager: Simulator, work: Work, written: str
) -> None:
    twice = Late(twice=True)
    with (
        proxy.rule("PUT", f"/variables/mrs_window_.*{written}", Held(), times=1) as held,
        proxy.rule("PUT", "/variables/mrs_window_.*-claim$", twice),
    ):
        runs = [Run(airflow, "window", **work.conf)]
        held.wait()
        runs.append(Run(airflow, "window", **work.conf))
        work.wait_for()
        wait_until(lambda: any(run.states[OPEN] in WITHDRAWN for run in runs), "the other one to withdraw")
        airflow.execute("UPDATE task_reschedule SET reschedule_date = start_date")  # half a minute passes
        wait_until(lambda: any(run.states[OPEN] == "failed" for run in runs), "the other one to look again")
        work.be_done()
        assert {run.end() for run in runs} == {"success", "failed"}

    assert sent(manager) == THERE_AND_BACK
    assert set(twice.deliver()) == {201}
    assert Run(airflow, "window").end() == "success"
    assert sent(manager) == THERE_AND_BACK * 2
    assert is_back(manager)
    assert all_closed(airflow)


# ---- what somebody does to what is known -----------------------------------------------------------------


def test_the_connection_leads_elsewhere(
    airflow: Airflow, manage: Manage, simulate: Callable[..., Simulator], work: Work
) -> None:
    here, elsewhere = manage("mrs_moved"), simulate()
    run = Run(airflow, "window", mrs_conn_id="mrs_moved", **work.conf)
    work.wait_for()

    airflow.api.change_connection("mrs_moved", elsewhere.connection)
    work.be_done()

    assert run.end() == "failed"
    assert {run.states[task] for task in STARTS} == {"failed"}
    assert run.states[CLOSE] == "failed"
    guard = Run(airflow, GUARD)
    assert guard.end() == "failed"
    assert "this connection leads to" in guard.log("bring_back", 0)
    assert "task 'bring_back' [0] is failed" in guard.log("report")
    assert sent(here) == THERE_AND_BACK[:2]
    assert sent(elsewhere) == []

    airflow.api.change_connection("mrs_moved", here.connection)
    run.clear(only_failed=True)

    wait_until(lambda: is_back(here), "the services")
    assert run.end() == "success"
    assert sent(here) == THERE_AND_BACK
    assert all_closed(airflow)


def test_what_is_known_of_windows_is_deleted_and_edited(
    airflow: Airflow, manage: Manage, tmp_path: Path
) -> None:
    """Of one window what its opening has handed over, of the others what is kept."""
    names = ["mrs_handed_over", "mrs_deleted", "mrs_edited"]
    managers = {name: manage(name) for name in names}
    works, runs, kept = {}, {}, {}
    for name in names:
        (tmp_path / name).mkdir()
        works[name] = Work(tmp_path / name)
        runs[name] = Run(airflow, "window", mrs_conn_id=name, **works[name].conf)
    for work in works.values():
        work.wait_for()
    kept = {record["mrs_conn_id"]: key for key, record in records(airflow).items()}

    handed_over = runs["mrs_handed_over"]
    airflow.api.delete_xcom(handed_over.dag_id, handed_over.run_id, OPEN)
    airflow.api.delete_variable(kept["mrs_deleted"])
    airflow.api.set_variable(kept["mrs_edited"], "{garbage")
    colour, log = look_after(airflow)
    assert (colour, kept["mrs_edited"] in log) == ("failed", True)
    for work in works.values():
        work.be_done()

    assert {name: run.end() for name, run in runs.items()} == dict.fromkeys(names, "success")
    assert {name: sent(manager) for name, manager in managers.items()} == dict.fromkeys(names, THERE_AND_BACK)
    assert all(map(is_back, managers.values()))
    assert all_closed(airflow)


# ---- a worker that stands still --------------------------------------------------------------------------


def test_a_worker_is_frozen_between_its_note_and_its_request(
    airflow: Airflow, proxy: Proxy, manager: Simulator
) -> None:
    with proxy.rule("PUT", "/store/ti/", Held(after=True), body="submitting", times=1) as note:
        run = Run(airflow, "window")
        note.wait()
        task = airflow.task_process(run.dag_id, run.run_id, STOPS[0])
        frozen = [task, *filter(None, [task.parent()])]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
    try:
        airflow.execute(
            "UPDATE task_instance SET last_heartbeat_at = :before WHERE run_id = :run AND task_id = :task",
            before=datetime.now(UTC) - timedelta(hours=1),
            run=run.run_id,
            task=STOPS[0],
        )
        assert run.end() == "success"
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)

    wait_until(lambda: not task.is_running(), "the end of the try that was given up")
    assert run.tries(STOPS[0]) == 2
    assert manager.journal.requests["stop"] == 2
    assert sent(manager) == THERE_AND_BACK
    assert is_back(manager)
    assert all_closed(airflow)


# ---- many clusters ---------------------------------------------------------------------------------------


def test_ten_windows_at_once(airflow: Airflow, manage: Manage) -> None:
    managers = [manage(f"mrs_{number}") for number in range(10)]

    run = Run(airflow, "windows", connections=[f"mrs_{number}" for number in range(10)])

    assert run.end() == "success"
    assert [sent(manager) for manager in managers] == [THERE_AND_BACK] * 10
    assert all(map(is_back, managers))
    assert all_closed(airflow)


def test_the_run_of_ten_windows_is_deleted(airflow: Airflow, manage: Manage, work: Work) -> None:
    managers = [manage(f"mrs_{number}") for number in range(10)]
    names = [f"mrs_{number}" for number in range(10)]
    run = Run(airflow, "windows", connections=names, **work.conf)
    at_work = {f"one_cluster.maintenance.work[{number}]": "running" for number in range(10)}
    airflow.api.wait_for_tasks(run.dag_id, run.run_id, lambda states: at_work.items() <= states.items())
    airflow.delete_run(run.dag_id, run.run_id)
    work.be_done()
    for manager in managers:
        for service in manager.cluster._services.values():
            service.seconds = AN_HOUR

    guard = Run(airflow, GUARD)
    guard.api.wait_for_tasks(
        guard.dag_id, guard.run_id, lambda states: Counter(states.values())["deferred"] == 10
    )
    for manager in managers:
        an_hour_passes(manager)

    assert guard.end() == "failed"
    assert guard.log("report").count("started Hive, HBase") == 10
    assert [sent(manager) for manager in managers] == [THERE_AND_BACK] * 10
    assert all(map(is_back, managers))
    assert look_after(airflow)[0] == "success"
