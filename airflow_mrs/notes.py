"""Where a task keeps the note for its next try: Airflow's ``task_state_store``, from 3.3 on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.manager.steps import Logger

COMMAND, BEGINNING = "mrs_command", "mrs_begun"
"""The keys: of a command, and of when the first try began."""


class NoteKeeper:
    """
    Keeps a note under a key of the task's store. Below Airflow 3.3 there is none, and nothing is kept.

    It adds ``max_tries``, which Airflow raises when somebody clears the task, and never for a retry.

    :param context: Airflow's context.
    :param log: where a note that could not be kept is named.
    :param key: the key.
    """

    def __init__(self, context: Context, log: Logger, key: str = COMMAND) -> None:
        self._key = key
        self._store: Any = context.get("task_state_store")
        self._max_tries = getattr(context.get("ti"), "max_tries", 0)
        self._log = log

    @property
    def there_is_a_store(self) -> bool:
        """Whether a further try can learn of this one."""
        return self._store is not None

    def kept(self) -> Mapping[str, object] | None:
        """
        Return the note of an earlier try.

        :return: the note, with ``cleared`` to say whether the task was cleared since; None where there is none.
        :raises Exception: when Airflow's API server can't be reached: nothing has been sent yet.
        """
        note = None if self._store is None else self._store.get(self._key)
        return note and {**note, "cleared": note.get("max_tries") != self._max_tries}

    def keep(self, note: Mapping[str, str | int]) -> None:
        """
        Keep a note in place of the one before.

        :param note: what to keep.
        :raises Exception: when a request is about to leave and the note of it can't be kept. Later notes are
            dispensable: without them the next try decides by the service's state.
        """
        if self._store is None:
            return
        try:
            self._store.set(self._key, {**note, "max_tries": self._max_tries})
        except Exception as error:
            if note["phase"] == "submitting":
                raise
            self._log.log(logging.WARNING, "The note %r could not be kept: %s", note, type(error).__name__)
