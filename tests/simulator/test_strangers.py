"""Who is let to the control interface, and who is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import Response

from airflow_mrs.simulator.strangers import NoStrangers

if TYPE_CHECKING:
    from collections.abc import Callable

    from .visitor import Visitor

    Visit = Callable[..., Visitor]

FAULTS = "/simulator/faults"
JOURNAL = "/simulator/journal"
FOREIGN = [
    {"Host": "rebound.example"},
    {"Host": "rebound.example:28443"},
    {"Host": "127.0.0.1.rebound.example"},
    {"Host": "localhost.rebound.example"},
    {"Host": "127.0.0.1."},
    {"Origin": "https://rogue.example"},
    {"Origin": "null"},
    {"Origin": "http://{here}"},
    {"Origin": "https://{here}1"},
    {"Referer": "https://rogue.example/page"},
    {"Referer": "https://{here}.rogue.example/"},
    {"Referer": "about:blank"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OUR_OWN = [
    {},
    {"Host": "localhost"},
    {"Host": "LOCALHOST:1"},
    {"Host": "127.1.2.3:9"},
    {"Host": "[::1]:28443"},
    {"Origin": "https://{here}"},
    {"Referer": "https://{here}"},
    {"Referer": "https://{here}/simulator/journal"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"X-Forwarded-For": "192.0.2.1"},
]


def written(headers: dict[str, str], visitor: Visitor) -> dict[str, str]:
    here = visitor.web.removeprefix("https://")
    return {name: value.format(here=here) for name, value in headers.items()}


def test_strangers_are_refused_whatever_they_want(visit: Visit) -> None:
    visitor = visit()
    for headers in (written(each, visitor) for each in FOREIGN):
        answers = [
            visitor.get(JOURNAL, headers=headers),
            visitor.get(FAULTS, headers=headers),
            visitor.post(FAULTS, {"kind": "cut"}, headers=headers),
            visitor.post(
                FAULTS, {"kind": "set_state", "service": "HBase", "state": "stopped"}, headers=headers
            ),
            visitor.post("//simulator//faults", {"kind": "cut"}, headers=headers),
            visitor.session.delete(visitor.web + FAULTS, headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [403] * len(answers), headers
        assert all("this interface is not for" in answer.json()["error"] for answer in answers)
    assert visitor.get(FAULTS).json() == {"faults": []}
    assert visitor.simulator.cluster.service("HBase").state == "started"


def test_a_form_of_another_site_sets_no_fault(visit: Visit) -> None:
    """A browser sends this without asking first."""
    visitor = visit()
    headers = {"Origin": "https://rogue.example", "Content-Type": "text/plain"}
    body = b'{"kind": "cut", "x": "="}'
    assert visitor.session.post(visitor.web + FAULTS, data=body, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", OUR_OWN, ids=str)
def test_our_own_are_let_in_and_others_are_not(visit: Visit, headers: dict[str, str]) -> None:
    visitor = visit()
    ours = written(headers, visitor)
    assert visitor.get(JOURNAL, headers=ours).status_code == 200
    assert visitor.get(JOURNAL, headers={**ours, "Host": "rebound.example"}).status_code == 403


def test_the_name_by_which_manager_is_known_is_its_own(visit: Visit) -> None:
    visitor = visit(known_as="Manager.internal")
    assert visitor.get(JOURNAL, headers={"Host": "manager.internal:9022"}).status_code == 200
    assert visitor.get(JOURNAL, headers={"Host": "rebound.example"}).status_code == 403


def test_who_listens_everywhere_lets_other_machines_in_but_no_pages(visit: Visit) -> None:
    visitor = visit(host="0.0.0.0")
    assert visitor.simulator.everywhere
    assert visitor.get(JOURNAL, headers={"Host": "192.0.2.7:28443"}).status_code == 200
    assert visitor.get(JOURNAL, headers={"Host": "rebound.example"}).status_code == 403
    assert visitor.get(JOURNAL, headers={"Origin": "https://rogue.example"}).status_code == 403


def status(peer: tuple[str, int] | None, *, everywhere: bool) -> int:
    """Return how a request is answered that comes from somewhere."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": peer,
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(NoStrangers(Response("in"), [], everywhere=everywhere)(scope, receive, send))
    number: int = sent[0]["status"]
    return number


@pytest.mark.parametrize(
    "peer", ["192.0.2.1", "10.0.0.1", "0.0.0.0", "::ffff:192.0.2.1", "fe80::1%2", "", None]
)
def test_other_machines_are_let_in_only_on_request(peer: str | None) -> None:
    client = None if peer is None else (peer, 1)
    assert status(client, everywhere=False) == 403
    assert status(client, everywhere=True) == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_let_in(peer: str) -> None:
    assert status((peer, 1), everywhere=False) == 200


@pytest.mark.parametrize(
    "host", ["x/simulator?", "x/simulator/faults#", "[", "[::1", "a b", "a@b", "", "h\u00f6st"]
)
def test_a_host_that_is_none_opens_no_door(visit: Visit, host: str) -> None:
    visitor = visit()
    headers = {"Host": host.encode("latin-1")}
    stop = "/web/v1/maintain/cluster/1/service/HBase/stop"
    for answer in (
        visitor.post(stop, {}, headers=headers),
        visitor.get("/web/v1/clusters", headers=headers, allow_redirects=False),
        visitor.session.get(f"{visitor.cas}/cas/login", headers=headers),
    ):
        assert answer.status_code == 400
    assert visitor.simulator.cluster.running is None


def test_refusals_can_be_read_in_a_terminal(visit: Visit) -> None:
    visitor = visit()
    headers = {"Origin": "https://\x9b31m\u00ad.example".encode("latin-1")}
    answer = visitor.get(JOURNAL, headers=headers)
    assert answer.status_code == 403
    assert answer.content.isascii()


def test_the_journal_can_be_read_in_a_terminal(visit: Visit) -> None:
    visitor = visit()
    visitor.log_in("wrong", username="\x1b[31m\x9b\u202eadmin")
    journal = visitor.get(JOURNAL)
    assert journal.content.isascii()
    assert journal.json()["entries"][0]["user"] == "\x1b[31m\x9b\u202eadmin"
