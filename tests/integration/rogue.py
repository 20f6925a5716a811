"""A server that answers as no Manager would, in many ways: raw bytes over TLS."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MEGABYTE = 1024 * 1024
ENDLESS = 256 * MEGABYTE
"""More than anybody may take, and soon sent."""


def endless(piece: bytes) -> Iterator[bytes]:
    piece *= max(1, 65_536 // len(piece))
    for _ in range(0, ENDLESS, len(piece)):
        yield piece


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, "", "")).encode()


def whole(body: bytes, *headers: str) -> Iterator[bytes]:
    yield head(f"Content-Length: {len(body)}", *headers)
    yield body


def then(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def page(unit: bytes) -> Iterator[bytes]:
    return whole(unit * (4_000_000 // len(unit)))


def packed(times: int) -> bytes:
    bomb = b" " * 64 * MEGABYTE
    for _ in range(times):
        bomb = gzip.compress(bomb, 1)
    return bomb


CHUNKED = head("Transfer-Encoding: chunked")
BIG = f"{ENDLESS:x}\r\n".encode()
STEPS = b'{"id":1,"state":"IN_PROGRESS","res_obj":{"step_list":[%s]}}'


def objects(item: bytes, size: int = 4_000_000) -> bytes:
    return STEPS % b",".join([item] * (size // (len(item) + 1)))


def distinct_keys(count: int) -> bytes:
    return json.dumps(
        {"state": "FAILED", "error_description": "\U0001f600"} | {f"{n:x}": "xyz" for n in range(count)}
    ).encode()


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "nothing": lambda: iter(()),
    "noise": lambda: endless(bytes(range(256))),
    "an endless status line": lambda: endless(b"HTTP/1.1 200 OK"),
    "an endless header": lambda: then(b"HTTP/1.1 200 OK\r\nA: ", endless(b"a")),
    "endless small headers": lambda: then(b"HTTP/1.1 200 OK\r\n", endless(b"a:b\r\n")),
    "endless folded headers": lambda: then(b"HTTP/1.1 200 OK\r\na: b\r\n", endless(b" c\r\n")),
    "endless cookies": lambda: then(b"HTTP/1.1 200 OK\r\n", endless(b"Set-Cookie: a=b; path=/\r\n")),
    "endless 100": lambda: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless 102": lambda: endless(b"HTTP/1.1 102 Processing\r\n\r\n"),
    "endless 103": lambda: endless(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "a switch of protocols": lambda: then(
        head("Upgrade: websocket", "Connection: Upgrade", status="101 Switching"), endless(b"a")
    ),
    "a body without an end": lambda: then(head(), endless(b" ")),
    "a body longer than it says": lambda: then(head("Content-Length: 2"), then(b"{}", endless(b" "))),
    "a length beyond all measure": lambda: then(head(f"Content-Length: {'9' * 30}"), endless(b" ")),
    "a length that is none": lambda: then(head("Content-Length: -1"), endless(b" ")),
    "two lengths": lambda: then(head("Content-Length: 2", "Content-Length: 3"), endless(b" ")),
    "a chunk without an end": lambda: then(CHUNKED + BIG, endless(b" ")),
    "a chunk size of -1": lambda: then(CHUNKED + b"-1\r\n", endless(b" ")),
    "a chunk size beyond all measure": lambda: then(CHUNKED + b"f" * 30 + b"\r\n", endless(b" ")),
    "a chunk size near a machine's limit": lambda: then(CHUNKED + b"7" + b"f" * 15 + b"\r\n", endless(b" ")),
    "a chunk size that is no number": lambda: then(CHUNKED + b"xyz\r\n", endless(b" ")),
    "a chunk size with underscores": lambda: then(CHUNKED + b"1_0\r\n", endless(b" ")),
    "an endless chunk size": lambda: then(CHUNKED, endless(b"0")),
    "an endless chunk extension": lambda: then(CHUNKED + b"1;", endless(b"a")),
    "tiny chunks": lambda: then(CHUNKED, endless(b"1\r\n \r\n")),
    "tiny chunks with extensions": lambda: then(CHUNKED, endless(b"1;a=b\r\n \r\n")),
    "endless trailers": lambda: then(CHUNKED + b"0\r\n", endless(b"a:b\r\n")),
    "an endless trailer": lambda: then(CHUNKED + b"0\r\na: ", endless(b"b")),
    "gzip": lambda: whole(packed(1), "Content-Encoding: gzip"),
    "gzip twice": lambda: whole(packed(2), "Content-Encoding: gzip, gzip"),
    "gzip in two headers": lambda: whole(packed(2), "Content-Encoding: gzip", "Content-Encoding: gzip"),
    "gzip in chunks": lambda: then(
        head("Transfer-Encoding: chunked", "Content-Encoding: gzip"),
        iter((f"{len(packed(1)):x}\r\n".encode(), packed(1), b"\r\n0\r\n\r\n")),
    ),
    "gzip of the transfer": lambda: then(
        head("Transfer-Encoding: gzip, chunked"),
        iter((f"{len(packed(1)):x}\r\n".encode(), packed(1), b"\r\n0\r\n\r\n")),
    ),
    "a broken gzip": lambda: whole(b"\x1f\x8b\x08" + b"a" * 1000, "Content-Encoding: gzip"),
    "brotli": lambda: whole(b"\x1b" * 1000, "Content-Encoding: br"),
    "empty objects": lambda: whole(objects(b"{}")),
    "empty lists": lambda: whole(b'{"a":[' + b"[]," * 1_300_000 + b"0]}"),
    "small objects": lambda: whole(objects(b'{"a":"xy"}')),
    "small texts": lambda: whole(b'{"a":[' + b'"ab",' * 800_000 + b"0]}"),
    "distinct keys": lambda: whole(distinct_keys(200_000)),
    "just not too many empty objects": lambda: whole(STEPS % b",".join([b"{}"] * 74_000)),
    "just not too many small objects": lambda: whole(STEPS % b",".join([b'{"a":"xy"}'] * 74_000)),
    "just not too many keys": lambda: whole(distinct_keys(149_000)),
    "just not too many long texts": lambda: whole(
        b'{"a":[' + b",".join([b'"aaaaaaaaaaaaaaaaaaaaaaaa"'] * 149_000) + b"]}"
    ),
    "deep": lambda: whole(b"[" * 4_000_000),
    "a number of four million digits": lambda: whole(b'{"id":' + b"9" * 4_000_000 + b"}"),
    "a fraction of four million digits": lambda: whole(b'{"id":0.' + b"9" * 4_000_000 + b"}"),
    "a long text": lambda: whole(
        b'{"state":"FAILED","error_code":1,"error_description":"' + b"a" * 4_000_000 + b'"}'
    ),
    "a long wide text": lambda: whole(
        b'{"state":"FAILED","error_code":1,"error_description":"'
        + "\U0001f600".encode()
        + b"a" * 4_000_000
        + b'"}'
    ),
    "a wide page": lambda: whole("<p>\U0001f600".encode() + b" " * 4_000_000),
    "a page of forms": lambda: page(b"<form>"),
    "a page of passwords": lambda: page(b"<form><input type=password name=a>"),
    "a page of hidden elements": lambda: page(b"<a hidden>"),
    "a page of open tags": lambda: page(b"<a "),
    "a page of attributes": lambda: whole(b"<form " + b"a=b " * 1_000_000 + b">"),
    "a page of entities": lambda: page(b"<p>&#38;"),
}


@contextlib.contextmanager
def rogues(
    kinds: Mapping[str, Callable[[], Iterable[bytes]]] = KINDS,
) -> Iterator[tuple[dict[str, int], str]]:
    """Listen on a port for each kind; give the ports, and the authority's certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def answer(plain: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(20)
            with context.wrap_socket(plain, server_side=True) as connection:
                while connection.recv(65_536):
                    for piece in kinds[name]():
                        connection.sendall(piece)
                    if name == "nothing":
                        return

    def listen(server: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = server.accept()
                threading.Thread(target=answer, args=(plain, name), daemon=True).start()

    with contextlib.ExitStack() as servers:
        ports = {}
        for name in kinds:
            server = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
            servers.callback(server.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=listen, args=(server, name), daemon=True).start()
            ports[name] = server.getsockname()[1]
        yield ports, authority.cert_pem.bytes().decode()
