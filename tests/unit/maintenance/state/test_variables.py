"""What is unreadable is never taken for absent."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.maintenance.state import variables
from airflow_mrs.maintenance.state.variables import MOST_INDEXED, PATIENCE, VariablesUnreadable
from tests.unit.maintenance.crowd import Actor, Crowd, simulated
from tests.unit.maintenance.state.fakes import Unlisted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.maintenance.state.fakes import Time


def break_down(airflow: type[Unlisted], broken: Callable[[str], bool]) -> None:
    airflow.broken = staticmethod(broken)


def test_what_is_there_is_read(airflow: type[Unlisted]) -> None:
    variables.write("a", "text", "for people")

    assert variables.read("a") == "text"


def test_what_was_never_there_is_absent(airflow: type[Unlisted]) -> None:
    assert variables.read("a") is None


def test_what_was_deleted_is_absent(airflow: type[Unlisted]) -> None:
    variables.write("a", "text", "")
    variables.delete("a")

    assert variables.read("a") is None


@pytest.mark.parametrize("is_there", [True, False])
def test_in_an_outage_nothing_is_absent(airflow: type[Unlisted], clock: Time, *, is_there: bool) -> None:
    if is_there:
        variables.write("a", "text", "")
    break_down(airflow, lambda _: True)
    begun = clock.now

    with pytest.raises(VariablesUnreadable, match="'a' can't be read"):
        variables.read("a")

    assert 0 < clock.now - begun <= PATIENCE


def test_where_only_single_reads_fail_nothing_is_absent(airflow: type[Unlisted]) -> None:
    """So it is when the API server answers 404 for an error of its database, while other calls come through."""
    variables.write("a", "text", "")
    break_down(airflow, lambda call: call == "get")

    with pytest.raises(VariablesUnreadable):
        variables.read("a")


@pytest.mark.parametrize("calls", range(1, 8))
def test_an_outage_of_a_moment_passes(airflow: type[Unlisted], calls: int) -> None:
    variables.write("a", "text", "")
    left = iter(range(calls))
    break_down(airflow, lambda _: next(left, None) is not None)

    assert variables.read("a") == "text"


def test_what_can_not_be_listed_is_an_error(airflow: type[Unlisted]) -> None:
    variables.write("a_1", "text", "")
    variables.enlist("a_1")
    break_down(airflow, lambda _: True)

    with pytest.raises(VariablesUnreadable, match=r"a_\.\.\. can't be listed"):
        variables.keys("a_")


@pytest.mark.parametrize("call", [lambda: variables.write("a", "b", ""), lambda: variables.delete("a")])
def test_what_is_not_confirmed_is_an_error(airflow: type[Unlisted], call: Callable[[], None]) -> None:
    break_down(airflow, lambda _: True)

    with pytest.raises(VariablesUnreadable):
        call()


def test_what_is_enlisted_is_listed(airflow: type[Unlisted]) -> None:
    for key in ("a_2", "a_1", "b_1"):
        variables.write(key, "text", "")
        variables.enlist(key)

    assert variables.keys("a_") == ["a_1", "a_2"]


NO_INDEX = [
    "by hand",
    "5",
    "null",
    '"mrs_window_1"',
    '{"mrs_window_1": 1}',
    "[1]",
    '[["a"]]',
    "[" * 100_000,
    "",
]


@pytest.mark.parametrize("text", NO_INDEX, ids=lambda text: text[:20])
@pytest.mark.parametrize("airflow", [Unlisted], indirect=True)
def test_an_edited_index_is_no_empty_one(airflow: type[Unlisted], clock: Time, text: str) -> None:
    airflow.rows[variables.Indexed.copies[0]] = text
    begun = clock.now

    with pytest.raises(VariablesUnreadable, match="somebody has edited them"):
        variables.keys("a_")

    assert clock.now == begun  # it does not pass by itself


@pytest.mark.parametrize("text", NO_INDEX, ids=lambda text: text[:20])
@pytest.mark.parametrize("airflow", [Unlisted], indirect=True)
def test_what_one_copy_of_the_index_has_lost_is_in_the_others(airflow: type[Unlisted], text: str) -> None:
    variables.enlist("a_1")
    airflow.rows[variables.Indexed.copies[1]] = text

    variables.enlist("a_2")

    assert variables.keys("a_") == ["a_1", "a_2"]
    assert variables.damaged() == [variables.Indexed.copies[1]]
    assert airflow.rows[variables.Indexed.copies[1]] == text  # for somebody to see


@pytest.mark.parametrize("airflow", [Unlisted], indirect=True)
def test_a_window_goes_on_where_no_copy_of_the_index_is_left(airflow: type[Unlisted]) -> None:
    for copy in variables.Indexed.copies:
        airflow.rows[copy] = "5"

    variables.enlist("a_1")

    assert variables.damaged() == list(variables.Indexed.copies)


def test_no_index_is_damaged_where_there_is_none(airflow: type[Unlisted]) -> None:
    assert variables.damaged() == []


@pytest.mark.parametrize("airflow", [Unlisted], indirect=True)
def test_an_index_does_not_grow(airflow: type[Unlisted]) -> None:
    for number in range(3 * MOST_INDEXED):
        variables.enlist(f"mrs_window_one_{number:04}")
    variables.enlist("mrs_window_two_0001")

    entries = json.loads(airflow.rows[variables.Indexed.copies[0]])
    assert len(entries) == MOST_INDEXED + 1
    assert f"mrs_window_one_{3 * MOST_INDEXED - 1:04}" in entries


@pytest.mark.parametrize("seed", range(20))
def test_ten_that_enlist_at_once_are_all_listed(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    dice = random.Random(seed)
    crowd = Crowd(iter([]), listed=False)
    with simulated(monkeypatch, crowd):
        for number in range(10):
            actor = Actor(crowd, str(number), lambda number=number: variables.enlist(f"cluster_{number}"))  # type: ignore[misc]
            actor.wakes += dice.random()
        crowd.run()

    assert len(json.loads(crowd.variables[variables.Indexed.copies[0]])) == 10
