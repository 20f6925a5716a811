"""Whatever goes wrong around a task: a command is accepted once, and success means that the service is there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mrs.manager.change import Action
from airflow_mrs.manager.model import ServiceState

from .world import Event, World

QUIETLY = {"command_seconds": 30.0, "lag": 0.0, "timeout": 600.0}
HURRIEDLY = {"command_seconds": 4.0, "lag": 8.0, "timeout": 60.0}


def accepted(world: World) -> int:
    return sum(command.ours for command in world.commands)


@pytest.mark.parametrize("action", Action)
def test_nothing_goes_wrong(action: Action) -> None:
    world = World(action)
    assert world.run_task()
    assert accepted(world) == 1
    assert world.note is not None
    assert world.note["phase"] == "done"


@pytest.mark.parametrize("event", Event, ids=lambda event: event.name)
@pytest.mark.parametrize("pace", [QUIETLY, HURRIEDLY], ids=["quietly", "hurriedly"])
def test_one_thing_goes_wrong_at_any_step(event: Event, pace: dict[str, float]) -> None:
    for step in range(15):
        world = World(plan={step: event}, **pace)  # type: ignore[arg-type]
        assert world.run_task(tries=30, retry_delay=0.5), (
            world.story
        )  # the world objects to a frozen one that sends
        assert accepted(world) == 1 or event in {
            Event.OTHER_STARTS,
            Event.OTHER_STOPS,
            Event.COMMANDS_FAIL,
            Event.COMMANDS_FAIL_MUTELY,
        }, world.story


@settings(max_examples=250)
@given(
    action=st.sampled_from(Action),
    plan=st.dictionaries(st.integers(0, 30), st.sampled_from(Event), min_size=2, max_size=6),
    command_seconds=st.sampled_from([0.5, 4.0, 30.0]),
    lag=st.sampled_from([0.0, 2.0, 8.0]),
    timeout=st.sampled_from([20.0, 60.0, 600.0]),
    retry_delay=st.sampled_from([0.5, 60.0]),
    forgets_by_404=st.booleans(),
)
def test_many_things_go_wrong(
    action: Action,
    plan: dict[int, Event],
    command_seconds: float,
    lag: float,
    timeout: float,
    retry_delay: float,
    forgets_by_404: bool,
) -> None:
    world = World(action, plan, command_seconds, lag, timeout, forgets_by_404=forgets_by_404)
    world.run_task(retry_delay=retry_delay)  # the world itself objects to what must not be


# ---- found by the above, and kept ------------------------------------------------------------------------


def test_a_service_slow_to_show_what_was_done_is_not_stopped_again_by_the_next_try() -> None:
    world = World(plan={4: Event.CRASH}, command_seconds=0.5, lag=8.0)
    assert world.run_task(retry_delay=1.0)
    assert accepted(world) == 1


def test_a_lost_answer_at_the_end_of_the_time_is_no_reason_to_send_again_unseen() -> None:
    world = World(plan={2: Event.LOST_AFTER}, lag=5.0, timeout=20.0)
    assert world.run_task(retry_delay=1.0)
    assert accepted(world) == 1


def test_a_request_behind_somebody_elses_command_is_not_sent_again() -> None:
    world = World(Action.START, {0: Event.OTHER_STOPS, 2: Event.PAGE_AFTER}, lag=5.0)
    assert world.run_task(retry_delay=1.0)
    assert accepted(world) == 1


def test_one_unreadable_state_does_not_outweigh_a_contradiction() -> None:
    # The other one's start is behind our stop; the state is "Started" when it can't be read for once.
    world = World(plan={4: Event.OTHER_STARTS, 15: Event.REFUSED}, command_seconds=0.5, timeout=60.0)
    assert not world.run_task(tries=1), world.story


# ---- a task that is cleared by hand ----------------------------------------------------------------------


def test_a_task_cleared_by_hand_stops_the_service_again() -> None:
    world = World()
    assert world.run_task()
    world.begin(ServiceState.UP, ours=False)
    world.clock.now += 100
    assert world.run_task()
    assert accepted(world) == 2


@pytest.mark.parametrize("event", [Event.NOTE_LOST, Event.CRASH], ids=lambda event: event.name)
def test_a_task_cleared_by_hand_stops_the_service_again_though_done_was_never_noted(event: Event) -> None:
    world = World(command_seconds=0.5)
    assert world.run_task()
    world = World(plan={next(world.steps) - 1: event}, command_seconds=0.5)
    world.run_task(tries=1)
    world.begin(ServiceState.UP, ours=False)
    world.clock.now += 100
    assert world.run_task()
    assert accepted(world) == 2


def test_without_a_store_a_second_try_decides_by_the_state() -> None:
    world = World(plan={4: Event.CRASH})
    world.set = lambda key, value: None  # type: ignore[method-assign]
    assert world.run_task()
    assert accepted(world) == 1
