from __future__ import annotations

import pytest

from airflow_mrs.manager.model import Command, CommandState, FailedEntity, ServiceState, Step


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("started active normal good Partially-Healthy subhealthy concerning faulty BAD", ServiceState.UP),
        ("STOPPED not_started Not-Started NOTSTARTED", ServiceState.DOWN),
        ("Starting", ServiceState.STARTING),
        ("stopping", ServiceState.STOPPING),
        ("unknown failed_to_start Failed-to-Stop hibernating", ServiceState.UNKNOWN),
    ],
)
def test_words_for_states(words: str, state: ServiceState) -> None:
    assert {ServiceState.from_word(word) for word in words.split()} == {state}


def test_spaces_do_not_matter_and_no_word_decides_nothing() -> None:
    assert ServiceState.from_word("  Not \t started ") is ServiceState.DOWN
    assert ServiceState.from_word("") is ServiceState.UNKNOWN


def test_only_up_and_down_are_settled() -> None:
    assert [state for state in ServiceState if state.settled] == [ServiceState.UP, ServiceState.DOWN]


@pytest.mark.parametrize(
    ("trace", "has_run"),
    [
        ({}, False),
        ({"error_code": -1, "error_description": "x"}, False),
        ({"progress": 1}, True),
        ({"steps": (Step("a", ""),)}, True),
        ({"failed_entities": (FailedEntity("a", "STOP"),)}, True),
    ],
)
def test_a_run_leaves_a_trace(trace: dict[str, object], has_run: bool) -> None:
    assert Command(1, CommandState.FAILED, "FAILED", **trace).has_run is has_run  # type: ignore[arg-type]


def test_a_failure_names_code_text_and_every_entity() -> None:
    entities = (FailedEntity("RegionServer@n1", "STOP"), FailedEntity("HMaster@n2", ""))
    failed = Command(1, CommandState.FAILED, "FAILED", -300, "in use", failed_entities=entities)
    assert failed.failure == "error -300: in use; failed on RegionServer@n1 (STOP), HMaster@n2"
    assert Command(1, CommandState.FAILED, "FAILED").failure == "error 0: without a text"
