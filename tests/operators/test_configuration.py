"""Configuration values: saved, with what they affect restarted once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_mrs.manager.errors import AnswerLost, CommandFailed, WaitTimedOut
from airflow_mrs.manager.model import Configuration
from airflow_mrs.manager.saving import ConfigurationSave
from airflow_mrs.operators.configuration import MRSSaveConfigurationOperator
from airflow_mrs.simulator.faults import Cut, Patch, Redirect
from tests.operators.harness import Died, Store, carry_out, die

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator

    Manage = Callable[..., Simulator]

VALUES = {"HDFS": {"dfs.replication": "2"}, "HBase": {"hbase.master.port": "16000"}}


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    """Defer at once, and let triggers fire at once."""


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    way: bool = request.param
    return way


def save(
    *, restart: bool = False, deferrable: bool = False, **arguments: Any
) -> MRSSaveConfigurationOperator:
    return MRSSaveConfigurationOperator(
        **{
            "task_id": "save",
            "configurations": VALUES,
            "restart_affected": restart,
            "poll_interval": 0.1,
            "timeout": 30,
            "deferrable": deferrable,
            **arguments,
        }
    )


def save_of(configurations: dict[str, dict[str, str]], *, restart: bool = False) -> ConfigurationSave:
    values = (Configuration(service, values) for service, values in configurations.items())
    return ConfigurationSave(tuple(values), restart_affected=restart)


def saved(manager: Simulator) -> dict[str, dict[str, str]]:
    return {
        name: service.configuration
        for name, service in manager.cluster.services.items()
        if service.configuration
    }


def restarts(manager: Simulator) -> int:
    return sum(change.details["state"] == "stopping" for change in manager.journal.state_changes("HBase"))


@pytest.mark.parametrize("restart", [False, True])
def test_values_are_saved(
    manager: Simulator, deferrals: list[str], *, restart: bool, deferrable: bool
) -> None:
    manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}), times=3)

    assert carry_out(save(restart=restart, deferrable=deferrable), Store()) == 1
    assert saved(manager) == VALUES
    assert restarts(manager) == restart
    assert manager.cluster.command(1).state == "COMPLETE"
    assert manager.journal.count("fault") == 3
    assert bool(deferrals) == deferrable


def test_a_lost_answer_is_asked_for_again(manager: Simulator) -> None:
    manager.faults.set("save", Cut(after=True), times=1)

    assert carry_out(save(), Store()) == 2
    assert saved(manager) == VALUES


def test_a_lost_answer_to_a_restart_is_not(manager: Simulator) -> None:
    manager.faults.set("save", Cut(after=True), times=1)
    store = Store()

    with pytest.raises(
        AirflowFailException, match=r"'mrs_default'.*HDFS, HBase.*not known.*Have a look at Manager"
    ):
        carry_out(save(restart=True), store)
    assert manager.journal.requests["save"] == 1

    manager.journal.wait_for(lambda: manager.cluster.running is None)
    carry_out(save(restart=True), store)  # somebody has looked, and cleared it
    assert manager.journal.requests["save"] == 2


def test_no_answer_at_all(manager: Simulator) -> None:
    manager.faults.set("save", Cut())

    with pytest.raises(AnswerLost, match=r"'mrs_default'.*HDFS, HBase.*both answers were lost"):
        carry_out(save(), Store())
    assert manager.journal.requests["save"] == 2


@pytest.mark.parametrize("restart", [False, True])
def test_the_worker_dies_after_the_answer(manage: Manage, *, restart: bool) -> None:
    manager, store = manage(command_seconds=0.5), Store()
    store.on_set["submitted"] = die

    with pytest.raises(Died):
        carry_out(save(restart=restart), store)

    assert carry_out(save(restart=restart), store) == 1
    assert manager.journal.requests["save"] == 1


def test_the_note_tells_no_value_and_goes_with_the_save(manage: Manage) -> None:
    """Whoever may look at a task sees its note. A digest of a short value would be as good as the value."""
    manager, store, another = manage(command_seconds=600), Store(), Store()
    secret = {"HDFS": {"key.password": "271828"}}
    notes = []
    for each in (store, another):
        with pytest.raises(WaitTimedOut):
            carry_out(save(restart=True, configurations=secret, timeout=0.1), each)
        notes.append(each.get("mrs_command"))
        manager.pass_time(3600)
    known = json.dumps(save_of(secret, restart=True).send().body, sort_keys=True).encode()

    assert notes[0]["salt"] != notes[1]["salt"]
    assert all(len(note["digest"]) == 4 for note in notes)  # so that many values fit
    assert hashlib.sha256(known).hexdigest()[:4] not in {note["digest"] for note in notes}
    assert "271828" not in str(notes)

    carry_out(save(restart=True, configurations=secret), store)
    assert store.get("mrs_command") == {"phase": "done", "max_tries": 0}


def test_another_value_is_another_save(manage: Manage) -> None:
    manager, store = manage(command_seconds=0.5), Store()
    store.on_set["submitted"] = die
    with pytest.raises(Died):
        carry_out(save(), store)

    carry_out(save(configurations={**VALUES, "HDFS": {"dfs.replication": "3"}}), store)

    assert manager.cluster.service("HDFS").configuration == {"dfs.replication": "3"}


@pytest.mark.parametrize("phase", ["submitting", "submitted"])
def test_a_note_of_a_former_version_still_counts(manage: Manage, phase: str) -> None:
    """It has a plain digest. What it tells of is not restarted twice, and then the digest is gone."""
    manager, store = manage(command_seconds=0.5), Store()
    store.on_set[phase] = die
    with pytest.raises(Died):
        carry_out(save(restart=True), store)
    sent = manager.journal.requests["save"]
    former = save_of(VALUES, restart=True).identity("") | {"phase": phase, "command_id": sent, "max_tries": 0}
    assert len(str(former["digest"])) == 64
    store.set("mrs_command", former)

    if phase == "submitted":
        assert carry_out(save(restart=True), store) == 1
    else:
        with pytest.raises(AirflowFailException, match="not known"):
            carry_out(save(restart=True), store)

    assert manager.journal.requests["save"] == sent
    assert store.get("mrs_command") == {"phase": "done", "max_tries": 0}


def test_the_worker_dies_before_the_answer_to_a_restart(manage: Manage) -> None:
    manager, store = manage(command_seconds=0.5), Store()
    store.on_set["before submitted"] = die

    with pytest.raises(Died):
        carry_out(save(restart=True), store)
    with pytest.raises(AirflowFailException, match="not known"):
        carry_out(save(restart=True), store)

    assert manager.journal.requests["save"] == 1


def test_manager_forgets_the_command_of_a_restart(manage: Manage) -> None:
    manager, store = manage(command_seconds=0.5), Store()
    store.on_set["submitted"] = manager.cluster.forget_commands

    with pytest.raises(CommandFailed, match="command 1"):
        carry_out(save(restart=True), store)
    with pytest.raises(AirflowFailException, match="not known"):
        carry_out(save(restart=True), store)

    assert manager.journal.requests["save"] == 1


def test_a_restart_that_fails_is_tried_again(manager: Simulator, *, deferrable: bool) -> None:
    manager.cluster.fail_next("HBase", "start", text="No RegionServer came up.")
    store = Store()

    with pytest.raises(CommandFailed, match=r"HBase.*command 1.*No RegionServer came up"):
        carry_out(save(restart=True, deferrable=deferrable), store)
    assert carry_out(save(restart=True, deferrable=deferrable), store) == 2


def test_cleared_after_success_it_saves_again(manager: Simulator) -> None:
    store = Store()
    assert carry_out(save(wait_for_completion=False), store) == 1
    manager.journal.wait_for(lambda: manager.cluster.running is None)

    assert carry_out(save(), store) == 1  # a retry, as after a worker's death
    assert carry_out(save(), store, clears=1) == 2


def test_cleared_while_it_restarts_it_waits_for_that_and_so_does_a_retry(manage: Manage) -> None:
    manager, store = manage(command_seconds=600), Store()
    assert carry_out(save(restart=True, wait_for_completion=False), store) == 1

    with pytest.raises(WaitTimedOut):
        carry_out(save(restart=True, timeout=0.5), store, clears=1)
    manager.pass_time(3600)

    assert carry_out(save(restart=True), store, clears=1) == 1
    assert manager.journal.requests["save"] == 1


def test_where_no_notes_are_kept_a_restart_that_may_go_on_is_not_tried_again(
    manage: Manage, *, deferrable: bool
) -> None:
    """As below Airflow 3.3."""
    manager = manage(command_seconds=3600)

    with pytest.raises(AirflowFailException, match=r"command 1.*time .* is over.*restart again.*have a look"):
        carry_out(save(restart=True, deferrable=deferrable, timeout=0.5))
    assert manager.journal.requests["save"] == 1


def test_where_no_notes_are_kept_values_alone_are_saved_again(manager: Simulator) -> None:
    manager.faults.set("progress", Patch({"state": "IN_PROGRESS"}))

    with pytest.raises(WaitTimedOut):
        carry_out(save(timeout=0.5))


def test_where_no_notes_are_kept_a_restart_that_failed_is_tried_again(manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "start")

    with pytest.raises(CommandFailed):
        carry_out(save(restart=True))


def test_something_in_front_of_manager_answers_a_restart(manager: Simulator) -> None:
    manager.faults.set("save", Redirect("https://elsewhere.example/"), times=1)
    store = Store()

    with pytest.raises(AirflowFailException, match="elsewhere"):
        carry_out(save(restart=True), store)
    with pytest.raises(AirflowFailException, match="not known"):
        carry_out(save(restart=True), store, clears=1)


def test_an_answer_without_an_id_is_not_taken_for_success(manager: Simulator) -> None:
    manager.faults.set("save", Patch({"id": -1}), times=1)

    with pytest.raises(AirflowFailException, match="without a command id"):
        carry_out(save(), Store())


@pytest.mark.parametrize(
    "arguments",
    [
        {"configurations": {}},
        {"configurations": {"HDFS": {}}},
        {"configurations": {"HDFS": {"dfs.replication": 2}}},
        {"configurations": "HDFS"},
        {"configurations": {"../HDFS": {"a": "b"}}},
        {"restart_affected": "False"},
        {"cluster_id": "x"},
    ],
    ids=str,
)
def test_what_can_not_be_saved_is_not_sent(manager: Simulator, arguments: dict[str, Any]) -> None:
    """It is an error when the DAG is parsed; after a template, before anything is sent."""
    with pytest.raises(ValueError, match="Nothing was sent"):
        save(**arguments)
    operator = save()
    vars(operator).update(arguments)
    if "restart_affected" not in arguments:
        with pytest.raises(AirflowFailException, match="Nothing was sent"):
            carry_out(operator, Store())
    assert manager.journal.requests["save"] == 0
