"""Who holds a cluster, under claims at the same moment."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.maintenance import ledger as module
from airflow_mrs.maintenance.ledger import Ledger
from airflow_mrs.maintenance.record import Holder, Phase, Record
from airflow_mrs.manager.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLING = 0.05


class Variables:
    """Stands in for Airflow's Variables, which need an API server: here each call can be made to take its time."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.delay: Callable[[], float] = lambda: 0.0

    def get(self, key: str, default: str | None) -> str | None:
        time.sleep(self.delay())
        return self.rows.get(key, default)

    def set(self, key: str, value: str, description: str) -> None:
        time.sleep(self.delay())
        self.rows[key] = value


class Time:
    """Stands in for the module: nothing takes any time but sleep, and that only here."""

    def __init__(self) -> None:
        self._now = 1e9

    def time(self) -> float:
        return self._now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    variables = Variables()
    monkeypatch.setattr(module, "Variable", variables)
    return variables


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(module, "time", clock)
    return clock


def open_ledger() -> Ledger:
    return Ledger.of(Settings("mrs_default", "10.0.0.5", auth="none"), 1)


@pytest.fixture
def ledger(variables: Variables, clock: Time) -> Ledger:
    return open_ledger()


def record(run_id: str = "one", *before: str) -> Record:
    return Record(Holder("a_dag", run_id, "maintenance"), "mrs_default", 1, before, 0.0, None, 9e9)


def test_a_free_cluster_is_taken(ledger: Ledger) -> None:
    wanted = record("one", "HDFS", "HBase")

    assert ledger.claim(wanted, None) == wanted
    assert ledger.read() == wanted
    assert Ledger.all() == [ledger]


def test_a_held_one_is_not(ledger: Ledger) -> None:
    held = ledger.claim(record("one"), None)

    assert ledger.claim(record("two"), None) == held
    assert ledger.read() == held


def test_a_closed_one_is_free_again(ledger: Ledger) -> None:
    ledger.write(replace(record("one", "Kafka"), phase=Phase.CLOSED))

    assert ledger.claim(record("two", "HBase"), None) == record("two", "HBase")


def test_what_a_dead_one_left_down_is_remembered(ledger: Ledger) -> None:
    dead = record("one", "HDFS", "HBase")
    ledger.write(dead)

    claimed = ledger.claim(record("two", "Hive", "HDFS"), dead)

    assert claimed == record("two", "HDFS", "HBase", "Hive")


def test_one_that_came_to_life_again_is_not_taken_over(ledger: Ledger) -> None:
    dead = record("one")
    ledger.write(replace(dead, before=("HBase",)))

    assert ledger.claim(record("two"), dead) == ledger.read()


def test_a_lock_that_somebody_died_with_lapses(ledger: Ledger, variables: Variables, clock: Time) -> None:
    variables.rows[f"{ledger.name}_lock"] = f'{{"by": "somebody", "until": {clock.time() + 60}}}'
    assert ledger.claim(record(), None) is None

    clock.sleep(60)
    assert ledger.claim(record(), None) == record()


def test_of_many_at_once_one_at_most_has_it(variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLING_SECONDS", SETTLING)

    somebody_has_it = [compete(variables, seed) for seed in range(20)]

    # Those who are too slow back off, which may be all of them, but hardly each time.
    assert any(somebody_has_it)


def compete(variables: Variables, seed: int) -> bool:
    """Let six claim a cluster; tell whether one of them has got it."""
    variables.rows.clear()
    ledger, dice = open_ledger(), random.Random(seed)
    variables.delay = lambda: dice.choice([0.0, 0.0, SETTLING / 8, SETTLING / 4, SETTLING])
    claims: list[tuple[str, Record | None]] = []

    def claim(run_id: str) -> None:
        time.sleep(dice.random() * 3 * SETTLING)
        claims.append((run_id, ledger.claim(record(run_id), None)))

    threads = [threading.Thread(target=claim, args=[str(number)]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claims) == len(threads)
    winners = {run_id for run_id, held in claims if held is not None and held.holder.run_id == run_id}
    assert len(winners) <= 1
    held = ledger.read()
    assert winners == (set() if held is None else {held.holder.run_id})
    return bool(winners)


def test_ledgers_are_told_apart_by_host_and_port_and_cluster() -> None:
    settings = [
        Settings("a", "10.0.0.5", auth="none"),
        Settings("b", "10.0.0.6", auth="none"),
        Settings("c", "10.0.0.5", port=28444, auth="none"),
    ]

    assert len({Ledger.of(one, cluster).name for one in settings for cluster in (1, 2)}) == 6
    assert Ledger.of(Settings("d", "fe80::1", auth="none"), 1).name == "mrs_window_fe80_1_28443_1"


def test_durations_are_kept_beside_it(ledger: Ledger) -> None:
    assert ledger.read_durations() == {}

    ledger.write_durations({"HBase": {"stop": 12.5}})

    assert ledger.read_durations() == {"HBase": {"stop": 12.5}}
    assert ledger.read() is None


def test_a_record_is_kept_as_json() -> None:
    kept = replace(record("one", "HBase"), phase=Phase.CLOSING, cutoff=12.5)

    assert Record.from_json(kept.to_json()) == kept
