from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_mrs.notes import NoteKeeper

log = logging.getLogger(__name__)


class Store:
    """A store that may be out of reach."""

    def __init__(self, *, down: bool = False) -> None:
        self.content: dict[str, Any] = {}
        self.down = down

    def get(self, key: str) -> Any:
        return self.content.get(key)

    def set(self, key: str, value: Any) -> None:
        if self.down:
            raise ConnectionError
        self.content[key] = value


def keeper(store: Store | None) -> NoteKeeper:
    return NoteKeeper({"task_state_store": store} if store else {}, log)  # type: ignore[typeddict-item]


def test_a_note_is_there_for_the_next_try() -> None:
    store = Store()
    keeper(store).keep({"phase": "submitting"})
    keeper(store).keep({"phase": "submitted", "command_id": 4100})
    assert keeper(store).kept() == {"phase": "submitted", "command_id": 4100}


def test_without_a_store_nothing_is_kept() -> None:
    keeper(None).keep({"phase": "submitting"})
    assert keeper(None).kept() is None


def test_nothing_is_sent_of_which_no_note_can_be_kept() -> None:
    with pytest.raises(ConnectionError):
        keeper(Store(down=True)).keep({"phase": "submitting"})


@pytest.mark.parametrize("phase", ["submitted", "done"])
def test_later_notes_are_dispensable(phase: str, caplog: pytest.LogCaptureFixture) -> None:
    keeper(Store(down=True)).keep({"phase": phase})
    assert "could not be kept: ConnectionError" in caplog.text
