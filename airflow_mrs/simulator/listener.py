"""One TLS port, served by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_mrs.simulator.strangers import is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

_KEEP_ALIVE_SECONDS = 60


class Listener:
    """A port that can be closed and opened again. It stays taken until it is released."""

    def __init__(self, host: str, port: int) -> None:
        """Take a port, a free one for 0, without listening on it."""
        self._family: socket.AddressFamily
        self._family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # This socket never listens. While nothing listens, connections are refused, but nobody else gets the port.
        self._placeholder = self._bind(address)
        self._address = self._placeholder.getsockname()
        self._socket: socket.socket | None = self._bind_to_listen()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The number of the port."""
        port: int = self._address[1]
        return port

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the port."""
        return is_loopback(self._address[0])

    async def open(self, app: ASGIApp, context: ssl.SSLContext, on_connection: Callable[[], None]) -> None:
        """Accept connections from now on."""

        class Protocol(_Protocol):
            connected = staticmethod(on_connection)

        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # where a request comes from is not for the request to say
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = context
        self._server = _Server(config)
        listening = self._socket or self._bind_to_listen()
        self._socket = None
        self._serving = asyncio.create_task(self._server.serve([listening]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.005)

    def shut(self) -> None:
        """Refuse connections from now on, and cut those there are."""
        if self._server is None:
            return
        self._server.should_exit = True
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, H11Protocol):
                connection.transport.abort()

    async def close(self) -> None:
        """Shut the port, and wait until what was served there has ended."""
        self.shut()
        if self._serving is not None:
            await self._serving
        self._server = self._serving = None

    def release(self) -> None:
        """Give the port back."""
        self._placeholder.close()
        if self._socket is not None:
            self._socket.close()

    def _bind_to_listen(self) -> socket.socket:
        return self._bind(self._address)

    def _bind(self, address: Any) -> socket.socket:  # noqa: ANN401 - its shape depends on the family
        # asyncio switches Nagle off only where the protocol is named.
        sock = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return sock


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it, since there are two in one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """HTTP whose applications can reach the connection, in order to cut it, as `request.state.transport`."""

    connected: Callable[[], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)
        self.connected()
