"""What goes over the wire, and what does not: by both drivers, over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
import urllib3

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import BadAnswer, Unreachable
from airflow_mrs.manager.transport import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from airflow_mrs.simulator import Simulator
    from tests.integration.conftest import Driver

    Simulate = Callable[..., Simulator]
    Connect = Callable[..., Driver]

PIECES = 64 * 1024


class Piece(bytes):
    """A piece of an answer. It counts what is copied to put it behind a text that can't grow."""

    copied = 0

    def __radd__(self, before: object) -> bytes:
        if not isinstance(before, bytes):
            return NotImplemented
        Piece.copied += len(before)
        return bytes(before) + bytes(self)


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Yield an answer in as many pieces as it may have, with spaces at its end."""
    size = MOST_BYTES // PIECES
    filled = body.ljust(MOST_BYTES)
    return (Piece(filled[start : start + size]) for start in range(0, MOST_BYTES, size))


def test_a_long_answer_in_tiny_pieces_is_not_copied_for_each(
    simulate: Simulate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def iter_any(self: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        for piece in in_pieces(await self.read()):
            yield piece

    def stream(self: urllib3.HTTPResponse, *_: object, **__: object) -> Iterator[bytes]:
        return in_pieces(self.read())

    manager = connect(simulate(mode="normal"))
    manager.call(protocol.list_clusters())
    monkeypatch.setattr(aiohttp.StreamReader, "iter_any", iter_any)
    monkeypatch.setattr(urllib3.HTTPResponse, "stream", stream)
    monkeypatch.setattr(Piece, "copied", 0)

    assert manager.call(protocol.list_clusters())
    assert Piece.copied <= 3 * MOST_BYTES


@contextlib.contextmanager
def server_that_goes_deaf(answer: bytes) -> Iterator[tuple[int, str]]:
    """Serve every other connection, and not so much as a handshake to those between: its port, and its authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = server.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65_536)
                    connection.sendall(answer)
                held.append(server.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], authority.cert_pem.bytes().decode()
        server.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def test_a_date_to_come_back_at_counts_where_the_answer_has_no_date_itself(
    simulate: Simulate, connect: Connect
) -> None:
    later = formatdate(time.time() + 3600, usegmt=True)
    answer = f"HTTP/1.1 503 Away\r\nRetry-After: {later}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with server_that_goes_deaf(answer.encode()) as (port, ca_cert):
        manager = connect(simulate(mode="normal"), port=port, ca_cert=ca_cert)
        with pytest.raises(Unreachable) as caught:
            manager.call(protocol.list_clusters())
    login = caught.value.__context__
    assert isinstance(login, Unreachable)
    assert isinstance(login.__context__, BadAnswer)
    assert login.__context__.retry_after == pytest.approx(3600, abs=600)


def test_a_password_for_which_no_connection_came_about_was_not_sent(
    simulate: Simulate, connect: Connect
) -> None:
    form = "<form action=login><input type=password name=password></form>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n{form}"
    simulator = simulate()
    with server_that_goes_deaf(answer.encode()) as (port, ca_cert):
        for _ in range(3):  # two that were sent without an answer would hold the third one back
            manager = connect(
                simulator, cas_url=f"https://127.0.0.1:{port}/cas", ca_cert=ca_cert, timeout=1.0
            )
            with pytest.raises(Unreachable) as caught:
                manager.call(protocol.list_clusters())
            assert "Nothing is sent" not in str(caught.value)
