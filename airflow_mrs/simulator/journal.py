"""What happened at the simulator: kept for tests, shown to people."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Entry:
    """One event: when (seconds since the epoch), what, and its particulars."""

    at: float
    event: str
    details: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the entry as a flat JSON object."""
        return {"at": self.at, "event": self.event, **self.details}


class Journal:
    """A list of events and counts of requests and connections. Every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self._requests: Counter[str] = Counter()
        self._connections: Counter[str] = Counter()
        self._readers: list[Callable[[Entry], None]] = []
        self._news = threading.Condition()

    def record(self, event: str, at: float | None = None, **details: Any) -> None:  # noqa: ANN401
        """Note an event."""
        entry = Entry(self._clock() if at is None else at, event, details)
        with self._news:
            self._entries.append(entry)
            self._news.notify_all()
        for reader in self._readers:
            reader(entry)

    def count_request(self, call: str) -> None:
        """Count one request of a call (see `calls.py` for their names)."""
        with self._news:
            self._requests[call] += 1
            self._news.notify_all()

    def count_connection(self, port: str) -> None:
        """Count one TCP connection to the port `web` or `cas`."""
        with self._news:
            self._connections[port] += 1
            self._news.notify_all()

    def on_entry(self, reader: Callable[[Entry], None]) -> None:
        """Call `reader` with every entry from now on."""
        self._readers.append(reader)

    def entries(self, event: str | None = None, **details: Any) -> list[Entry]:  # noqa: ANN401
        """Return the entries of one event, or of all, whose particulars include `details`."""
        with self._news:
            entries = list(self._entries)
        return [
            entry
            for entry in entries
            if event in {None, entry.event} and details.items() <= dict(entry.details).items()
        ]

    def count(self, event: str, **details: Any) -> int:  # noqa: ANN401
        """Count the entries of one event whose particulars include `details`."""
        return len(self.entries(event, **details))

    @property
    def requests(self) -> Counter[str]:
        """How often each call was made, whatever became of it."""
        with self._news:
            return Counter(self._requests)

    @property
    def connections(self) -> Counter[str]:
        """How many TCP connections each port (`web`, `cas`) has taken."""
        with self._news:
            return Counter(self._connections)

    @property
    def logins_attempted(self) -> int:
        """How often somebody sent a password."""
        return self.count("login attempted")

    @property
    def logins_succeeded(self) -> int:
        """How often somebody got in, be it with a password or, in normal mode, without."""
        return self.count("login succeeded")

    @property
    def polls(self) -> int:
        """How often somebody asked for the progress of a command."""
        return self.requests["progress"]

    def accepted(self, service: str, action: str) -> int:
        """Count the POSTs to stop or start a service that became a command."""
        return self.count("post accepted", service=service, action=action)

    def state_changes(self, service: str | None = None) -> list[Entry]:
        """Return the changes of state, of one service or of all: particulars `service`, `was` and `state`."""
        return self.entries("state") if service is None else self.entries("state", service=service)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Block until `condition()` is true; raise TimeoutError if it never is."""
        deadline = time.monotonic() + timeout
        over = False
        while not condition():
            if over:
                raise TimeoutError(f"nothing came of it in {timeout} s")
            with self._news:
                self._news.wait(0.05)
            over = time.monotonic() >= deadline  # one more look: the whole process may have stood still

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        posts = Counter(
            (entry.details["service"], entry.details["action"]) for entry in self.entries("post accepted")
        )
        return {
            "logins_attempted": self.logins_attempted,
            "logins_succeeded": self.logins_succeeded,
            "polls": self.polls,
            "accepted": [
                {"service": service, "action": action, "count": count}
                for (service, action), count in sorted(posts.items())
            ],
            "requests": dict(self.requests),
            "connections": dict(self.connections),
            "entries": [entry.as_json() for entry in self.entries()],
        }
