"""What stands still between its note and its request sends nothing: by the blocking driver, over TLS against the simulator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from airflow_mrs.manager import client as driver
from airflow_mrs.manager import protocol
from airflow_mrs.manager.aio import AsyncClient
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.errors import InvalidArgument, TooLate
from airflow_mrs.manager.note import Note, Submitted
from airflow_mrs.manager.sending import SENT_WITHIN
from airflow_mrs.manager.steps import OutOfPatience, Pause, Remember, Send
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import Contact
from tests.integration.conftest import log, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.simulator import Simulator

    Simulate = Callable[..., Simulator]

STOP = ServiceChange(Action.STOP, "HBase")
NOTE = Note(STOP.identity).submitting()
LONG = SENT_WITHIN + 1


class Clocks:
    """The clocks of the driver, which stand still only if they are told to while the process does."""

    CLOCK_BOOTTIME = 7

    def __init__(self) -> None:
        self.wall = self.uptime = 0.0

    def time(self) -> float:
        return time.time() + self.wall

    def clock_gettime(self, _: int) -> float:
        return time.monotonic() + self.uptime

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, _: float) -> None:
        """A pause between two tries need not last."""


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(driver, "time", clocks)
    return clocks


class Worker:
    """What sends: a client, and the notes that were asked of it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.client = Client(settings_of(simulator))
        self.notes: list[dict[str, str | int]] = []
        self.sent_at_notes: list[int] = []
        self.at_note: Callable[[], object] = lambda: None

    def remember(self, note: dict[str, str | int]) -> None:
        self.notes.append(note)
        if note["phase"] == "submitting":
            self.sent_at_notes.append(self.sent)
            self.at_note()

    def submit(self) -> Submitted:
        now = time.time()
        return self.client.run(
            submit(Contact("the test", 0.05, now + 100, now), STOP, None), log, remember=self.remember
        )

    @property
    def sent(self) -> int:
        """How many requests to stop have reached Manager."""
        return self.simulator.journal.requests["stop"]

    @property
    def phases(self) -> list[str | int]:
        return [note["phase"] for note in self.notes]


@pytest.fixture
def worker(simulate: Simulate) -> Iterator[Worker]:
    worker = Worker(simulate())
    with closing(worker.client):
        yield worker


@pytest.mark.parametrize("clock", ["wall", "uptime"])
@pytest.mark.parametrize("times", [1, 2])
def test_who_stood_still_in_its_note_looks_and_notes_again(
    worker: Worker, clocks: Clocks, clock: str, times: int
) -> None:
    def stand_still() -> None:
        if len(worker.sent_at_notes) <= times:
            setattr(clocks, clock, getattr(clocks, clock) + LONG)

    worker.at_note = stand_still
    assert worker.submit().command_id is not None
    assert worker.sent_at_notes == [0] * (times + 1)
    assert worker.sent == 1
    assert worker.simulator.journal.requests["service"] == times + 1


def test_who_always_stands_still_sends_nothing(worker: Worker, clocks: Clocks) -> None:
    def stand_still() -> None:
        clocks.uptime += LONG

    worker.at_note = stand_still
    with pytest.raises(TooLate, match=r"'mrs_test'.*nothing was sent"):
        worker.submit()
    assert worker.sent == 0
    assert worker.phases == [*["submitting"] * 3, "done"]


def test_a_clock_that_is_set_back_hides_nothing(worker: Worker, clocks: Clocks) -> None:
    def stand_still() -> None:
        if len(worker.sent_at_notes) == 1:
            clocks.uptime += LONG
            clocks.wall -= 3600

    worker.at_note = stand_still
    worker.submit()
    assert worker.sent_at_notes == [0, 0]


