"""Time as a Manager sees it: it stands still, or an hour passes, when the test says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mrs.simulator import Simulator
    from airflow_mrs.simulator.journal import Entry

AN_HOUR = 3600.0
"""How long commands run that are not to be over before the test says so."""

PATIENT = 900.0
"""Seconds that a connection to a Manager waits for an answer that is held back."""


class Hold:
    """Holds back all answers of a Manager from an event of its journal on, until it is released."""

    def __init__(self, manager: Simulator, event: str, **details: Any) -> None:
        self._awaited = (event, details.items())
        self._reached, self._released = threading.Event(), threading.Event()
        manager.journal.on_entry(self._stand_still)

    def _stand_still(self, entry: Entry) -> None:
        event, details = self._awaited
        if event == entry.event and details <= entry.details.items() and not self._reached.is_set():
            self._reached.set()
            self._released.wait(PATIENT)

    def wait(self) -> None:
        """Wait for the event."""
        if not self._reached.wait(300):
            raise TimeoutError(f"there was no {self._awaited}")

    def release(self) -> None:
        self._released.set()


def an_hour_passes(manager: Simulator) -> None:
    """Let what is under way in the cluster come to its end."""
    clock = manager.cluster._clock
    manager.cluster._clock = lambda: clock() + AN_HOUR
    manager.cluster.advance()
