"""Processes that are gone when they are told to go, with everything they have started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], what: str, *, timeout: float = 300, interval: float = 0.1
) -> T:
    """Return the first true value of the condition."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)
    return value


_placeholders: list[socket.socket] = []


def free_port() -> int:
    """Take a port that a child of this process may listen on; nobody else is given it until this process ends."""
    placeholder = socket.socket()
    placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: both may bind it
    placeholder.bind(("127.0.0.1", 0))
    _placeholders.append(placeholder)
    port: int = placeholder.getsockname()[1]
    return port


class Process:
    """A process in a session of its own, so that its family can be found even after its death."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self.wanted = False
        self._popen: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}: {'running' if self.running else 'down'}>"

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._popen.pid

    def start(self) -> None:
        """Start it. Call from a thread that lives on: what dies with its parent dies with that thread."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.wanted = True
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        """Return everything alive in its session, and what stems from there."""
        if self._popen is None:
            return []
        session = [process for process in psutil.process_iter() if _session(process) == self.pid]
        return list(_alive({member for process in session for member in _with_descendants(process)}))

    def signal_family(self, number: signal.Signals) -> None:
        """Send a signal to the whole family: SIGSTOP and SIGCONT freeze and thaw it."""
        _send(self.family(), number)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once: Airflow takes a second one for impatience and drops what it is doing."""
        if self.wanted and self._popen is not None:
            self._popen.terminate()
        self.wanted = False

    def stop(self, grace: float = 10) -> None:
        """End it politely, and after the grace period by force."""
        family = self.family()
        self.ask_to_stop()
        with suppress(TimeoutError):
            wait_until(lambda: not self.running, f"the end of {self.name}", timeout=grace)
        _send(_alive(family), signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        """End the whole family at once, as a power cut does."""
        self.wanted = False
        while family := self.family():
            _send(family, signal.SIGKILL)
            with suppress(TimeoutError):
                wait_until(
                    lambda members=family: not any(_alive(members)),  # type: ignore[misc]
                    f"the end of {self.name}",
                    timeout=1,
                    interval=0.01,
                )
        if self._popen is not None:
            self._popen.wait()

    def last_words(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def stop_all(processes: Iterable[Process], grace: float = 10) -> None:
    """Stop many at a time."""
    processes = list(processes)
    for process in processes:
        process.ask_to_stop()
    deadline = time.monotonic() + grace
    for process in processes:
        process.stop(grace=max(0.0, deadline - time.monotonic()))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM while something must be brought to its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _alive(processes: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
