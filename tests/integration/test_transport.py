"""What goes over the wire, and what does not: by both drivers, over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import ssl
import sys
import threading
import time
import warnings
import zlib
from email.utils import formatdate
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
import urllib3

from airflow_mrs.manager import protocol
from airflow_mrs.manager.aio import AsyncClient
from airflow_mrs.manager.errors import BadAnswer, Unreachable
from airflow_mrs.manager.settings import Settings
from airflow_mrs.manager.transport import MOST_BYTES
from tests.integration.rogue import rogues, whole

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


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_answer_that_something_has_packed_is_read(
    simulate: Simulate, connect: Connect, encoding: str
) -> None:
    clusters = b'{"state":"COMPLETE","res_obj":{"clusters":[{"id":7}]}}'
    packed = gzip.compress(clusters) if encoding == "gzip" else zlib.compress(clusters)
    answers = {"packed": lambda: whole(packed, f"Content-Encoding: {encoding}")}
    with rogues(answers) as (ports, ca_cert):
        manager = connect(simulate(mode="normal"), port=ports["packed"], ca_cert=ca_cert)
        assert [cluster.id for cluster in manager.call(protocol.list_clusters())] == [7]


def test_what_comes_after_an_answer_is_taken_for_no_other_one(simulate: Simulate, connect: Connect) -> None:
    asked = 0

    def twice() -> Iterator[bytes]:
        nonlocal asked
        asked += 1
        right, stray = (
            b'{"state":"COMPLETE","res_obj":{"clusters":[{"id":%d}]}}' % number for number in (asked, 666)
        )
        yield b"".join(whole(right)) + b"".join(whole(stray + b" " * 8_000))

    with rogues({"twice": twice}) as (ports, ca_cert):
        manager = connect(simulate(mode="normal"), port=ports["twice"], ca_cert=ca_cert)
        for number in (2, 3, 4):
            assert [cluster.id for cluster in manager.call(protocol.list_clusters())] == [number]


async def test_a_connection_on_which_something_comes_unasked_is_not_used_again() -> None:
    gone = threading.Event()
    asked = 0

    def late() -> Iterator[bytes]:
        nonlocal asked
        asked += 1
        yield from whole(b'{"state":"COMPLETE","res_obj":{"clusters":[{"id":%d}]}}' % asked)
        if asked == 2:
            try:
                while True:
                    time.sleep(0.01)
                    yield from whole(b'{"state":"COMPLETE"}')
            finally:
                gone.set()

    with rogues({"late": late}) as (ports, ca_cert):
        client = AsyncClient(Settings("late", "127.0.0.1", ports["late"], ca_cert=ca_cert))
        await client.call(protocol.list_clusters())
        assert await asyncio.to_thread(gone.wait, 30)
        assert [cluster.id for cluster in await client.call(protocol.list_clusters())] == [3]
        await client.close()


@contextlib.contextmanager
def dead_addresses(count: int) -> Iterator[list[tuple[str, int]]]:
    """Addresses at which nobody answers, not even with a refusal: their queues are full."""
    with contextlib.ExitStack() as sockets:
        addresses: list[tuple[str, int]] = []
        for _ in range(count):
            server = sockets.enter_context(socket.socket())
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            addresses.append(server.getsockname())
            for _ in range(3):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(server.getsockname())
        yield addresses


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_five_dead_addresses_take_no_longer_than_one(
    simulate: Simulate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = connect(simulate(mode="normal"), host="many.example", timeout=1.0)
    with dead_addresses(5) as addresses:
        resolve_to(monkeypatch, addresses)
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            manager.call(protocol.list_clusters())
        assert time.monotonic() - begun < 3  # for what takes one


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_behind_dead_addresses_the_one_that_answers_is_found(
    simulate: Simulate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate(mode="normal")
    manager = connect(simulator, host="many.example", timeout=4.0, verify=False)
    with dead_addresses(3) as addresses:
        resolve_to(monkeypatch, [*addresses, ("127.0.0.1", simulator.connection["port"])])
        assert manager.call(protocol.list_clusters())


def test_that_nothing_is_verified_is_said_once(
    simulate: Simulate, connect: Connect, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    manager = connect(simulate(mode="normal"), verify=False)
    for _ in range(3):
        manager.call(protocol.list_clusters())
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [
        "MRS connection 'mrs_test': certificates are not verified, so that anybody in between can read the password"
    ]
    assert not [warning for warning in recwarn if "verif" in str(warning.message).lower()]
