from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mrs.manager.note import Note
from airflow_mrs.notes import NoteKeeper

log = logging.getLogger(__name__)

NOTE = Note({"action": "stop"})


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


def keeper(store: Store | None, max_tries: int = 0) -> NoteKeeper:
    context: Any = {"ti": SimpleNamespace(max_tries=max_tries)}
    return NoteKeeper(context | {"task_state_store": store} if store else context, log)


def test_a_note_is_there_for_the_next_try() -> None:
    store = Store()
    keeper(store).keep(NOTE.submitting())
    keeper(store).keep(NOTE.submitted(4100))
    note = NOTE.read(keeper(store).kept())
    assert (note.phase, note.command_id) == ("submitted", 4100)


def test_a_note_tells_whether_the_task_was_cleared_since() -> None:
    store = Store()
    keeper(store, max_tries=2).keep(NOTE.submitting())
    assert not NOTE.read(keeper(store, max_tries=2).kept()).cleared
    assert NOTE.read(keeper(store, max_tries=3).kept()).cleared


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
