"""Whatever breaks between a task and the cluster: never sent twice, never forgotten, never a false success."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_mrs.manager import client
from airflow_mrs.manager.errors import (
    CommandFailed,
    ContactLost,
    MRSError,
    StateContradicts,
    StateUndecided,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator
from airflow_mrs.simulator.faults import (
    Cut,
    Drip,
    Expire,
    Flood,
    Hold,
    LoginPage,
    Nonsense,
    Patch,
    Redirect,
    Stall,
    Status,
    Truncate,
    Word,
)
from airflow_mrs.triggers.base import TRIGGER_GRACE
from airflow_mrs.triggers.command import MRSCommandTrigger
from tests.operators.harness import Died, Store, carry_out, die, first_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from airflow_mrs.simulator.faults import Fault

    Manage = Callable[..., Simulator]

ANSWERS_LOST_AFTER_ACCEPTANCE = [
    Cut(after=True),
    Stall(20, after=True),
    Truncate(),
    Status(500, after=True),
    Status(502, after=True),
    Status(503, after=True, retry_after=1),
    Status(429, after=True),
    Nonsense("html", after=True),
    Nonsense("not_utf8", after=True),
    Nonsense("broken_json", after=True),
    Flood(after=True),
    Drip(5),
]
REQUESTS_LOST_BEFORE_ACCEPTANCE = [Cut(), Status(503), Status(429, retry_after=1), Nonsense("html")]
POLLS_THAT_PASS = [
    Cut(),
    Stall(20),
    Truncate(),
    Status(429, retry_after=1),
    Status(429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"),
    Status(500),
    Status(502),
    Status(503),
    Status(504),
    Nonsense("html"),
    Nonsense("not_utf8"),
    Nonsense("broken_json"),
    Flood(),
    Flood(announced=True),
]


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    """Defer at once, and let triggers fire at once."""


@pytest.fixture(autouse=True)
def _timeout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for every answer, but not for long where none comes."""
    fault = request.getfixturevalue("fault") if "fault" in request.fixturenames else None
    be_patient(monkeypatch, 2.0 if isinstance(fault, Stall | Drip) else 60.0)


def be_patient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("airflow_mrs.connection.DEFAULT_TIMEOUT", seconds)


def at_each_pause(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], object]) -> None:
    """Let something happen whenever a worker is about to pause."""

    def sleep(seconds: float) -> None:
        happen()
        time.sleep(seconds)

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr(client, "time", clock)


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    way: bool = request.param
    return way


def stop(*, deferrable: bool = False, **arguments: Any) -> MRSStopServiceOperator:
    return MRSStopServiceOperator(
        **{
            "task_id": "stop",
            "service_name": "HBase",
            "poll_interval": 0.1,
            "timeout": 100,
            "deferrable": deferrable,
            **arguments,
        }
    )


def start(**arguments: Any) -> MRSStartServiceOperator:
    return MRSStartServiceOperator(task_id="start", service_name="HBase", poll_interval=0.1, **arguments)


def stops(manager: Simulator) -> int:
    return manager.journal.accepted("HBase", "stop")


def state(manager: Simulator) -> str:
    return manager.cluster.service("HBase").state


