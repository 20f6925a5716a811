"""An API server that is not always well."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from dev import rest

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILURES = 3


class Server(HTTPServer):
    """Answers 500 some times, then well."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        if self.path == "/auth/token":
            status = 200
        else:
            self.server.asked.append(self.command)
            status = 500 if len(self.server.asked) <= FAILURES else 200
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"access_token": "a token"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PATCH = do_DELETE = do_POST = answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(rest, "PAUSES", (0.0,) * FAILURES)
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_may_be_sent_twice_is_sent_until_it_is_answered(server: Server, method: str) -> None:
    api = rest.AirflowAPI(f"http://127.0.0.1:{server.server_port}")

    assert api.call(method, "/dags/window") == {"access_token": "a token"}
    assert server.asked == [method] * (FAILURES + 1)


def test_what_starts_a_run_is_sent_once(server: Server) -> None:
    api = rest.AirflowAPI(f"http://127.0.0.1:{server.server_port}")

    with pytest.raises(requests.HTTPError, match="500"):
        api.trigger("window")
    assert server.asked == ["POST"]
