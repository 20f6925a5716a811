"""What the waits of one event loop share: the session, connections and polls. And that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import warnings
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest

from airflow_mrs.manager import aio, protocol
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import LoginRefused, MRSError, Unreachable
from airflow_mrs.manager.model import Command, CommandState
from airflow_mrs.manager.waiting import Contact, wait_for_change, wait_for_command
from airflow_mrs.simulator.faults import Hold, Stall, Truncate
from airflow_mrs.triggers.command import MRSCommandTrigger
from tests.integration.conftest import log, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Logger
    from airflow_mrs.simulator import Simulator

    Simulate = Callable[..., Simulator]

POLL_INTERVAL = 0.2
LONG = 600.0
SERVICES = ["HBase", "Kafka", "Storm", "Hue", "Oozie", "Loader", "Flink", "Hive", "Yarn", "HDFS"]

waiter: ContextVar[str] = ContextVar("waiter")


def contact(name: str = "the test") -> Contact:
    now = time.time()
    return Contact(name, POLL_INTERVAL, now + 100, now)


async def wait(settings: Settings, command_id: int, logger: Logger = log) -> Command:
    async with aio.shared_client(settings) as client:
        procedure = wait_for_command(contact(), command_id)
        return await client.run(procedure, logger, max_age=POLL_INTERVAL / 2)


async def wait_until_down(settings: Settings, service: str) -> None:
    async with aio.shared_client(settings) as client:
        procedure = wait_for_change(contact(), ServiceChange(Action.STOP, service, 1), None)
        await client.run(procedure, log, max_age=POLL_INTERVAL / 2)


async def become_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.02)


def connections(simulator: Simulator) -> int:
    """How many TCP connections this process holds open as a client."""
    ports = {simulator.web_port, simulator.cas_port}
    open_ones = psutil.Process().net_connections("tcp")
    return sum(
        bool(one.raddr) and one.raddr.port in ports and one.status == "ESTABLISHED" for one in open_ones
    )


@pytest.fixture
def linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client outlive for long those who used it."""
    monkeypatch.setattr(aio, "_LINGER", 0.2)


# ---- sharing


async def test_many_waits_share_one_login_and_few_connections(simulate: Simulate, linger: None) -> None:
    simulator = simulate(command_seconds=LONG)
    settings = settings_of(simulator)
    for service in SERVICES:
        simulator.cluster.set_state(service, "stopping", seconds=LONG)
    command = simulator.cluster.stop("Spark2x")

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(wait_until_down(settings, SERVICES[number % len(SERVICES)]))
            group.create_task(wait(settings, command.id))
        await become_true(lambda: simulator.journal.requests["service"] >= 2 * len(SERVICES))
        await become_true(lambda: simulator.journal.polls >= 2)
        simulator.pass_time(LONG)

    assert simulator.journal.logins_attempted == 1
    assert simulator.journal.connections["web"] <= 8
    assert simulator.journal.connections["cas"] <= 2


async def test_waits_for_the_same_command_share_polls(simulate: Simulate, linger: None) -> None:
    simulator = simulate(command_seconds=LONG)
    settings = settings_of(simulator)
    command = simulator.cluster.stop("HBase")

    begun = time.monotonic()
    waits = [asyncio.create_task(wait(settings, command.id)) for _ in range(50)]
    await become_true(lambda: simulator.journal.polls > 2)
    simulator.pass_time(LONG)
    over = await asyncio.gather(*waits)
    elapsed = time.monotonic() - begun

    assert {each.state for each in over} == {CommandState.COMPLETE}
    assert simulator.journal.polls <= elapsed / (POLL_INTERVAL / 2) + 2


