"""What a client sees when things go wrong, over real TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_mrs.simulator import Simulator
from airflow_mrs.simulator.exchange import Exchange
from airflow_mrs.simulator.faults import (
    Cut,
    Drip,
    Expire,
    Fault,
    Flood,
    Hold,
    LoginPage,
    Nonsense,
    PageName,
    Patch,
    Redirect,
    Stall,
    Status,
    Truncate,
    Word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .visitor import Visitor

    Visit = Callable[..., Visitor]

STOP = "/web/v1/maintain/cluster/1/service/HBase/stop"
MEGABYTE = 1_000_000


@contextlib.contextmanager
def dialled(visitor: Visitor) -> Iterator[ssl.SSLSocket]:
    """Open a connection on which bytes can be watched."""
    context = ssl.create_default_context(cadata=visitor.simulator.ca_pem)
    with (
        socket.create_connection(("127.0.0.1", visitor.simulator.web_port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        yield connection


def ask(visitor: Visitor, connection: ssl.SSLSocket, method: str, path: str, body: bytes = b"") -> None:
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nCookie: {cookies}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def accepted(visitor: Visitor) -> int:
    return visitor.simulator.journal.accepted("HBase", "stop")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut(visit: Visit, after: bool) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Cut(after=after), times=1)
    with pytest.raises(requests.ConnectionError):
        visitor.move("stop", "HBase")
    assert accepted(visitor) == after
    assert visitor.get("/web/v1/clusters").json()["state"] == "COMPLETE"


def test_a_cut_sends_not_one_byte(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("clusters", Cut())
    with dialled(visitor) as connection:
        ask(visitor, connection, "GET", "/web/v1/clusters")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_stall_ends(visit: Visit, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Stall(0.3, after=after), times=1)
    stalls: list[tuple[bool, bool]] = []
    patience = Exchange.patience

    async def watched(exchange: Exchange, seconds: float) -> bool:
        before = accepted(visitor) == 1
        stalls.append((before, await patience(exchange, seconds)))
        return stalls[-1][1]

    monkeypatch.setattr(Exchange, "patience", watched)
    begun = time.monotonic()
    assert visitor.move("stop", "HBase").json()["id"] == 1
    assert time.monotonic() - begun >= 0.3
    assert stalls == [(after, True)]
    assert accepted(visitor) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_who_leaves_during_a_stall_may_have_been_served_or_not(
    visit: Visit, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visit().enter()
    journal = visitor.simulator.journal
    visitor.simulator.faults.set("stop", Stall(600, after=after), times=1)
    over = threading.Event()
    serve = Stall.serve

    async def watched(stall: Stall, exchange: Exchange) -> None:
        await serve(stall, exchange)
        over.set()

    monkeypatch.setattr(Stall, "serve", watched)
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        journal.wait_for(lambda: journal.count("fault", kind="stall") == 1)
        journal.wait_for(lambda: accepted(visitor) == after)
    journal.wait_for(over.is_set)
    assert accepted(visitor) == after


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_request_is_held_until_it_is_released(visit: Visit, after: bool) -> None:
    visitor = visit().enter()
    journal = visitor.simulator.journal
    hold = Hold(after=after)
    visitor.simulator.faults.set("stop", hold, times=1)
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        journal.wait_for(lambda: journal.count("fault", kind="hold") == 1)
        journal.wait_for(lambda: accepted(visitor) == after)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert accepted(visitor) == after
        connection.settimeout(60)
        hold.release()
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert accepted(visitor) == 1


def test_a_request_that_is_held_outlives_its_sender(visit: Visit) -> None:
    visitor = visit().enter()
    journal = visitor.simulator.journal
    visitor.simulator.faults.set("stop", Hold(), times=1)
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        journal.wait_for(lambda: journal.count("fault") == 1)
    visitor.session.close()
    server = visitor.simulator._web_listener._server
    assert server is not None
    journal.wait_for(lambda: not server.server_state.connections)
    assert accepted(visitor) == 0
    visitor.simulator.faults.clear()
    journal.wait_for(lambda: accepted(visitor) == 1)


def test_a_truncated_answer(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Truncate(), times=1)
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    promised = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert len(body) == promised // 2 > 0
    assert accepted(visitor) == 1


def test_a_truncated_answer_without_a_body_promises_one(visit: Visit) -> None:
    visitor = visit()
    visitor.simulator.faults.set("stop", Truncate())
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        head, _, body = b"".join(iter(lambda: connection.recv(1000), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 302 ")
    assert b"content-length: 1\r\n" in head.lower() + b"\r\n"
    assert body == b""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("code", [404, 429, 500, 502, 503, 504])
def test_a_status(visit: Visit, code: int, after: bool) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Status(code, retry_after=7, after=after), times=1)
    answer = visitor.move("stop", "HBase")
    assert (answer.status_code, answer.headers["Retry-After"]) == (code, "7")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"HTTP Status {code}" in answer.text
    assert accepted(visitor) == after


def test_retry_after_may_be_a_date_or_absent(visit: Visit) -> None:
    visitor = visit()
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    visitor.simulator.faults.set("clusters", Status(503, date), times=1)
    visitor.simulator.faults.set("clusters", Status(503), times=1)
    assert visitor.get("/web/v1/clusters").headers["Retry-After"] == date
    assert "Retry-After" not in visitor.get("/web/v1/clusters").headers


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [("html", json.JSONDecodeError), ("not_utf8", UnicodeDecodeError), ("broken_json", json.JSONDecodeError)],
)
def test_nonsense(visit: Visit, fault: str, error: type[Exception], after: bool) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Nonsense(fault, after=after))  # type: ignore[arg-type]
    answer = visitor.move("stop", "HBase")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html" if fault == "html" else "application/json")
    with pytest.raises(error):
        json.loads(answer.content.decode())
    assert accepted(visitor) == after


@pytest.mark.parametrize("announced", [False, True])
def test_a_flood_is_json_of_that_length(visit: Visit, announced: bool) -> None:
    visitor = visit()
    visitor.simulator.faults.set("clusters", Flood(2, announced=announced))
    answer = visitor.get("/web/v1/clusters")
    assert answer.json()["state"] == "COMPLETE"
    assert len(answer.content) == 2 * MEGABYTE
    assert answer.headers.get("Content-Length") == (str(2 * MEGABYTE) if announced else None)


def test_a_flood_is_sent_as_fast_as_it_is_read(visit: Visit) -> None:
    visitor = visit()
    visitor.simulator.faults.set("clusters", Flood(1_000_000, announced=True), times=1)
    with dialled(visitor) as connection:
        ask(visitor, connection, "GET", "/web/v1/clusters")
        assert b"Content-Length: 1000000000000" in connection.recv(65536).title()
        for _ in range(200):
            assert connection.recv(65536)
    assert "Not Found" in visitor.get("/simulator/nothing").text


def test_a_redirect_to_anywhere(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Redirect("https://example.org/cas/login", 307))
    answer = visitor.move("stop", "HBase")
    assert (answer.status_code, answer.headers["Location"]) == (307, "https://example.org/cas/login")
    assert accepted(visitor) == 0


def test_an_answer_drop_by_drop(visit: Visit) -> None:
    visitor = visit().enter()
    plain = visitor.get("/web/v1/cluster/1/status")
    visitor.simulator.faults.set("cluster_status", Drip(0.002))
    begun = time.monotonic()
    slow = visitor.get("/web/v1/cluster/1/status", stream=True)
    parts = list(slow.raw.stream(65536))
    assert b"".join(parts) == plain.content
    assert time.monotonic() - begun > 0.002 * len(plain.content)
    assert slow.headers["Content-Length"] == str(len(plain.content))


@pytest.mark.parametrize("camel_case", [False, True])
def test_a_patched_answer(visit: Visit, camel_case: bool) -> None:
    visitor = visit(camel_case=camel_case)
    visitor.log_in()
    visitor.login_check()
    visitor.simulator.faults.set("cluster_status", Patch({"res_obj": {"state": "BAD"}, "id": 7}))
    answer = visitor.get("/web/v1/cluster/1/status").json()
    assert answer["resObj" if camel_case else "res_obj"] == {"state": "BAD"}
    assert (answer["id"], answer["state"]) == (7, "COMPLETE")
    assert len(answer) == 6


def test_a_patch_leaves_alone_what_is_no_json(visit: Visit) -> None:
    visitor = visit()
    visitor.simulator.faults.set("stop", Patch({"id": 7}))
    assert visitor.move("stop", "HBase").status_code == 302


@pytest.mark.parametrize(("states", "name"), [("3x", "Running Status"), ("2x", "Operating Status")])
@pytest.mark.parametrize("value", ["Unknown", "Failed to stop", None, 4, ["x"]])
def test_a_state_in_any_word(visit: Visit, states: str, name: str, value: object) -> None:
    visitor = visit(states=states).enter()
    visitor.simulator.faults.set("any", Word(value, service="HBase"))
    assert visitor.properties("HBase")[name] == value
    assert visitor.properties("Hue")[name] in {"Normal", "STARTED"}
    assert visitor.simulator.journal.count("fault") == 1


def test_a_state_under_another_name(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("service", Word("Normal", name="Condition"))
    properties = visitor.properties("HBase")
    assert properties["Condition"] == "Normal"
    assert "Running Status" not in properties


def test_a_state_of_what_does_not_exist_is_no_state(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("service", Word("Normal"))
    assert visitor.get("/web/v1/cluster/1/services/hbase").json()["state"] == "FAILED"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("captcha", "verification code"),
        ("locked", "locked"),
        ("modify_password", "modify_password.html"),
        ("wrong_password", "The credentials you provided cannot be determined to be authentic."),
    ],
)
def test_a_login_that_fails(visit: Visit, page: PageName, text: str) -> None:
    visitor = visit()
    visitor.simulator.faults.set("any", LoginPage(page))
    form = visitor.session.get(f"{visitor.cas}/cas/login").text
    assert ('name="captcha"' in form) == (page == "captcha")
    answer = visitor.log_in()
    assert answer.status_code == 200
    assert text in answer.text
    assert ('name="lt"' in answer.text) == (page != "modify_password")
    assert "CASTGC" not in visitor.session.cookies.get_dict()
    journal = visitor.simulator.journal
    assert (journal.logins_attempted, journal.logins_succeeded) == (1, 0)
    visitor.simulator.faults.clear()
    visitor.enter()


@pytest.mark.parametrize("tickets", [False, True])
def test_sessions_expire(visit: Visit, tickets: bool) -> None:
    visitor = visit().enter()
    visitor.simulator.faults.set("stop", Expire(tickets=tickets), times=1)
    assert visitor.move("stop", "HBase").status_code == 302
    assert ('name="lt"' in visitor.get("/web/v1/clusters").text) == tickets


def test_any_call_is_struck_on_both_ports(visit: Visit) -> None:
    visitor = visit()
    visitor.simulator.faults.set("any", Status(502))
    places = [f"{visitor.cas}/cas/login", f"{visitor.web}/web/v1/clusters", f"{visitor.web}/what/ever"]
    assert [visitor.session.get(place).status_code for place in places] == [502] * 3
    faults = visitor.simulator.journal.entries("fault")
    assert [entry.details["call"] for entry in faults] == ["login_page", "clusters", "other"]


@pytest.mark.parametrize("fault", [Cut(), Status(503), LoginPage("locked")], ids=lambda fault: fault.kind)
def test_control_is_never_struck(visit: Visit, fault: Fault) -> None:
    visitor = visit()
    visitor.simulator.faults.set("any", fault)
    assert len(visitor.get("/simulator/faults").json()["faults"]) == 1


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("port", ["web", "cas", "both"])
def test_ports_refuse_for_a_while(visit: Visit, port: str) -> None:
    visitor = visit().enter()
    simulator = visitor.simulator
    simulator.refuse(600, port)  # type: ignore[arg-type]
    closed = {"web": refused(simulator.web_port), "cas": refused(simulator.cas_port)}
    assert closed == {name: port in {name, "both"} for name in closed}
    simulator.admit(port)  # type: ignore[arg-type]
    assert not refused(simulator.web_port)
    assert not refused(simulator.cas_port)
    assert visitor.get("/web/v1/clusters").json()["state"] == "COMPLETE"


def test_an_outage_can_become_longer(visit: Visit) -> None:
    simulator = visit().simulator
    begun = time.monotonic()
    simulator.refuse(0.1, "web")
    simulator.refuse(0.6, "web")
    simulator.refuse(0.2, "web")
    simulator.journal.wait_for(lambda: not refused(simulator.web_port))
    assert time.monotonic() - begun > 0.6
    simulator.refuse(600, "web")
    assert refused(simulator.web_port)


def test_an_outage_may_follow_one_that_was_ended(visit: Visit) -> None:
    simulator = visit().simulator
    simulator.admit()
    for _ in range(2):
        simulator.refuse(600)
        assert refused(simulator.web_port)
        simulator.admit()
        assert not refused(simulator.web_port)


def test_an_outage_cuts_what_is_under_way(visit: Visit) -> None:
    visitor = visit().enter()
    journal = visitor.simulator.journal
    visitor.simulator.faults.set("stop", Stall(600))
    with dialled(visitor) as connection:
        ask(visitor, connection, "POST", STOP, b"{}")
        journal.wait_for(lambda: journal.count("fault") == 1)
        visitor.simulator.refuse(600)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    visitor.simulator.admit()
    assert accepted(visitor) == 0


def test_a_simulator_ends_in_the_middle_of_an_outage() -> None:
    begun = time.monotonic()
    with Simulator() as simulator:
        simulator.refuse(600)
    assert time.monotonic() - begun < 100


@pytest.mark.parametrize("forget_commands", [False, True])
def test_a_switchover(visit: Visit, forget_commands: bool) -> None:
    visitor = visit(command_seconds=600).enter()
    visitor.move("stop", "HBase")
    visitor.simulator.switchover(600, forget_commands=forget_commands)
    assert refused(visitor.simulator.web_port)
    visitor.simulator.pass_time(600)
    visitor.simulator.admit()
    assert 'name="lt"' in visitor.get("/web/v1/clusters").text
    progress = visitor.enter().progress(1)
    if forget_commands:
        assert (progress["state"], progress["id"], progress["res_obj"]) == ("FAILED", -1, None)
    else:
        assert (progress["state"], progress["id"]) == ("COMPLETE", 1)
    assert visitor.properties("HBase")["Running Status"] == "Not started"


@pytest.mark.parametrize(
    ("certificate", "complaint"), [("expired", "expired"), ("other_host", "IP address mismatch")]
)
def test_certificates_that_are_not_good(visit: Visit, certificate: str, complaint: str) -> None:
    visitor = visit(certificate=certificate)
    for place in (visitor.web, visitor.cas):
        with pytest.raises(requests.exceptions.SSLError, match=complaint):
            visitor.session.get(place)
    assert sum(visitor.simulator.journal.requests.values()) == 0


def test_an_authority_that_the_client_does_not_know(visit: Visit, tmp_path: Path) -> None:
    visitor = visit()
    visitor.session.verify = True
    with pytest.raises(requests.exceptions.SSLError, match=r"self-signed|unable to get local issuer"):
        visitor.get("/web/v1/clusters")
