"""The simulator: all parts put together, and its life from start to end."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from airflow_mrs.simulator.cas import Answer, Cas
from airflow_mrs.simulator.certificates import Certificate, Certificates
from airflow_mrs.simulator.clock import Clock
from airflow_mrs.simulator.cluster import Cluster
from airflow_mrs.simulator.control import Control
from airflow_mrs.simulator.entrance import Entrance
from airflow_mrs.simulator.gate import Gate
from airflow_mrs.simulator.guard import Guard
from airflow_mrs.simulator.journal import Journal
from airflow_mrs.simulator.listener import Listener
from airflow_mrs.simulator.quantities import Seconds  # noqa: TC001 - the control interface reads the types
from airflow_mrs.simulator.schedule import Faults
from airflow_mrs.simulator.sessions import IdleTable
from airflow_mrs.simulator.site import Site
from airflow_mrs.simulator.sso import IDLE_SECONDS, LOCK_SECONDS, SingleSignOn
from airflow_mrs.simulator.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path
    from types import TracebackType

    from starlette.types import ASGIApp

    from airflow_mrs.simulator.vocabulary import States

Mode = Literal["security", "normal"]
Port = Literal["web", "cas", "both"]

_TICK_SECONDS = 0.05
_START_SECONDS = 30
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach a server that listens everywhere


class Simulator:
    """An MRS Manager with one cluster.

    As a context manager it runs in a thread of its own. Ports that are 0 are chosen; `password` is made up if there is
    none.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        host: str = "127.0.0.1",
        web_port: int = 0,
        cas_port: int = 0,
        user: str = "admin",
        password: str | None = None,
        mode: Mode = "security",
        ca_cert: Path | None = None,
        command_seconds: float = 1.0,
        service_seconds: Mapping[str, float] | None = None,
        first_command_id: int = 1,
        idle_seconds: float = IDLE_SECONDS,
        lock_seconds: float = LOCK_SECONDS,
        answer: Answer = "page",
        camel_case: bool = False,
        states: States = "3x",
        known_as: str | None = None,
        certificate: Certificate = "good",
    ) -> None:
        """Take both ports; nothing listens on them before the start."""
        self.user = user
        self.password = password or secrets.token_urlsafe(12)
        self.mode: Mode = mode
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.faults = Faults()
        self.cluster = Cluster(
            self.journal.record,
            security=mode == "security",
            command_seconds=command_seconds,
            service_seconds=service_seconds,
            first_command_id=first_command_id,
            clock=self.clock,
        )
        self.sso = SingleSignOn(
            self.journal.record,
            user,
            self.password,
            idle_seconds=idle_seconds,
            lock_seconds=lock_seconds,
            clock=self.clock,
        )
        self.sessions: IdleTable[str] = IdleTable("", idle_seconds, self.clock)
        self.host = _ANY_HOST.get(host, host)
        self._certificates = Certificates(self.host, certificate)
        self._ca_cert = ca_cert
        if ca_cert is not None:
            ca_cert.write_text(self.ca_pem, encoding="ascii")
        self._web_listener = Listener(host, web_port)
        try:
            self._cas_listener = Listener(host, cas_port)
        except OSError:
            self._web_listener.release()
            raise
        site = Site(self.web_port, self.cas_port, known_as)
        web = Web(self.cluster, self.journal, states=states, camel_case=camel_case)
        guarded = Guard(
            web.app(Control(self).mount(filter(None, [host, known_as]))),
            site,
            self.sessions,
            self.sso if mode == "security" else None,
            self.journal.record,
        )
        apps: dict[str, ASGIApp] = {"web": guarded, "cas": Cas(self.sso, self.sessions, answer).app()}
        self._gates = {
            port: Gate(
                listener,
                Entrance(apps[port], self.journal, self.faults, self.expire_sessions),
                self._certificates.context,
                partial(self.journal.count_connection, port),
            )
            for port, listener in (("web", self._web_listener), ("cas", self._cas_listener))
        }
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def web_port(self) -> int:
        """The port of the web application."""
        return self._web_listener.port

    @property
    def cas_port(self) -> int:
        """The port of the single sign-on."""
        return self._cas_listener.port

    @property
    def everywhere(self) -> bool:
        """Whether other machines may reach it."""
        return not self._web_listener.is_local

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority that both ports' certificates come from."""
        return self._certificates.ca_pem

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to this Manager."""
        extra: dict[str, Any] = {"ca_cert": str(self._ca_cert.resolve()) if self._ca_cert else self.ca_pem}
        connection = {"conn_type": "mrs", "host": self.host, "port": self.web_port}
        if self.mode == "normal":
            return {**connection, "extra": {"auth": "none", **extra}}
        extra = {"auth": "cas", "cas_port": self.cas_port, **extra}
        return {**connection, "login": self.user, "password": self.password, "extra": extra}

    @property
    def connection_json(self) -> str:
        """The Airflow connection on one line, as an environment variable takes it."""
        return json.dumps(self.connection)

    def pass_time(self, seconds: Seconds) -> None:
        """Let time pass at once for commands, sessions, tickets and lockouts; not for what goes wrong on the wire."""
        self.clock.skip(seconds)
        self.cluster.advance()

    def expire_sessions(self, tickets: bool = True) -> None:
        """End all sessions, with those of the single sign-on unless told otherwise."""
        self.sessions.clear()
        if tickets:
            self.sso.expire()
        self.journal.record("sessions expired", tickets=tickets)

    def refuse(self, seconds: Seconds, port: Port = "both") -> None:
        """Cut all connections, and refuse new ones for a while. When this returns, the ports are closed."""

        async def close(name: str, gate: Gate) -> None:
            await gate.refuse(seconds)
            self.journal.record("port closed", port=name, seconds=seconds)

        self._at_gates(port, close)

    def admit(self, port: Port = "both") -> None:
        """End an outage before its time. When this returns, the ports are open."""
        self._at_gates(port, lambda _, gate: gate.admit())

    def switchover(self, seconds: Seconds, *, forget_commands: bool = True) -> None:
        """Let the standby node take over: nothing answers for a while, and then nobody is known any more."""
        self.refuse(seconds)
        self.expire_sessions()
        if forget_commands:
            self.cluster.forget_commands()

    async def run(self, on_ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set."""
        self._loop = asyncio.get_running_loop()
        try:
            for gate in self._gates.values():
                await gate.open()
            on_ready()
            ticking = asyncio.create_task(self._tick())
            await stopping.wait()
            ticking.cancel()
            await asyncio.gather(*(gate.close() for gate in self._gates.values()))
        finally:
            self._web_listener.release()
            self._cas_listener.release()

    def __enter__(self) -> Self:
        ready = threading.Event()
        failures: list[BaseException] = []

        async def serve() -> None:
            self._stopping = asyncio.Event()
            await self.run(ready.set, self._stopping)

        def target() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # noqa: BLE001 - the thread that started this one gets it
                failures.append(error)
            finally:
                ready.set()

        self._thread = threading.Thread(target=target, name="mrs-simulator", daemon=True)
        self._thread.start()
        ready.wait(_START_SECONDS)
        if failures:
            raise failures[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _at_gates(self, port: Port, act: Callable[[str, Gate], Coroutine[Any, Any, None]]) -> None:
        if self._loop is None:
            raise RuntimeError("the simulator does not run")

        async def act_at_each() -> None:
            for name, gate in self._gates.items():
                if port in {name, "both"}:
                    await act(name, gate)

        asyncio.run_coroutine_threadsafe(act_at_each(), self._loop).result()

    async def _tick(self) -> None:
        """Let things be noted in the journal when they happen, not only when somebody looks."""
        while True:
            self.cluster.advance()
            await asyncio.sleep(_TICK_SECONDS)