async def test_a_waiter_that_leaves_does_not_disturb_the_others(simulate: Simulate, linger: None) -> None:
    simulator = simulate()
    settings = settings_of(simulator)
    command = simulator.cluster.stop("HBase")
    hold = Hold()
    simulator.faults.set("progress", hold, times=1)

    first = asyncio.create_task(wait(settings, command.id))
    await become_true(lambda: simulator.journal.polls == 1)
    others = [asyncio.create_task(wait(settings, command.id)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    await become_true(lambda: simulator.cluster.running is None)
    hold.release()

    assert {over.state for over in await asyncio.gather(*others)} == {CommandState.COMPLETE}
    assert first.cancelled()
    assert simulator.journal.polls == 1


async def test_a_waiter_that_leaves_during_the_login_does_not_disturb_it(
    simulate: Simulate, linger: None
) -> None:
    simulator = simulate()
    settings = settings_of(simulator)
    command = simulator.cluster.stop("HBase")
    hold = Hold()
    simulator.faults.set("login", hold, times=1)

    first = asyncio.create_task(wait_until_down(settings, "HBase"))
    await become_true(lambda: simulator.journal.requests["login"] == 1)
    other = asyncio.create_task(wait(settings, command.id))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    hold.release()

    assert (await other).state is CommandState.COMPLETE
    assert simulator.journal.logins_attempted == 1


class Lines:
    """A waiter's own log; it notes in whose context each line was written."""

    def __init__(self) -> None:
        self.written_by: list[str] = []

    def log(self, level: int, message: str, /, *args: object) -> None:
        self.written_by.append(waiter.get())


async def test_what_a_shared_poll_has_to_tell_goes_to_the_log_of_each(
    simulate: Simulate, linger: None
) -> None:
    simulator = simulate(command_seconds=LONG)
    settings = settings_of(simulator)
    command = simulator.cluster.stop("HBase")
    logs = {f"waiter {number}": Lines() for number in range(5)}

    async def wait_as(name: str) -> None:
        waiter.set(name)
        await wait(settings, command.id, logs[name])

    waits = [asyncio.create_task(wait_as(name)) for name in logs]
    await become_true(lambda: all(lines.written_by for lines in logs.values()))
    simulator.pass_time(LONG / 10)  # of a wait, only what changes is logged
    await become_true(lambda: all(len(lines.written_by) >= 2 for lines in logs.values()))
    simulator.pass_time(LONG)
    await asyncio.gather(*waits)

    for name, lines in logs.items():
        assert set(lines.written_by) == {name}


async def test_a_session_that_many_lose_is_renewed_once(simulate: Simulate, linger: None) -> None:
    simulator = simulate()
    settings = settings_of(simulator)
    for service in SERVICES:
        simulator.cluster.set_state(service, "stopping", seconds=LONG)
    waits = [asyncio.create_task(wait_until_down(settings, service)) for service in SERVICES]
    await become_true(lambda: simulator.journal.requests["service"] >= 2 * len(SERVICES))

    simulator.expire_sessions()
    lost = simulator.journal.requests["service"]
    await become_true(lambda: simulator.journal.requests["service"] >= lost + 3 * len(SERVICES))
    simulator.pass_time(LONG)
    await asyncio.gather(*waits)

    assert simulator.journal.logins_attempted == 2


async def test_those_who_wait_for_a_login_share_its_failure(simulate: Simulate, linger: None) -> None:
    simulator = simulate()
    simulator.faults.set("login_page", Truncate())
    settings = settings_of(simulator)

    async with aio.shared_client(settings) as client:
        calls = [client.read(protocol.get_service(service), max_age=0.0) for service in SERVICES]
        errors = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(error) for error in errors] == [Unreachable] * len(SERVICES)
    assert simulator.journal.requests["login_page"] == 1


async def test_a_wrong_password_is_tried_by_one_of_many(simulate: Simulate, linger: None) -> None:
    simulator = simulate()
    settings = settings_of(simulator, password="not this one")

    waits = [wait_until_down(settings, service) for service in SERVICES]
    errors = await asyncio.gather(*waits, return_exceptions=True)

    assert [type(error) for error in errors] == [LoginRefused] * len(SERVICES)
    assert simulator.journal.logins_attempted == 1


async def test_whoever_comes_back_in_time_finds_the_session(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "_LINGER", 100.0)
    simulator = simulate()
    settings = settings_of(simulator)
    command = simulator.cluster.stop("HBase")

    for _ in range(5):
        await wait(settings, command.id)
        await asyncio.sleep(0.05)

    assert simulator.journal.logins_attempted == 1
    assert simulator.journal.count("logout") == 0


# ---- leaving


async def stay(settings: Settings, simulator: Simulator) -> None:
    """Wait for a command to its end."""
    await wait(settings, simulator.cluster.stop("HBase").id)


async def leave_between_polls(settings: Settings, simulator: Simulator) -> None:
    simulator.cluster.set_state("HBase", "stopping", seconds=LONG)
    task = asyncio.create_task(wait_until_down(settings, "HBase"))
    await become_true(lambda: simulator.journal.requests["service"] >= 2)
    task.cancel()
    await asyncio.wait([task])


async def leave_during_a_poll(settings: Settings, simulator: Simulator) -> None:
    simulator.faults.set("progress", Stall(LONG))
    task = asyncio.create_task(wait(settings, 1))
    await become_true(lambda: simulator.journal.polls == 1)
    task.cancel()
    await asyncio.wait([task])


async def be_thrown_out_by_an_error(settings: Settings, simulator: Simulator) -> None:
    simulator.cluster.fail_next("HBase", "stop")
    with suppress(MRSError):
        await wait(settings, simulator.cluster.stop("HBase").id)


async def leave_as_a_trigger(settings: Settings, simulator: Simulator) -> None:
    simulator.cluster.set_state("HBase", "stopping", seconds=LONG)
    trigger = MRSCommandTrigger(
        "mrs_default",
        None,
        time.time() + 100,
        action="stop",
        service_name="HBase",
        poll_interval=POLL_INTERVAL,
    )

    async def run() -> None:
        async for _ in trigger.run():
            raise AssertionError("nothing is over")

    task = asyncio.create_task(run())
    await become_true(lambda: simulator.journal.requests["service"] >= 2)
    task.cancel()
    await asyncio.wait([task])


WAYS_OUT = [
    stay,
    leave_between_polls,
    leave_during_a_poll,
    be_thrown_out_by_an_error,
    leave_as_a_trigger,
]


@pytest.fixture
def simulator(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    simulator = simulate()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", simulator.connection_json)
    return simulator


@pytest.mark.parametrize("leave", WAYS_OUT)
async def test_after_the_last_one_nothing_stays_behind(
    simulator: Simulator,
    linger: None,
    leave: Callable[[Settings, Simulator], Coroutine[object, object, None]],
) -> None:
    before = asyncio.all_tasks()

    await leave(settings_of(simulator), simulator)

    assert connections(simulator) > 0
    await become_true(lambda: asyncio.all_tasks() == before)
    await become_true(lambda: connections(simulator) == 0)
    assert simulator.journal.count("logout") == min(1, simulator.journal.logins_succeeded)


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What asyncio and aiohttp have to say of what was not closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)

        def collect() -> list[str]:
            gc.collect()
            logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
            ours = [str(warning.message) for warning in caught if "nclosed" in str(warning.message)]
            if aiohttp.__version__ < "3.12":
                ours = []  # it does not wait until what it has closed is closed
            return [line for line in logged if line.startswith(("Unclosed", "Task was"))] + ours

        yield collect


@pytest.mark.parametrize("leave", WAYS_OUT)
def test_a_loop_that_ends_takes_everything_along(
    simulator: Simulator,
    complaints: Callable[[], list[str]],
    leave: Callable[[Settings, Simulator], Coroutine[object, object, None]],
) -> None:
    asyncio.run(leave(settings_of(simulator), simulator))

    assert complaints() == []
    assert connections(simulator) == 0
    assert simulator.journal.count("logout") == min(1, simulator.journal.logins_succeeded)


def test_a_loop_that_ends_under_a_wait_takes_everything_along(
    simulator: Simulator, complaints: Callable[[], list[str]]
) -> None:
    simulator.cluster.set_state("HBase", "stopping", seconds=LONG)
    settings = settings_of(simulator)

    async def end_under_waits() -> None:
        waits = [asyncio.create_task(wait_until_down(settings, "HBase")) for _ in range(3)]
        await become_true(lambda: simulator.journal.requests["service"] >= 2)
        assert not any(task.done() for task in waits)

    asyncio.run(end_under_waits())

    assert complaints() == []
    assert connections(simulator) == 0
    assert simulator.journal.count("logout") == 1