def test_who_stands_still_while_it_connects(
    worker: Worker, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    shake_hands = driver._BoundedSocket.do_handshake

    def stand_still(self: Any, *args: Any) -> None:
        shake_hands(self, *args)
        if len(worker.sent_at_notes) == 1:
            clocks.uptime += LONG

    worker.at_note = worker.client._adapter.close
    monkeypatch.setattr(driver._BoundedSocket, "do_handshake", stand_still)
    worker.submit()
    assert worker.sent_at_notes == [0, 0]
    assert worker.sent == 1


def test_who_stands_still_between_head_and_body_leaves_it_to_the_state(
    worker: Worker, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mrs.manager.submission.CONTRADICTING_SECONDS", 0.2)
    send = driver._BoundedSocket.sendall

    def stand_still(self: Any, data: bytes, flags: int = 0) -> None:
        send(self, data, flags)
        if bytes(data).startswith(b"POST /web/v1/maintain") and len(worker.sent_at_notes) == 1:
            clocks.uptime += LONG

    monkeypatch.setattr(driver._BoundedSocket, "sendall", stand_still)
    worker.submit()
    assert len(worker.sent_at_notes) == 2
    assert worker.simulator.journal.requests["service"] > 5  # one look would not do
    assert worker.simulator.journal.accepted("HBase", "stop") == 1


def test_a_login_comes_before_the_note(worker: Worker, clocks: Clocks) -> None:
    log_in = worker.client._log_in

    def slowly(step: Any) -> None:
        log_in(step)
        clocks.uptime += LONG

    worker.client._log_in = slowly  # type: ignore[method-assign]

    def lose_the_session() -> None:
        if len(worker.notes) == 1:
            worker.simulator.expire_sessions()

    worker.at_note = lose_the_session
    assert worker.submit().command_id is not None
    assert worker.phases == ["submitting", "submitting", "submitted"]  # each request has a note of its own
    assert worker.simulator.journal.accepted("HBase", "stop") == 1
    assert worker.simulator.journal.requests["service"] == 1


class Denied(BaseException):
    """Nobody catches this by accident."""


@pytest.mark.parametrize(
    "error", [Denied("no"), RuntimeError("no"), StopIteration(), InvalidArgument("no"), TooLate("no")]
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_an_error_of_the_keeping_ends_the_run_untouched(
    worker: Worker, error: BaseException, logged_in: bool
) -> None:
    closed: list[Exception | None] = []

    def procedure() -> Procedure[None]:
        try:
            yield Send(STOP.send(), NOTE, SENT_WITHIN)
        except Exception as seen:  # noqa: BLE001 - there is to be none
            closed.append(seen)
        finally:
            closed.append(None)

    def remember(note: dict[str, str | int]) -> None:
        assert note == NOTE
        raise error

    if logged_in:
        worker.client.call(protocol.list_clusters())
    with pytest.raises(type(error)) as caught:
        worker.client.run(procedure(), log, remember=remember)
    assert caught.value is error
    assert closed == [None]
    assert worker.sent == 0


def test_what_has_no_note_has_no_bound(
    worker: Worker, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in = worker.client._log_in

    def slowly(step: Any) -> None:
        log_in(step)
        clocks.uptime += LONG

    monkeypatch.setattr(worker.client, "_log_in", slowly)
    assert worker.client.call(STOP.send()).id > 0


# ---- a process that really stands still --------------------------------------------------------------------

STANDS_STILL = """
import json, logging, os, signal, sys, time
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.settings import Settings
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import Contact

notes = []

def remember(note):
    notes.append(note["phase"])
    if note["phase"] == "submitting":
        os.kill(os.getpid(), signal.SIGSTOP)

now = time.time()
contact = Contact("the test", 0.1, now + 600, now)
client = Client(Settings(**json.load(sys.stdin)))
submitted = client.run(
    submit(contact, ServiceChange(Action.STOP, "HBase"), None), logging.getLogger(), remember=remember
)
print(json.dumps([notes, submitted.command_id, submitted.over]))
"""


def wait_until_it_stands_still(process: psutil.Process) -> None:
    while process.status() != psutil.STATUS_STOPPED:
        assert process.status() != psutil.STATUS_ZOMBIE, "it is over"
        time.sleep(0.02)


@pytest.mark.parametrize("done_meanwhile", [True, False])
def test_a_stopped_process_that_goes_on_sends_nothing_of_what_it_had_noted(
    simulate: Simulate, done_meanwhile: bool
) -> None:
    simulator = simulate()
    settings = asdict(settings_of(simulator))
    del settings["known_as"]  # which JSON makes a list of
    child = subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(settings))
        child.stdin.close()
        child.stdin = None
        process = psutil.Process(child.pid)

        wait_until_it_stands_still(process)
        if done_meanwhile:
            simulator.cluster.set_state("HBase", "stopped")
        time.sleep(SENT_WITHIN + 0.5)
        child.send_signal(signal.SIGCONT)
        if not done_meanwhile:
            wait_until_it_stands_still(process)
            assert simulator.journal.requests["stop"] == 0
            assert simulator.journal.requests["service"] == 2
            child.send_signal(signal.SIGCONT)
        notes, command_id, over = json.loads(child.communicate(timeout=60)[0])
    finally:
        child.kill()
        child.wait()

    if done_meanwhile:
        assert (notes, command_id, over) == (["submitting"], None, True)
        assert simulator.journal.requests["stop"] == 0
    else:
        assert notes == ["submitting", "submitting", "submitted"]
        assert simulator.journal.requests["stop"] == 1


# ---- the drivers close what they ran -----------------------------------------------------------------------


def unfinished(closed: list[bool], step: Any) -> Procedure[None]:
    try:
        yield step
    finally:
        closed.append(True)


def test_the_blocking_driver_closes_a_procedure_that_it_does_not_finish(worker: Worker) -> None:
    closed: list[bool] = []
    procedure = unfinished(closed, Pause(60))
    with pytest.raises(OutOfPatience):
        worker.client.run(procedure, log, until=time.time())
    assert closed == [True]


@pytest.mark.parametrize("step", [Remember(NOTE), Send(STOP.send(), NOTE, SENT_WITHIN)])
async def test_the_asynchronous_driver_sends_nothing_and_closes_the_procedure(
    simulate: Simulate, step: object
) -> None:
    closed: list[bool] = []
    client = AsyncClient(settings_of(simulate()))
    procedure = unfinished(closed, step)
    with pytest.raises(TypeError):
        await client.run(procedure, log, max_age=0.0)
    assert closed == [True]
    await client.close()
