"""Faults of Airflow itself: whatever dies, freezes or is meddled with, a stop is sent once and waited for."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.simulator.faults import Stall
from dev.processes import wait_until
from tests.e2e.holding import AN_HOUR, PATIENT, an_hour_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow
    from dev.rest import Task
    from tests.e2e.holding import Hold

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

DEFERRED_TASKS = 50
TASKS_PER_LENGTH = 8
LENGTHS = [0.1, 1.0, 3.0, 6.0]

BEFORE_THE_ANSWER = ("stop", Stall(PATIENT, after=True))
IN_THE_FIRST_POLL = ("progress", Stall(PATIENT))


def trigger(airflow: Airflow, dag_id: str, **conf: Any) -> str:
    airflow.api.wait_for_dag(dag_id)
    return airflow.api.trigger(dag_id, conf)


def the_stop(airflow: Airflow, dag_id: str, run_id: str) -> Task:
    [task] = airflow.api.tasks(dag_id, run_id)
    return task


def log_of(airflow: Airflow, dag_id: str, run_id: str, try_number: int = 1) -> str:
    return "\n".join(airflow.api.task_log(dag_id, run_id, "stop", try_number=try_number))


def wait_for_log(airflow: Airflow, text: str, dag_id: str, run_id: str, try_number: int = 1) -> None:
    wait_until(
        lambda: (
            the_stop(airflow, dag_id, run_id).try_number >= try_number
            and text in log_of(airflow, dag_id, run_id, try_number)
        ),
        f"{text!r} in the log of {run_id}",
        interval=0.3,
    )


def wait_until_deferred(airflow: Airflow, dag_id: str, run_id: str, number: int = 1) -> None:
    airflow.api.wait_for_tasks(
        dag_id, run_id, lambda states: Counter(states.values())["deferred"] == number, interval=0.5
    )


def wait_for_a_poll(*managers: Simulator) -> None:
    """Wait until every manager has been asked for its command once more."""
    before = [manager.journal.polls for manager in managers]
    wait_until(
        lambda: all(m.journal.polls > polls for m, polls in zip(managers, before, strict=True)),
        "polls",
    )


def stops(manager: Simulator) -> tuple[int, int]:
    """Count the requests to stop HBase: those that came, and those that became a command."""
    return manager.journal.requests["stop"], manager.journal.accepted("HBase", "stop")


def triggers(airflow: Airflow, run_id: str) -> list[dict[str, Any]]:
    """Return the triggers that the tasks of a run wait for."""
    return airflow.rows(
        "SELECT trigger.id, trigger.kwargs, trigger.triggerer_id FROM trigger JOIN task_instance "
        "ON task_instance.trigger_id = trigger.id WHERE task_instance.run_id = :run ORDER BY trigger.id",
        run=run_id,
    )


def deadlines(airflow: Airflow, run_id: str) -> dict[int, float]:
    """Return until when each trigger of a run waits."""
    return {row["id"]: json.loads(row["kwargs"])["deadline"] for row in triggers(airflow, run_id)}


@pytest.fixture
def manager(manage: Manage) -> Simulator:
    return manage(command_seconds=AN_HOUR)


@pytest.fixture
def second_triggerer(airflow: Airflow) -> Iterator[Callable[[], str]]:
    """Start a second triggerer, when it is asked for, until the end of the test."""
    names: list[str] = []

    def start() -> str:
        names.append(airflow.add_triggerer())
        return names[0]

    yield start
    for name in names:
        airflow.remove_component(name)


def test_the_triggerer_dies_with_fifty_waits(airflow: Airflow, manage: Manage) -> None:
    managers = {
        f"mrs_{number}": manage(f"mrs_{number}", command_seconds=AN_HOUR) for number in range(DEFERRED_TASKS)
    }
    run_id = trigger(airflow, "stop_many", connections=list(managers))
    wait_until_deferred(airflow, "stop_many", run_id, DEFERRED_TASKS)
    wait_for_a_poll(*managers.values())
    before = deadlines(airflow, run_id)

    airflow.kill("triggerer")
    airflow.start_component("triggerer")

    wait_for_a_poll(*managers.values())
    after = deadlines(airflow, run_id)
    for manager in managers.values():
        an_hour_passes(manager)
    assert airflow.api.wait_for_run("stop_many", run_id) == "success"
    assert len(before) == DEFERRED_TASKS
    assert after == before
    assert {stops(manager) for manager in managers.values()} == {(1, 1)}
    assert {task.try_number for task in airflow.api.tasks("stop_many", run_id)} == {1}


def test_a_frozen_triggerer_comes_back_after_another_took_over(
    airflow: Airflow, manager: Simulator, second_triggerer: Callable[[], str]
) -> None:
    run_id = trigger(airflow, "stop_deferrable")
    wait_until_deferred(airflow, "stop_deferrable", run_id)
    wait_for_a_poll(manager)
    [before] = triggers(airflow, run_id)
    second_triggerer()

    airflow.freeze("triggerer")
    wait_until(
        lambda: triggers(airflow, run_id)[0]["triggerer_id"] not in {before["triggerer_id"], None},
        "another triggerer",
    )
    wait_for_a_poll(manager)
    airflow.thaw("triggerer")

    # The first finds that the wait is no longer its own, while the second goes on with it.
    wait_for_log(airflow, "no longer waited for", "stop_deferrable", run_id)
    wait_for_a_poll(manager)
    assert the_stop(airflow, "stop_deferrable", run_id).state == "deferred"
    an_hour_passes(manager)
    assert airflow.api.wait_for_run("stop_deferrable", run_id) == "success"
    assert the_stop(airflow, "stop_deferrable", run_id).try_number == 1
    assert stops(manager) == (1, 1)


@pytest.mark.parametrize(
    ("way", "moment", "found"),
    [
        ("blocking", IN_THE_FIRST_POLL, "command 1 of an earlier try is running"),
        ("deferrable", IN_THE_FIRST_POLL, "command 1 of an earlier try is running"),
        ("deferrable", BEFORE_THE_ANSWER, "the request got through"),
    ],
    ids=["waiting", "about to defer", "before the answer"],
)
def test_the_worker_is_killed(
    airflow: Airflow, manager: Simulator, way: str, moment: tuple[str, Stall], found: str
) -> None:
    dag_id = f"stop_{way}"
    call, stall = moment
    manager.faults.set(call, stall, times=1)
    run_id = trigger(airflow, dag_id)
    manager.journal.wait_for(lambda: manager.journal.count("fault", call=call) == 1, timeout=300)
    wait_until(lambda: stops(manager) == (1, 1), "the command")

    airflow.task_process(dag_id, run_id, "stop").kill()

    wait_for_log(airflow, found, dag_id, run_id, try_number=2)
    an_hour_passes(manager)
    assert airflow.api.wait_for_run(dag_id, run_id) == "success"
    assert the_stop(airflow, dag_id, run_id).try_number == 2
    assert stops(manager) == (1, 1)


def test_cleared_by_hand_while_deferred(airflow: Airflow, manager: Simulator) -> None:
    run_id = trigger(airflow, "stop_deferrable")
    wait_until_deferred(airflow, "stop_deferrable", run_id)

    airflow.api.clear("stop_deferrable", run_id, ["stop"])

    wait_for_log(airflow, "command 1 of an earlier try is running", "stop_deferrable", run_id, try_number=2)
    an_hour_passes(manager)
    assert airflow.api.wait_for_run("stop_deferrable", run_id) == "success"
    assert stops(manager) == (1, 1)


def test_marked_failed_by_hand_while_deferred(airflow: Airflow, manager: Simulator) -> None:
    run_id = trigger(airflow, "stop_deferrable")
    wait_until_deferred(airflow, "stop_deferrable", run_id)
    wait_for_a_poll(manager)

    airflow.api.set_state("stop_deferrable", run_id, "failed", "stop")

    wait_for_log(
        airflow,
        "stop of HBase, command 1: no longer waited for. What runs in Manager goes on.",
        "stop_deferrable",
        run_id,
    )
    assert airflow.api.wait_for_run("stop_deferrable", run_id) == "failed"
    assert manager.cluster.command(1).state == "IN_PROGRESS"
    assert stops(manager) == (1, 1)


def test_the_execution_times_out(airflow: Airflow, manager: Simulator) -> None:
    run_id = trigger(airflow, "stop_times_out")
    wait_for_a_poll(manager)

    # What the kernel does when the time is over that Airflow has told it.
    airflow.task_process("stop_times_out", run_id, "stop").send_signal(signal.SIGALRM)

    assert airflow.api.wait_for_run("stop_times_out", run_id) == "failed"
    assert "command 1: no longer waited for. What runs in Manager goes on." in log_of(
        airflow, "stop_times_out", run_id
    )
    assert manager.cluster.command(1).state == "IN_PROGRESS"
    assert stops(manager) == (1, 1)


def test_the_api_server_is_away_when_notes_are_to_be_written(
    airflow: Airflow, manage: Manage, hold: Callable[..., Hold]
) -> None:
    """Once before a request leaves, once after it was accepted."""
    early = manage("mrs_early", command_seconds=AN_HOUR)
    late = manage("mrs_late", command_seconds=AN_HOUR)
    moments = [hold(early, "login succeeded"), hold(late, "post accepted", service="HBase", action="stop")]
    runs = {name: trigger(airflow, "stop_blocking", mrs_conn_id=name) for name in ("mrs_early", "mrs_late")}
    for moment in moments:
        moment.wait()
    task = airflow.task_process("stop_blocking", runs["mrs_early"], "stop")

    airflow.kill("api-server")
    for moment in moments:
        moment.release()
    wait_until(lambda: not task.is_running(), "the end of the task that can't keep its note")
    assert stops(early) == (0, 0)
    airflow.start_component("api-server")

    wait_until(lambda: stops(early) == (1, 1), "the command of the next try")
    for manager in (early, late):
        an_hour_passes(manager)
    for run_id in runs.values():
        assert airflow.api.wait_for_run("stop_blocking", run_id) == "success"
    assert stops(early) == stops(late) == (1, 1)


def test_the_api_server_stands_still_when_a_note_is_to_be_written(
    airflow: Airflow, manager: Simulator, hold: Callable[..., Hold]
) -> None:
    accepted = hold(manager, "post accepted", service="HBase", action="stop")
    run_id = trigger(airflow, "stop_blocking")
    accepted.wait()

    airflow.freeze("api-server")
    accepted.release()
    time.sleep(12)  # longer than a task waits for an answer, so that it asks again
    airflow.thaw("api-server")

    wait_for_a_poll(manager)
    an_hour_passes(manager)
    assert airflow.api.wait_for_run("stop_blocking", run_id) == "success"
    assert stops(manager) == (1, 1)


def test_commands_of_all_lengths_succeed_at_the_first_try(airflow: Airflow, manage: Manage) -> None:
    """Those that are over at once need no deferral, and no deferral is so short that Airflow fails its task."""
    managers = {
        name: manage(name, command_seconds=seconds)
        for seconds in LENGTHS
        for name in (f"mrs_{seconds:g}_{number}".replace(".", "_") for number in range(TASKS_PER_LENGTH))
    }
    run_id = trigger(airflow, "stop_many", connections=list(managers))

    assert airflow.api.wait_for_run("stop_many", run_id) == "success"
    tasks = [task for task in airflow.api.tasks("stop_many", run_id) if task.task_id == "stop"]
    assert [task.try_number for task in tasks] == [1] * len(managers)
    assert {stops(manager) for manager in managers.values()} == {(1, 1)}
