"""A restart: two commands, each sent once, wherever a try ends."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import CommandFailed, WaitTimedOut
from airflow_mrs.operators.service import MRSRestartServiceOperator
from airflow_mrs.simulator.faults import Cut, Patch, Word
from tests.operators.harness import Died, Store, carry_out, die

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from airflow_mrs.simulator.journal import Entry

    Manage = Callable[..., Simulator]

AN_HOUR = 3600.0
POLLS_BEFORE_THE_WAIT = 2
"""Whether the start of an earlier try runs is asked twice: of a cleared task, and of any."""


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    """Defer at once, and let triggers fire at once."""


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    way: bool = request.param
    return way


def restart(*, deferrable: bool = False, **arguments: Any) -> MRSRestartServiceOperator:
    return MRSRestartServiceOperator(
        **{
            "task_id": "restart",
            "service_name": "HBase",
            "poll_interval": 0.1,
            "timeout": 30,
            "deferrable": deferrable,
            **arguments,
        }
    )


def sent(manager: Simulator) -> tuple[int, int]:
    return manager.journal.accepted("HBase", "stop"), manager.journal.accepted("HBase", "start")


def words(manager: Simulator) -> list[str]:
    return [change.details["state"] for change in manager.journal.state_changes("HBase")]


@pytest.fixture
def slow_start(manager: Simulator) -> Simulator:
    """A Manager that stops HBase at once, and takes an hour to start it."""
    hbase = manager.cluster._services["HBase"]
    at_once = hbase.seconds

    def decide(entry: Entry) -> None:
        if entry.event == "state":
            hbase.seconds = AN_HOUR if entry.details["state"] == "stopped" else at_once

    manager.journal.on_entry(decide)
    return manager


def an_hour_passes(manager: Simulator) -> None:
    clock = manager.cluster._clock
    manager.cluster._clock = lambda: clock() + AN_HOUR
    manager.cluster.advance()


def carry_out_to_the_end(
    operator: MRSRestartServiceOperator, store: Store, manager: Simulator, *, clears: int
) -> Any:
    """Carry it out, and let an hour pass once it waits for the start."""

    def end_the_start() -> None:
        manager.journal.wait_for(lambda: manager.cluster.service("HBase").state == "starting", timeout=60)
        polls = manager.journal.polls + POLLS_BEFORE_THE_WAIT
        manager.journal.wait_for(lambda: manager.journal.polls > polls, timeout=60)
        an_hour_passes(manager)

    with ThreadPoolExecutor() as pool:
        ended = pool.submit(end_the_start)
        result = carry_out(operator, store, clears=clears)
        ended.result()
    return result


def test_down_and_up(manager: Simulator, deferrals: list[str], *, deferrable: bool) -> None:
    manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=2)

    assert carry_out(restart(deferrable=deferrable), Store()) == 2
    assert ("stop of HBase, command 1" in deferrals) == deferrable
    assert words(manager) == ["stopping", "stopped", "starting", "started"]
    assert sent(manager) == (1, 1)
    assert all(command.only_self for command in manager.cluster.commands)


def test_what_is_down_is_only_started(manager: Simulator) -> None:
    manager.cluster.set_state("HBase", "stopped")

    carry_out(restart(), Store())

    assert sent(manager) == (0, 1)


def test_a_stop_that_fails_is_not_followed_by_a_start(manager: Simulator, *, deferrable: bool) -> None:
    manager.cluster.fail_next("HBase", "stop")
    store = Store()

    with pytest.raises(CommandFailed, match="stop of HBase, command 1"):
        carry_out(restart(deferrable=deferrable), store)
    assert sent(manager) == (1, 0)

    carry_out(restart(deferrable=deferrable), store)
    assert sent(manager) == (2, 1)
    assert manager.cluster.service("HBase").state == "started"


def test_the_start_fails_and_is_tried_again_alone(manager: Simulator, *, deferrable: bool) -> None:
    manager.cluster.fail_next("HBase", "start")
    store = Store()

    with pytest.raises(CommandFailed, match="start of HBase, command 2"):
        carry_out(restart(deferrable=deferrable), store)
    carry_out(restart(deferrable=deferrable), store)

    assert sent(manager) == (1, 2)
    assert manager.cluster.service("HBase").state == "started"


@pytest.mark.parametrize("commands", [1, 2])
def test_the_worker_dies_after_an_answer(manage: Manage, commands: int) -> None:
    manager, store = manage(command_seconds=1), Store()

    def die_when_it_is_time() -> None:
        if len(manager.cluster.commands) == commands:
            die()
        store.on_set["submitted"] = die_when_it_is_time

    store.on_set["submitted"] = die_when_it_is_time
    with pytest.raises(Died):
        carry_out(restart(), store)
    carry_out(restart(), store)

    assert sent(manager) == (1, 1)
    assert words(manager) == ["stopping", "stopped", "starting", "started"]


def test_answers_are_lost(manager: Simulator, *, deferrable: bool) -> None:
    for call in ("stop", "start"):
        manager.faults.set(call, Cut(after=True), times=1)

    carry_out(restart(deferrable=deferrable), Store())

    assert sent(manager) == (1, 1)
    assert words(manager)[-1] == "started"


def test_cleared_after_success_it_restarts_again(manager: Simulator) -> None:
    store = Store()
    carry_out(restart(), store)
    carry_out(restart(), store)

    assert sent(manager) == (2, 2)


def test_it_need_not_wait_for_the_start(slow_start: Simulator) -> None:
    manager, store = slow_start, Store()

    assert carry_out(restart(wait_for_completion=False), store) == 2
    assert words(manager) == ["stopping", "stopped", "starting"]

    assert carry_out_to_the_end(restart(), store, manager, clears=1) == 2
    assert sent(manager) == (1, 1)

    carry_out(restart(wait_for_completion=False), store, clears=2)
    assert sent(manager) == (2, 2)

    an_hour_passes(manager)
    carry_out_to_the_end(restart(), store, manager, clears=3)
    assert sent(manager) == (3, 3)


def die_at_the_start(store: Store, *, accepted: bool) -> None:
    """Carry a restart out that dies between the note of its start and that of the command, with the request sent or not."""
    if accepted:
        store.on_set["submitted"] = lambda: store.on_set.update({"before submitted": die})
    else:
        store.on_set["submitting"] = lambda: store.on_set.update({"submitting": die})
    with pytest.raises(Died):
        carry_out(restart(), store)


def test_cleared_after_a_start_of_which_only_the_service_tells_it_restarts_again(manager: Simulator) -> None:
    store = Store()
    die_at_the_start(store, accepted=True)
    manager.journal.wait_for(lambda: words(manager)[-1] == "started", timeout=60)

    carry_out(restart(), store, clears=1)

    assert sent(manager) == (2, 2)
    assert words(manager)[-4:] == ["stopping", "stopped", "starting", "started"]


def test_cleared_before_a_start_was_accepted(manager: Simulator) -> None:
    store = Store()
    die_at_the_start(store, accepted=False)
    assert sent(manager) == (1, 0)

    carry_out(restart(), store, clears=1)

    assert sent(manager) == (1, 1)
    assert words(manager) == ["stopping", "stopped", "starting", "started"]


def test_cleared_while_an_accepted_start_does_not_show_yet(manager: Simulator) -> None:
    store = Store()
    die_at_the_start(store, accepted=True)
    manager.faults.set("service", Word("Not started"), times=3)

    carry_out(restart(), store, clears=1)

    assert sent(manager) == (1, 1)


@pytest.mark.parametrize("dies", ["submitted", "before submitted"])
def test_cleared_while_the_start_runs_it_waits_for_that_and_so_does_a_retry(
    slow_start: Simulator, dies: str
) -> None:
    manager, store = slow_start, Store()
    store.on_set["submitted"] = lambda: store.on_set.update({dies: die})
    with pytest.raises(Died):
        carry_out(restart(), store)

    with pytest.raises(WaitTimedOut):
        carry_out(restart(timeout=2), store, clears=1)
    an_hour_passes(manager)
    carry_out(restart(), store, clears=1)

    assert sent(manager) == (1, 1)


def test_a_start_that_took_too_long_counts_for_a_retry_alone(
    slow_start: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, store = slow_start, Store()
    manager.cluster.set_state("HBase", "stopped")

    with pytest.raises(WaitTimedOut):
        carry_out(restart(timeout=0.5), store)
    an_hour_passes(manager)

    carry_out(restart(), store)
    assert sent(manager) == (0, 1)

    def let_time_be_over_for_the_start() -> None:
        if sent(manager) == (1, 2):
            later = SimpleNamespace(
                time=lambda: time.time() + AN_HOUR, monotonic=time.monotonic, sleep=time.sleep
            )
            monkeypatch.setattr("airflow_mrs.manager.client.time", later)
        store.on_set["submitted"] = let_time_be_over_for_the_start

    store.on_set["submitted"] = let_time_be_over_for_the_start
    with pytest.raises(WaitTimedOut, match="start of HBase"):
        carry_out(restart(), store, clears=1)
    monkeypatch.setattr("airflow_mrs.manager.client.time", time)
    store.on_set.clear()
    an_hour_passes(manager)
    carry_out_to_the_end(restart(), store, manager, clears=2)
    assert sent(manager)[0] == 2


def test_it_goes_on_with_the_service_that_it_has_stopped(manage: Manage) -> None:
    manager = manage(command_seconds=600)
    operator = restart(deferrable=True)

    def rename() -> None:
        operator.service_name = "Hive"
        manager.pass_time(600)

    carry_out(operator, Store(), while_deferred=rename)

    assert operator.service_name == "Hive"
    assert sent(manager) == (1, 1)
    assert len(manager.cluster.commands) == 2


def test_it_takes_no_dependents_along() -> None:
    with pytest.raises(TypeError, match="restarts this service alone"):
        restart(only_self=False)


def test_it_waits_for_the_stop_in_any_case(manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "stop")

    with pytest.raises(CommandFailed, match="stop of HBase, command 1"):
        carry_out(restart(wait_for_completion=False), Store())
    assert sent(manager) == (1, 0)


def test_the_state_is_read_where_the_connection_says(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch, *, deferrable: bool
) -> None:
    connection = manager.connection
    connection["extra"]["status_property"] = "status"
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", json.dumps(connection))
    asked: list[str | None] = []
    get_service = protocol.get_service

    def note_and_get(*arguments: Any, status_property: str | None = None, **more: Any) -> Any:
        asked.append(status_property)
        return get_service(*arguments, status_property=status_property, **more)

    monkeypatch.setattr(protocol, "get_service", note_and_get)

    carry_out(restart(deferrable=deferrable), Store())

    assert set(asked) == {"status"}
