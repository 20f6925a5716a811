"""The proxy of the tests with a real Airflow, before a server that notes what reaches it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from tests.e2e.proxy import ERROR, Held, Late, Proxy, cut

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def seen() -> list[str]:
    """The requests that have reached the server."""
    return []


@pytest.fixture
def proxy(seen: list[str]) -> Iterator[Proxy]:
    class Server(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seen.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b"kept")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server, Proxy() as proxy:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        proxy.upstream = f"http://127.0.0.1:{server.server_port}"
        yield proxy
        server.shutdown()


def put(proxy: Proxy, text: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.put(f"{proxy.url}/variables/one", text, timeout=10)


def test_what_no_rule_is_for_gets_through(proxy: Proxy, seen: list[str]) -> None:
    with (
        proxy.rule("GET", "variables", cut),
        proxy.rule("PUT", "connections", cut),
        proxy.rule("PUT", "variables", cut, body="2"),
    ):
        answer = put(proxy, "1")
    assert (answer.status_code, answer.text, seen) == (201, "kept", ["1"])


def test_some_requests_are_refused(proxy: Proxy, seen: list[str]) -> None:
    with proxy.rule("PUT", "variables", ERROR, times=2) as rule:
        answers = [put(proxy, text).status_code for text in "123"]
    assert (answers, seen, rule.struck) == ([500, 500, 201], ["3"], 2)


@pytest.mark.parametrize("twice", [False, True])
def test_a_request_is_delivered_late(proxy: Proxy, seen: list[str], twice: bool) -> None:
    late = Late(twice=twice)
    with proxy.rule("PUT", "variables", late, body="1"):
        if twice:
            put(proxy, "1")
        else:
            with pytest.raises(requests.ConnectionError):
                put(proxy, "1")
    put(proxy, "2")
    assert late.deliver() == [201]
    assert seen == ["1"] * twice + ["2", "1"]


@pytest.mark.parametrize("after", [False, True])
def test_a_request_or_its_answer_is_held_back(proxy: Proxy, seen: list[str], after: bool) -> None:
    client = threading.Thread(target=put, args=(proxy, "1"))
    with proxy.rule("PUT", "variables", Held(after=after), times=1) as rule:
        client.start()
        rule.wait()
        put(proxy, "2")
        assert sorted(seen) == ["1"] * after + ["2"]
    assert sorted(seen) == ["1", "2"]
    client.join()


def test_the_server_is_away(proxy: Proxy) -> None:
    proxy.upstream = "http://127.0.0.1:9"
    with pytest.raises(requests.ConnectionError):
        put(proxy, "1")