# ---- the request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ANSWERS_LOST_AFTER_ACCEPTANCE, ids=str)
def test_an_answer_lost_after_acceptance(manager: Simulator, fault: Fault) -> None:
    manager.faults.set("stop", fault, times=1)

    carry_out(stop(), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")


@pytest.mark.parametrize("fault", [Cut(after=True), Stall(20, after=True)], ids=str)
def test_the_wait_for_a_lost_answer_goes_on_in_the_trigger(manage: Manage, fault: Fault) -> None:
    manager = manage(command_seconds=3)
    manager.faults.set("stop", fault, times=1)

    carry_out(stop(deferrable=True), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")


@pytest.mark.parametrize("fault", REQUESTS_LOST_BEFORE_ACCEPTANCE, ids=str)
def test_a_request_lost_before_acceptance_is_sent_again(manager: Simulator, fault: Fault) -> None:
    manager.faults.set("stop", fault, times=1)

    carry_out(stop(), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")


def test_a_request_that_comes_late_is_not_sent_twice(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gives up, Manager accepts all the same, a moment later."""
    be_patient(monkeypatch, 2.0)
    hold = Hold()
    manager.faults.set("stop", hold, times=1)
    accepted_before: list[int] = []

    def accept() -> None:
        if manager.journal.count("fault"):
            accepted_before.append(stops(manager))
            hold.release()
            manager.journal.wait_for(lambda: stops(manager) == 1)

    at_each_pause(monkeypatch, accept)

    carry_out(stop(), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")
    assert manager.journal.requests["stop"] == 1
    assert accepted_before[0] == 0


@pytest.mark.parametrize("fault", [Cut(after=True), Patch({"id": -1, "state": "IN_PROGRESS"})], ids=str)
def test_a_state_that_does_not_show_a_service_on_its_way_proves_nothing(manage: Manage, fault: Fault) -> None:
    """As on MRS 2.x, where a service is *started* until it is *stopped*."""
    manager = manage(states="2x", command_seconds=3)
    manager.faults.set("stop", fault, times=1)

    carry_out(stop(), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")
    assert manager.journal.requests["stop"] == 1


def test_no_state_can_decide_about_a_lost_answer(manager: Simulator) -> None:
    manager.faults.set("stop", Cut(), times=1)
    manager.faults.set("service", Word("unknown"))

    with pytest.raises(StateUndecided, match=r"'mrs_default'.*HBase"):
        carry_out(stop(), Store())

    assert stops(manager) == 0


def test_connections_are_refused_for_a_moment(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.on_set["submitting"] = lambda: manager.refuse(600)
    sent_before: list[int] = []

    def end_the_outage() -> None:
        sent_before.append(manager.journal.requests["stop"])
        manager.admit()

    at_each_pause(monkeypatch, end_the_outage)

    carry_out(stop(), store)

    assert (stops(manager), state(manager)) == (1, "stopped")
    assert sent_before[0] == 0


def test_nobody_is_there(manager: Simulator) -> None:
    manager.refuse(600)

    with pytest.raises(Unreachable, match="'mrs_default'"):
        carry_out(stop(), Store())

    assert stops(manager) == 0


def test_the_tls_handshake_is_cut(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that accepts and hangs up: nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        knocks = []

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                knocks.append(connection.recv(1))
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        port = listener.getsockname()[1]
        text = manager.connection_json.replace(f'"cas_port": {manager.cas_port}', f'"cas_port": {port}')
        monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", text)

        with pytest.raises(Unreachable):
            carry_out(stop(), Store())

        assert len(knocks) == 3
        listener.shutdown(socket.SHUT_RDWR)


def test_a_refusal_is_an_error_at_once(manager: Simulator) -> None:
    manager.cluster.stop("Kafka")
    manager.faults.set(
        "stop", Patch({"state": "FAILED", "error_code": 1, "error_description": "Not now."}), times=1
    )

    with pytest.raises(MRSError, match=r"Not now\."):
        carry_out(stop(), Store())


def test_an_answer_without_a_command_id(manager: Simulator, *, deferrable: bool) -> None:
    manager.faults.set("stop", Patch({"id": -1}), times=1)

    assert carry_out(stop(deferrable=deferrable), Store()) == -1
    assert (stops(manager), state(manager)) == (1, "stopped")


def test_a_command_of_which_nobody_knows_the_id_is_waited_for_in_any_case(
    manage: Manage, *, deferrable: bool
) -> None:
    manager = manage(command_seconds=2)
    manager.faults.set("stop", Cut(after=True), times=1)

    assert carry_out(stop(wait_for_completion=False, deferrable=deferrable), Store()) == -1
    assert (stops(manager), state(manager)) == (1, "stopped")


# ---- the worker dies -------------------------------------------------------------------------------------


def test_the_worker_dies_after_the_answer(manage: Manage, *, deferrable: bool) -> None:
    manager, store = manage(command_seconds=1.5), Store()
    store.on_set["submitted"] = die
    with pytest.raises(Died):
        carry_out(stop(deferrable=deferrable), store)

    command_id = carry_out(stop(deferrable=deferrable), store)

    assert command_id == manager.cluster.commands[0].id
    assert (stops(manager), state(manager)) == (1, "stopped")


def test_the_worker_dies_after_the_answer_and_no_notes_are_kept(manage: Manage) -> None:
    """As below Airflow 3.3."""
    manager = manage(command_seconds=1.5)
    manager.cluster.stop("HBase")

    assert carry_out(stop()) == -1
    assert state(manager) == "stopped"
    assert len(manager.cluster.commands) == 1


def test_the_worker_dies_before_the_request(manager: Simulator) -> None:
    store = Store()
    store.on_set["submitting"] = die
    with pytest.raises(Died):
        carry_out(stop(), store)

    carry_out(stop(), store)

    assert (stops(manager), state(manager)) == (1, "stopped")


@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_the_worker_dies_before_the_answer(manage: Manage, seconds: float) -> None:
    manager, store = manage(command_seconds=seconds), Store()

    def send_and_die() -> None:
        manager.cluster.stop("HBase")
        die()

    store.on_set["submitting"] = send_and_die
    with pytest.raises(Died):
        carry_out(stop(), store)

    carry_out(stop(), store)

    assert state(manager) == "stopped"
    assert len(manager.cluster.commands) == 1


def test_the_note_can_not_be_kept_before_the_request(manager: Simulator) -> None:
    store = Store()
    store.on_set["before submitting"] = _api_server_away

    with pytest.raises(ConnectionError):
        carry_out(stop(), store)

    assert stops(manager) == 0


def test_the_note_can_not_be_kept_after_the_request(manager: Simulator) -> None:
    store = Store()
    store.on_set["before submitted"] = _api_server_away

    assert carry_out(stop(), store) == manager.cluster.commands[0].id
    assert (stops(manager), state(manager)) == (1, "stopped")


def _api_server_away() -> None:
    raise ConnectionError("Airflow's API server is away")


def test_a_task_that_is_killed_names_what_goes_on(
    manage: Manage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in (MRSStopServiceOperator, MRSCommandTrigger):
        monkeypatch.setattr(kind, "log", logging.getLogger(kind.__name__))
    manage(command_seconds=60)
    task, context = stop(deferrable=True), cast("Any", {})
    task.on_kill()
    assert "goes on" not in caplog.text

    with pytest.raises(TaskDeferred) as deferral:
        task.execute(context)
    trigger: Any = deferral.value.trigger
    for on_kill in (task.on_kill, lambda: asyncio.run(trigger.on_kill())):
        caplog.clear()
        on_kill()
        assert "'mrs_default': stop of HBase, command 1: no longer waited for" in caplog.text
        assert "What runs in Manager goes on." in caplog.text


# ---- tries after a try -----------------------------------------------------------------------------------


def test_a_failed_command_is_sent_afresh_by_the_next_try(manager: Simulator, *, deferrable: bool) -> None:
    store = Store()
    manager.cluster.fail_next("HBase", "stop", text="RegionServer does not let go.")
    with pytest.raises(CommandFailed, match=r"'mrs_default'.*HBase.*command 1.*RegionServer does not let go"):
        carry_out(stop(deferrable=deferrable), store)

    carry_out(stop(deferrable=deferrable), store)

    assert (stops(manager), state(manager)) == (2, "stopped")


def test_cleared_after_the_service_was_started_again(manager: Simulator, *, deferrable: bool) -> None:
    store = Store()
    carry_out(stop(deferrable=deferrable), store)
    carry_out(start())

    carry_out(stop(deferrable=deferrable), store)

    assert (stops(manager), state(manager)) == (2, "stopped")


def test_cleared_while_the_command_runs(manage: Manage) -> None:
    manager, store = manage(command_seconds=1.5), Store()
    first = carry_out(stop(wait_for_completion=False), store)

    assert carry_out(stop(), store) == first
    assert (stops(manager), state(manager)) == (1, "stopped")


# ---- sessions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["service", "stop", "progress"])
@pytest.mark.parametrize("tickets", [True, False])
def test_a_session_is_lost(manage: Manage, call: str, *, tickets: bool, deferrable: bool) -> None:
    manager = manage(command_seconds=600 if deferrable else 0.5)
    manager.faults.set(call, Expire(tickets), times=1)

    carry_out(stop(deferrable=deferrable), Store(), while_deferred=lambda: manager.pass_time(600))

    assert (stops(manager), state(manager)) == (1, "stopped")
    # One for the worker, one for the trigger, and one for the loss.
    assert manager.journal.logins_attempted == (3 if deferrable else 2)


def test_sessions_are_lost_at_every_poll(manage: Manage, *, deferrable: bool) -> None:
    manager = manage(command_seconds=1)
    strikes, passes = 0.0, 1.0
    manager.faults._dice = itertools.cycle([strikes, passes]).__next__
    manager.faults.set("progress", Expire(), chance=0.5)

    carry_out(stop(deferrable=deferrable), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")


# ---- the wait --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", POLLS_THAT_PASS, ids=str)
def test_a_poll_that_goes_wrong_passes(manage: Manage, fault: Fault, *, deferrable: bool) -> None:
    manager = manage(command_seconds=0.5)
    manager.faults.set("progress", fault, times=2)

    carry_out(stop(deferrable=deferrable), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")
    assert manager.journal.count("fault") == 2


def test_a_switchover(manage: Manage, *, deferrable: bool) -> None:
    """Manager is gone, then its sessions and command ids are: the service's state decides."""
    manager, store = manage(command_seconds=4), Store()
    store.on_set["submitted"] = lambda: manager.switchover(2)

    carry_out(stop(deferrable=deferrable), store)

    assert (stops(manager), state(manager)) == (1, "stopped")


def test_a_command_id_that_is_not_found_any_more(manage: Manage, *, deferrable: bool) -> None:
    manager = manage(command_seconds=1)
    manager.faults.set("progress", Status(404))

    carry_out(stop(deferrable=deferrable), Store())

    assert (stops(manager), state(manager)) == (1, "stopped")


def test_complete_while_the_service_is_still_up(manager: Simulator, *, deferrable: bool) -> None:
    manager.cluster.pretend_next("HBase", "stop")

    with pytest.raises(StateContradicts, match=r"'mrs_default'.*HBase.*command 1.*still"):
        carry_out(stop(deferrable=deferrable), Store())


def test_complete_while_the_state_tells_nothing(manager: Simulator, *, deferrable: bool) -> None:
    manager.faults.set("service", Word("a word never seen"))

    carry_out(stop(deferrable=deferrable), Store())

    assert stops(manager) == 1


def test_out_of_time(manage: Manage, *, deferrable: bool) -> None:
    manage(command_seconds=60)

    with pytest.raises(
        WaitTimedOut, match=r"'mrs_default'.*HBase.*command 1.*IN_PROGRESS.*goes on in Manager"
    ):
        carry_out(stop(deferrable=deferrable, timeout=1), Store())


def test_out_of_time_in_the_middle_of_an_outage(manage: Manage, *, deferrable: bool) -> None:
    manager, store = manage(command_seconds=60), Store()
    store.on_set["submitted"] = lambda: manager.refuse(600)

    with pytest.raises(ContactLost, match=r"'mrs_default'.*command 1.*goes on in Manager"):
        carry_out(stop(deferrable=deferrable, timeout=2), store)


def test_two_triggerers_wait_for_the_same_command(manage: Manage) -> None:
    """One was frozen, another took over, the first came back."""
    manager = manage(command_seconds=1)
    command = manager.cluster.stop("HBase")
    trigger = MRSCommandTrigger(
        "mrs_default", command.id, time.time() + 20, action="stop", service_name="HBase", poll_interval=0.1
    )
    events: list[Any] = []
    threads = [
        threading.Thread(target=lambda: events.append(asyncio.run(first_event(trigger)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(event["status"], event["command_id"]) for event in events] == [("success", command.id)] * 2
    assert len(manager.cluster.commands) == 1


def test_no_trigger_fires_in_its_first_seconds_or_is_cut_short(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mrs.operators.base.SHORTEST_DEFERRAL", 10.0)
    manage(command_seconds=60)
    context: Any = {}
    before = time.time()

    with pytest.raises(TaskDeferred) as deferral:
        stop(deferrable=True).execute(context)
    after = time.time()

    trigger: Any = deferral.value.trigger
    assert before + 10 <= trigger.not_before <= after + 10
    assert before + 100 <= trigger.deadline <= after + 100
    assert deferral.value.timeout is not None
    assert trigger.deadline + TRIGGER_GRACE - after <= deferral.value.timeout.total_seconds()
    assert deferral.value.timeout.total_seconds() <= 100 + TRIGGER_GRACE


@pytest.mark.parametrize("error", ["LoginRefused", "CommandFailed"])
def test_airflow_retries_what_may_pass(error: str) -> None:
    """What a trigger says of the errors that the worker would have met itself."""
    event = {"status": "error", "error": error, "message": "why"}
    context: Any = {}

    with pytest.raises(AirflowFailException if error == "LoginRefused" else CommandFailed, match="why"):
        stop().execute_complete(context, event)


# ---- the way in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "word"),
    [
        ("wrong_password", "password"),
        ("locked", "locked"),
        ("modify_password", "password"),
        ("captcha", "CAPTCHA|captcha|verification"),
    ],
)
def test_the_account_is_not_let_in(manager: Simulator, page: Any, word: str) -> None:
    manager.faults.set("login", LoginPage(page))

    for _ in range(3):
        with pytest.raises(AirflowFailException, match=f"'mrs_default'.*({word})") as failure:
            carry_out(stop(), Store())
        assert manager.password not in str(failure.value)

    assert manager.journal.logins_attempted == 1


def test_eight_triggers_with_a_rejected_password(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "wrong"))

    async def wait_eight_times() -> list[Any]:
        triggers = [MRSCommandTrigger("mrs_default", number, time.time() + 20) for number in range(8)]
        return await asyncio.gather(*map(first_event, triggers))

    events = asyncio.run(wait_eight_times())

    assert [event["error"] for event in events] == ["LoginRefused"] * 8
    assert manager.journal.logins_attempted == 1


@pytest.mark.parametrize("certificate", ["expired", "other_host", "untrusted"])
def test_a_certificate_is_refused(manage: Manage, monkeypatch: pytest.MonkeyPatch, certificate: str) -> None:
    untrusted = certificate == "untrusted"
    manager = manage(certificate="good" if untrusted else certificate)
    if untrusted:
        monkeypatch.setenv(
            "AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace('"ca_cert"', '"no_cert"')
        )

    with pytest.raises(AirflowFailException, match=r"'mrs_default'.*ca_cert.*No credential was sent"):
        carry_out(stop(), Store())

    event = asyncio.run(first_event(MRSCommandTrigger("mrs_default", 1, time.time() + 20)))
    assert event["error"] == "CertificateRefused"
    assert manager.journal.logins_attempted == 0


@pytest.mark.parametrize("call", ["login_page", "login", "login_check", "service", "stop"])
def test_a_redirect_to_a_foreign_host(manage: Manage, call: str) -> None:
    manager, foreigner = manage(), manage()
    manager_connection = manager.connection_json
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager_connection)
        manager.faults.set(call, Redirect(f"https://{foreigner.host}:{foreigner.web_port}/web/v1/"))

        with pytest.raises(Exception, match="'mrs_default'"):
            carry_out(stop(), Store())

    assert not foreigner.journal.connections
    assert stops(manager) == 0
