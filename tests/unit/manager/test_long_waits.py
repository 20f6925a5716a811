"""Waits of a week, in simulated time: nothing overflows, grows, drifts or logs without end."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.maintenance.closing import _settle
from airflow_mrs.manager import protocol
from airflow_mrs.manager.aio import AsyncClient
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    ContactLost,
    MRSError,
    RequestRefused,
    StateContradicts,
    StateUndecided,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.manager.model import (
    ClusterHealth,
    Command,
    CommandState,
    Configuration,
    Service,
    ServiceState,
    Step,
)
from airflow_mrs.manager.note import Note, Submitted
from airflow_mrs.manager.pace import Pace
from airflow_mrs.manager.saving import ConfigurationSave, save
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import (
    LONGEST_CHANGE,
    LONGEST_OUTAGE,
    Reading,
    poll_command,
    poll_health,
    poll_service,
    settle,
    wait_for_change,
    wait_for_command,
    wait_until_over,
)
from airflow_mrs.sensors.service import MRSServiceSensor
from airflow_mrs.triggers.base import TRIGGER_GRACE, deferral_timeout

from .driver import NORMAL
from .endurance import DAY, WEEK, Endurance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact

STOP = ServiceChange(Action.STOP, "HBase")
MOST_LINES = 2500
"""Of the worst week, in which every answer tells something new and every other request fails."""

RAMP = 15
"""Polls that come faster than the interval, at the beginning of a wait and where it turns to something else."""

WORDS = {ServiceState.STOPPING: "Stopping", ServiceState.STARTING: "Starting", ServiceState.DOWN: "Stopped"}


def service(state: ServiceState, word: str | None = None) -> Service:
    return Service("HBase", 1, state, WORDS.get(state, "Unknown") if word is None else word)


class Manager:
    """
    A Manager whose every answer tells something else than the one before, until it is all over.

    :param over: when it is, in seconds since the beginning.
    :param before: the states that the service goes through until then, again and again.
    """

    def __init__(self, over: float, before: list[ServiceState]) -> None:
        self.over = over
        self.before = before
        self.answers = count()

    def __call__(self, call: str, elapsed: float) -> object:
        is_over, number = elapsed >= self.over, next(self.answers)
        if call.startswith("POST"):
            return Command(4100, CommandState.IN_PROGRESS, "IN_PROGRESS")
        if "/command/" in call:
            state = CommandState.COMPLETE if is_over else CommandState.IN_PROGRESS
            return Command(
                4100, state, str(state), progress=number % 100, steps=(Step(f"step {number}", ""),)
            )
        if call.endswith("/status"):
            return ClusterHealth.GOOD if is_over else (ClusterHealth.BAD, ClusterHealth.UNKNOWN)[number % 2]
        return service(ServiceState.DOWN if is_over else self.before[number % len(self.before)])


def look_and_settle(contact: Contact) -> Procedure[object]:
    call = protocol.get_service("HBase")
    record: Any = SimpleNamespace(cluster_id=1, before=[])
    return _settle(contact, [call], record)


# ServiceState.UNKNOWN twelve times in a row would be an end of its own.
FLAPPING = [ServiceState.STOPPING, ServiceState.UNKNOWN]
PROCEDURES: dict[str, tuple[Callable[[Contact], Procedure[object]], list[ServiceState]]] = {
    "wait_for_command": (lambda contact: wait_for_command(contact, 4100), FLAPPING),
    "wait_for_change": (lambda contact: wait_for_change(contact, STOP, 4100), FLAPPING),
    "wait_for_change, no id": (lambda contact: wait_for_change(contact, STOP, None), FLAPPING),
    "settle": (lambda contact: settle(contact, STOP, taken_at_its_word=True), [ServiceState.STOPPING]),
    "poll_service": (
        lambda contact: wait_until_over(
            contact, lambda asked: poll_service(asked, protocol.get_service("HBase"), ServiceState.DOWN)
        ),
        [ServiceState.UP, ServiceState.STOPPING],
    ),
    "poll_health": (lambda contact: wait_until_over(contact, lambda asked: poll_health(asked, 1)), FLAPPING),
    "poll_command": (
        lambda contact: wait_until_over(contact, lambda asked: poll_command(asked, 4100)),
        FLAPPING,
    ),
    "submit, letting it settle": (lambda contact: submit(contact, STOP, None), [ServiceState.STARTING]),
    "closing": (look_and_settle, FLAPPING),
}
ASKS = {"closing": 2}
BRIEF = {"submit, letting it settle"}  # what begins something asks three times only
ODD = count()

OUTAGES: dict[str, Callable[[float], MRSError | None]] = {
    "none": lambda _: None,
    "one": lambda elapsed: Unreachable("refused") if DAY <= elapsed < DAY + 550 else None,
    "on and off all week": lambda elapsed: AnswerLost("timed out") if elapsed % 600 >= 300 else None,
    "of every other request": lambda _: AnswerLost("timed out") if next(ODD) % 2 else None,
    "with Retry-After": lambda elapsed: (
        BadAnswer("HTTP 503", retry_after=120.0, gateway=True) if elapsed % 1800 >= 1600 else None
    ),
    "with an endless Retry-After": lambda elapsed: (
        BadAnswer("HTTP 503", retry_after=1e9) if elapsed % DAY >= DAY - 300 else None
    ),
}


def endure(name: str, outage: str, interval: float, over: float = WEEK) -> Endurance:
    """Run a procedure to its end, and require of it what holds of all."""
    procedure, states = PROCEDURES[name]
    driver = Endurance(Manager(over, states), OUTAGES[outage])
    driver.run(procedure(driver.contact(interval)))

    slack = 0.0 if outage == "none" else LONGEST_OUTAGE
    assert over <= driver.elapsed <= over + interval + slack
    answered = driver.asked - driver.failed
    assert answered <= (driver.elapsed / interval + 2 * RAMP) * ASKS.get(name, 1)
    assert driver.failed <= max(answered, driver.elapsed / 20)
    assert len(driver.lines) <= MOST_LINES
    return driver


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("name", sorted(PROCEDURES.keys() - BRIEF))
def test_a_week_of_hourly_polls(name: str, outage: str) -> None:
    endure(name, outage, 3600.0)


@pytest.mark.parametrize("name", sorted(PROCEDURES.keys() - BRIEF))
@pytest.mark.parametrize("outage", ["on and off all week"])
def test_a_week_of_polls_every_five_seconds(name: str, outage: str) -> None:
    endure(name, outage, 5.0)


@pytest.mark.parametrize("name", sorted(PROCEDURES.keys() - BRIEF))
@pytest.mark.parametrize("outage", ["none", "of every other request"])
def test_thirty_thousand_polls_every_hundredth_of_a_second(name: str, outage: str) -> None:
    """A week of them would be sixty million: they come as fast as was asked for, so this is five minutes of them."""
    endure(name, outage, 0.01, over=300.0)


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
@pytest.mark.parametrize("outage", ["none", "of every other request"])
def test_a_service_that_takes_its_time_to_settle_before_it_is_stopped(interval: float, outage: str) -> None:
    endure("submit, letting it settle", outage, interval, over=300.0 if interval == 0.01 else WEEK)


def test_the_1300th_poll() -> None:
    driver = Endurance(Manager(6500.0, FLAPPING))
    driver.run(wait_for_change(driver.contact(5.0), STOP, 4100))
    assert driver.asked > 1300


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
def test_ten_minutes_of_outage_are_the_end_at_any_interval(interval: float) -> None:
    driver = Endurance(Manager(WEEK, FLAPPING), lambda elapsed: Unreachable("refused") if elapsed else None)
    with pytest.raises(ContactLost):
        driver.run(wait_for_command(driver.contact(interval), 4100))
    assert LONGEST_OUTAGE <= driver.elapsed <= LONGEST_OUTAGE + 2
    assert 10 <= driver.failed <= 40  # what is over in between is not taken for one that lasts


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
def test_out_of_time_is_noticed_on_time(interval: float) -> None:
    timeout = 300.0 if interval == 0.01 else WEEK - 1234.5
    driver = Endurance(Manager(2 * WEEK, FLAPPING))
    with pytest.raises(WaitTimedOut):
        driver.run(wait_for_change(driver.contact(interval, timeout), STOP, 4100))
    assert driver.elapsed == pytest.approx(timeout, abs=1e-3)


# ---- what ends by itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
def test_finding_out_ends_by_itself(interval: float) -> None:
    driver = Endurance(Manager(WEEK, [ServiceState.STARTING]), OUTAGES["of every other request"])
    with pytest.raises(StateUndecided):
        driver.run(submit(driver.contact(interval), STOP, Note(STOP.identity).submitting()))
    assert LONGEST_CHANGE <= driver.elapsed <= LONGEST_CHANGE + min(2 * interval, 300.0)
    assert len(driver.lines) <= MOST_LINES


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
def test_a_state_that_tells_nothing_is_given_some_seconds_at_any_interval(interval: float) -> None:
    for kept in (None, Note(STOP.identity).submitting()):
        driver = Endurance(Manager(WEEK, [ServiceState.UNKNOWN]))
        procedure = (
            wait_for_change(driver.contact(interval), STOP, None)
            if kept is None
            else submit(driver.contact(interval), STOP, kept)
        )
        with pytest.raises(StateUndecided):
            driver.run(procedure)
        assert 15.0 <= driver.elapsed <= 3600.0


def test_a_contradiction_after_days_is_noticed_in_minutes_at_any_interval() -> None:
    over = Command(4100, CommandState.COMPLETE, "COMPLETE")
    runs = Command(4100, CommandState.IN_PROGRESS, "IN_PROGRESS")

    def manager(call: str, elapsed: float) -> object:
        if "/command/" in call:
            return over if elapsed >= DAY else runs
        return service(ServiceState.UP, "Started")

    driver = Endurance(manager)
    with pytest.raises(StateContradicts):
        driver.run(wait_for_change(driver.contact(3600.0), STOP, 4100))
    assert DAY <= driver.elapsed <= DAY + 3600 + 60


def test_what_is_asked_once_more_after_days_is_asked_soon() -> None:
    refused = RequestRefused("HTTP 404")
    runs = Command(4100, CommandState.IN_PROGRESS, "IN_PROGRESS")
    driver = Endurance(lambda _, elapsed: refused if elapsed >= DAY else runs)
    with pytest.raises(RequestRefused):
        driver.run(wait_for_command(driver.contact(3600.0), 4100))
    assert driver.elapsed <= DAY + 3600 + 120


@pytest.mark.parametrize("interval", [0.01, 5.0, 3600.0])
def test_saving_takes_its_few_tries_at_any_interval(interval: float) -> None:
    what = ConfigurationSave((Configuration("HDFS", {"dfs.replication": "2"}),))
    outcomes: list[object] = [Unreachable("refused"), AnswerLost("cut"), Unreachable("refused")]
    driver = Endurance(lambda call, _: outcomes.pop(0) if outcomes else Manager(WEEK, FLAPPING)(call, 0.0))
    assert driver.run(save(driver.contact(interval), what, None)) == Submitted(4100)
    assert driver.elapsed <= 3


# ---- what would grow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wait_for_change"])
def test_memory_stays_as_it_is(name: str) -> None:
    tracemalloc.start()
    try:
        driver = endure(name, "on and off all week", 5.0, over=WEEK)
    finally:
        tracemalloc.stop()
    assert len(driver.memory) > 4
    assert driver.memory[-1] - driver.memory[1] < 100_000  # the lines that the test itself keeps


def test_a_pace_lets_all_through_at_first_and_less_and_less_of_it_later() -> None:
    pace = Pace(0.0)
    allowed = [second for second in range(0, int(WEEK), 5) if pace.allows(second)]
    assert allowed[:100] == list(range(0, 500, 5))
    assert sum(second < 3600 for second in allowed) < 350
    assert len(allowed) < 900
    assert max(later - earlier for earlier, later in pairwise(allowed)) < 0.012 * WEEK


def test_what_has_changed_for_good_is_told_later_where_it_was_not_told_at_once() -> None:
    states = iter([*["Starting", "Stopping"] * 20_000, *["Stopping"] * 1000])

    def poll(contact: Contact) -> Procedure[Reading]:
        yield from contact.ask(protocol.get_service("HBase"))
        word = next(states, None)
        return Reading(word is None, word or "over")

    driver = Endurance(lambda *_: service(ServiceState.DOWN))
    driver.run(wait_until_over(driver.contact(5.0), poll))
    assert [text for _, text in driver.lines][-2:] == ["the test: Stopping", "the test: over"]


def test_a_week_of_pokes(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Endurance(
        Manager(WEEK, [ServiceState.UP, ServiceState.STOPPING]), OUTAGES["on and off all week"]
    )
    monkeypatch.setattr(time, "time", lambda: driver.now)
    sensor = MRSServiceSensor(task_id="wait", service_name="HBase", state="down", poke_interval=60.0)
    hook: Any = SimpleNamespace(
        settings=NORMAL, client=SimpleNamespace(run=lambda procedure, _: driver.run(procedure))
    )
    sensor._hook = hook
    while not sensor.poke({}):
        driver.now += 60.0
    assert WEEK <= driver.elapsed <= WEEK + LONGEST_OUTAGE
    assert len(driver.lines) <= MOST_LINES


def test_a_wait_without_an_end_can_be_deferred() -> None:
    """Airflow adds it to the time of the day, after the request was sent."""
    for timeout in (1e12, timedelta.max.total_seconds(), 1e300):
        assert datetime.now(UTC) + deferral_timeout(time.time() + timeout) < datetime.max.replace(tzinfo=UTC)
    assert deferral_timeout(0.0).total_seconds() == TRIGGER_GRACE


async def test_no_answer_is_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour old may the answers be at a poll an hour; what is asked again after a second is asked again."""
    client, driver, asked = AsyncClient(NORMAL), Endurance(lambda *_: None), count()

    async def call(_: object) -> Service:
        next(asked)
        return service(ServiceState.UP, "Started")

    async def sleep(seconds: float) -> None:
        driver.now += seconds

    monkeypatch.setattr(client, "call", call)
    monkeypatch.setattr("airflow_mrs.manager.aio.asyncio.sleep", sleep)
    clock = SimpleNamespace(time=lambda: driver.now, monotonic=lambda: driver.now)
    monkeypatch.setattr("airflow_mrs.manager.aio.time", clock)
    with pytest.raises(StateContradicts):
        await client.run(
            settle(driver.contact(3600.0), STOP, taken_at_its_word=True),
            SimpleNamespace(log=print),
            max_age=1800.0,
        )
    assert next(asked) >= 5
