"""A proxy between the tasks and the API server, by which requests are refused, lost, held back, or delivered late or twice."""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from dev.processes import wait_until
from tests.e2e.holding import PATIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Answer:
    """What the API server answers, or what the proxy answers in its place."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Request:
    """What a task asks of the API server."""

    upstream: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def deliver(self) -> Answer:
        """Let it reach the API server, at once or much later, for the first time or once more."""
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=PATIENT)
        try:
            connection.request(self.method, self.path, self.body, dict(self.headers))
            answer = connection.getresponse()
            return Answer(answer.status, _end_to_end(answer.getheaders()), answer.read())
        finally:
            connection.close()


if TYPE_CHECKING:
    Fault = Callable[[Request], Answer | None]
    """Returns the answer to a request; None cuts the connection."""


def refused(status: HTTPStatus) -> Fault:
    """The API server does not see the request."""
    body = b'{"detail": {"reason": "not_found", "message": "so it says"}}'
    return lambda _: Answer(status, (("content-type", "application/json"),), body)


NOT_FOUND = refused(HTTPStatus.NOT_FOUND)
"""The answer of an API server to a look at one Variable when its database is away."""
ERROR = refused(HTTPStatus.INTERNAL_SERVER_ERROR)


def cut(_: Request) -> None:
    """The connection is cut before the API server sees the request."""


class Held:
    """Requests, or their answers, are held back until they are released."""

    def __init__(self, *, after: bool = False) -> None:
        self._after = after
        self._under_way: list[Request] = []
        self._released = threading.Event()

    def __call__(self, request: Request) -> Answer:
        self._under_way.append(request)
        try:
            answer = request.deliver() if self._after else None
            self._released.wait(PATIENT)
            return answer or request.deliver()
        finally:
            self._under_way.remove(request)

    def release(self) -> None:
        """Let them go on, and wait until the API server has seen them all."""
        self._released.set()
        wait_until(lambda: not self._under_way, "what was held back")


class Late:
    """Requests are answered by cutting the connection, and delivered when the test says so, perhaps for the second time."""

    def __init__(self, *, twice: bool = False) -> None:
        self._twice = twice
        self._requests: list[Request] = []

    def __call__(self, request: Request) -> Answer | None:
        self._requests.append(request)
        return request.deliver() if self._twice else None

    def deliver(self) -> list[int]:
        """Deliver them now, and return what the API server answers, which nobody hears."""
        return [request.deliver().status for request in self._requests]


@dataclass
class Rule:
    """
    Which requests go wrong, and how.

    :param method: of the requests.
    :param path: what is searched in their path, a regular expression.
    :param body: what is in their body.
    :param times: how many of them go wrong.
    :param fault: what happens to them.
    """

    method: str
    path: re.Pattern[str]
    body: str
    times: float
    fault: Fault
    struck: int = 0

    def fits(self, request: Request) -> bool:
        return (
            self.struck < self.times
            and request.method == self.method
            and self.path.search(request.path) is not None
            and self.body.encode() in request.body
        )

    def wait(self, times: int = 1) -> None:
        """Wait until requests have gone wrong."""
        wait_until(lambda: self.struck >= times, f"a {self.method} of {self.path.pattern}")


class Proxy:
    """Listens inside a ``with`` block. Other requests than those that a rule is for reach the API server."""

    def __init__(self) -> None:
        self.upstream = ""
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def rule(
        self, method: str, path: str, fault: Fault, *, body: str = "", times: float = float("inf")
    ) -> Iterator[Rule]:
        """Let requests go wrong for a while, or only some of them."""
        rule = Rule(method, re.compile(path), body, times, fault)
        self._rules.append(rule)
        try:
            yield rule
        finally:
            self._rules.remove(rule)
            if isinstance(fault, Held):
                fault.release()

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; None where there is none."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.fits(request)), None)
            if rule is not None:
                rule.struck += 1
        with suppress(OSError, http.client.HTTPException):  # the API server is away
            return request.deliver() if rule is None else rule.fault(request)
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: it is tasks that are killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = _end_to_end(self.headers.items())
        answer = proxy.answer(Request(proxy.upstream, self.command, self.path, headers, body))
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _end_to_end(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name.lower() not in _OF_ONE_CONNECTION)
