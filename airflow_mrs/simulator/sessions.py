"""Things that expire when nobody uses them: web sessions and the tickets of the single sign-on."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Held = TypeVar("Held")


class IdleTable(Generic[Held]):
    """A table whose keys are unguessable and whose rows vanish when not used for a while."""

    def __init__(self, prefix: str, idle_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._prefix = prefix
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._rows: dict[str, tuple[Held, float]] = {}
        self._lock = threading.Lock()

    def add(self, held: Held) -> str:
        """Keep something and return its new key."""
        key = self._prefix + secrets.token_hex(16).upper()
        with self._lock:
            self._rows[key] = (held, self._clock())
        return key

    def use(self, key: str | None) -> Held | None:
        """Return what is kept under a key, and count that as a use of it."""
        with self._lock:
            held, used = self._rows.get(key or "", (None, 0.0))
            if key is None or held is None:
                return None
            if self._clock() - used > self._idle_seconds:
                del self._rows[key]
                return None
            self._rows[key] = (held, self._clock())
            return held

    def take(self, key: str | None) -> Held | None:
        """Return what is kept under a key, and keep it no longer."""
        held = self.use(key)
        self.drop(key)
        return held

    def drop(self, key: str | None) -> None:
        """Keep a row no longer."""
        with self._lock:
            self._rows.pop(key or "", None)

    def drop_held(self, held: Held) -> None:
        """Keep no row any longer that holds this."""
        with self._lock:
            self._rows = {key: row for key, row in self._rows.items() if row[0] != held}

    def clear(self) -> None:
        """Keep nothing any longer."""
        with self._lock:
            self._rows.clear()

    def __len__(self) -> int:
        return len(self._rows)
