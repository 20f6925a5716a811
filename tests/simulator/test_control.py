from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_mrs.simulator.narrator import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from .visitor import Visitor

    Visit = Callable[..., Visitor]

FAULTS = "/simulator/faults"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "cut", "after": True},
        {"kind": "stall", "seconds": 2},
        {"kind": "hold", "after": True},
        {"kind": "truncate"},
        {"kind": "status", "code": 429, "retry_after": 3},
        {"kind": "status", "code": 429, "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"kind": "nonsense", "body": "html"},
        {"kind": "flood", "megabytes": 1},
        {"kind": "redirect", "url": "https://example.org"},
        {"kind": "drip", "seconds": 0.1},
        {"kind": "patch", "fields": {"id": -1}},
        {"kind": "word", "value": None},
        {"kind": "login_page", "page": "captcha"},
        {"kind": "expire"},
    ],
    ids=lambda fields: fields["kind"],
)
def test_each_kind_can_be_set_and_is_listed(visit: Visit, fields: dict[str, Any]) -> None:
    visitor = visit()
    terms = {"call": "stop", "times": 2, "for_seconds": None, "chance": 1}
    answer = visitor.post(FAULTS, {**fields, **terms})
    assert answer.status_code == 200
    assert answer.json() == visitor.get(FAULTS).json()
    (listed,) = answer.json()["faults"]
    assert listed.items() >= {**fields, **terms}.items()
    assert visitor.session.delete(visitor.web + FAULTS).json() == {"faults": []}
    assert visitor.get(FAULTS).json() == {"faults": []}


def test_a_fault_set_over_http_strikes(visit: Visit) -> None:
    visitor = visit()
    visitor.post(FAULTS, {"kind": "status", "code": 504, "times": 1})
    assert visitor.get("/web/v1/clusters", allow_redirects=False).status_code == 504
    assert visitor.get("/web/v1/clusters", allow_redirects=False).status_code == 302


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"kind": "explode"}, "kind is one of cut, "),
        ({}, "kind is one of"),
        ({"kind": "status"}, "missing a required argument: 'code'"),
        ({"kind": "status", "code": "503"}, "code cannot be '503'"),
        ({"kind": "status", "code": True}, "code cannot be True"),
        ({"kind": "status", "code": 503, "colour": "red"}, "unexpected keyword argument 'colour'"),
        ({"kind": "stall", "seconds": None}, "seconds cannot be None"),
        ({"kind": "cut", "after": 1}, "after cannot be 1"),
        ({"kind": "cut", "call": "Stop"}, "no such call: Stop"),
        ({"kind": "cut", "times": "2"}, "times cannot be '2'"),
        ({"kind": "nonsense", "body": "poem"}, "body cannot be 'poem'"),
        ({"kind": "patch", "fields": []}, "fields cannot be []"),
        ({"kind": "set_state", "service": "hbase", "state": "stopped"}, "The service hbase does not exist."),
        ({"kind": "set_state", "service": "HBase", "state": "gone"}, "'gone' is not a valid State"),
        ({"kind": "refuse", "seconds": 1, "port": "all"}, "port cannot be 'all'"),
        ({"kind": "fail_next", "service": "HBase", "action": "configure"}, "neither stop nor start"),
        ({"kind": "pretend_next", "service": "HBase", "action": "configure"}, "neither stop nor start"),
        ({"kind": "redirect", "url": "https://a\r\nX: y"}, "only a text that a header can carry"),
        ({"kind": "redirect", "url": "https://\u4f60"}, "only a text that a header can carry"),
        ({"kind": "status", "code": 503, "retry_after": "1\n"}, "only a text that a header can carry"),
        ({"kind": "word", "value": "\ud800"}, "half of a character"),
        ({"kind": "fail_next", "service": "\ud800", "action": "stop"}, "half of a character"),
        ([], "not a JSON object"),
    ],
    ids=ascii,
)
def test_what_makes_no_sense_is_refused(visit: Visit, body: object, complaint: str) -> None:
    visitor = visit()
    answer = visitor.post(FAULTS, body)
    assert answer.status_code == 400
    assert complaint in answer.json()["error"]
    assert visitor.get(FAULTS).json() == {"faults": []}


NO_SECONDS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1e308",
    "-1",
    "-0.001",
    "true",
    "9" * 400,
    "9" * 5000,
    '"1"',
]
NO_COUNT = [*NO_SECONDS, "0", "1.5", "1000000000"]


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ('"kind": "stall", "seconds": {}', NO_SECONDS),
        ('"kind": "drip", "seconds": {}', NO_SECONDS),
        ('"kind": "cut", "for_seconds": {}', NO_SECONDS),
        ('"kind": "cut", "chance": {}', [*NO_SECONDS, "1.001", "2"]),
        ('"kind": "cut", "times": {}', NO_COUNT),
        ('"kind": "flood", "megabytes": {}', NO_COUNT),
        ('"kind": "status", "code": {}', [*NO_COUNT, "100", "199", "600", "503.0"]),
        ('"kind": "redirect", "url": "/", "code": {}', [*NO_COUNT, "100", "600"]),
        (
            '"kind": "status", "code": 503, "retry_after": {}',
            ["NaN", "Infinity", "1e308", "true", "9" * 5000],
        ),
        ('"kind": "patch", "fields": {{"total_progress": {}}}', ["NaN", "-Infinity", "1e999", "9" * 5000]),
        ('"kind": "word", "value": [{}]', ["NaN", "-Infinity", "1e999", "9" * 5000]),
        ('"kind": "refuse", "seconds": {}', NO_SECONDS),
        ('"kind": "switchover", "seconds": {}', NO_SECONDS),
        ('"kind": "pass_time", "seconds": {}', NO_SECONDS),
        ('"kind": "set_state", "service": "HBase", "state": "stopping", "seconds": {}', NO_SECONDS),
        ('"kind": "set_state", "service": "HBase", "state": "stopped", "seconds": {}', [*NO_SECONDS, "1"]),
        ('"kind": "fail_next", "service": "HBase", "action": "stop", "at": {}', [*NO_SECONDS, "1.1"]),
        ('"kind": "fail_next", "service": "HBase", "action": "stop", "times": {}', NO_COUNT),
        (
            '"kind": "fail_next", "service": "HBase", "action": "stop", "code": {}',
            ["NaN", "1e308", "true", "1.5", str(2**63), str(-(2**63) - 1), "9" * 5000],
        ),
        ('"kind": "pretend_next", "service": "HBase", "action": "stop", "times": {}', NO_COUNT),
    ],
)
def test_numbers_that_mean_nothing_are_refused(visit: Visit, fields: str, numbers: list[str]) -> None:
    visitor = visit(command_seconds=0)
    before = time.time()
    for number in numbers:
        body = "{" + fields.format(number) + "}"
        answer = visitor.session.post(visitor.web + FAULTS, data=body)
        assert answer.status_code == 400, body
        assert len(answer.json()["error"]) < 200
    assert visitor.get(FAULTS).json() == {"faults": []}
    assert visitor.simulator.journal.entries() == []
    assert visitor.simulator.clock() < before + 3600
    cluster = visitor.simulator.cluster
    cluster.stop("HBase")
    visitor.simulator.journal.wait_for(lambda: cluster.running is None)
    assert cluster.service("HBase").state == "stopped"


def test_time_ends_before_the_calendar_does(visit: Visit) -> None:
    visitor = visit()
    answers = [visitor.post(FAULTS, {"kind": "pass_time", "seconds": 10**9}) for _ in range(300)]
    assert [answer.status_code for answer in answers[:200]] == [200] * 200
    assert answers[-1].status_code == 400
    assert "no time" in answers[-1].json()["error"]
    visitor.simulator.journal.on_entry(tell)
    visitor.post(FAULTS, {"kind": "forget_commands"})
    assert visitor.get(FAULTS).status_code == 200


@pytest.mark.parametrize("levels", [33, 500, 900, 1000, 100_000])
def test_what_is_too_deep_is_refused(visit: Visit, levels: int) -> None:
    visitor = visit()
    body = '{"kind": "word", "value": ' + "[" * levels + "]" * levels + "}"
    answer = visitor.session.post(visitor.web + FAULTS, data=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "more than 32 levels")
    assert visitor.get(FAULTS).json() == {"faults": []}


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_that_allows_no_page_comes_without_one(
    visit: Visit, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = visit()
    visitor.post(FAULTS, {"kind": "status", "code": code})
    for _ in range(2):
        assert visitor.get("/web/v1/clusters").status_code == code
    assert "Traceback" not in caplog.text
    assert visitor.simulator.journal.connections["web"] == 1


def test_what_is_no_json_is_refused(visit: Visit) -> None:
    visitor = visit()
    for body in (b"", b"{", b"\xff"):
        assert visitor.session.post(visitor.web + FAULTS, data=body).status_code == 400


def test_a_command_that_claims_what_is_not_so(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.post(FAULTS, {"kind": "pretend_next", "service": "HBase", "action": "stop"})
    visitor.move("stop", "HBase")
    visitor.simulator.journal.wait_for(lambda: visitor.progress(1)["state"] == "COMPLETE")
    assert visitor.properties("HBase")["Running Status"] == "Normal"


def test_a_command_that_fails(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.post(FAULTS, {"kind": "fail_next", "service": "HBase", "action": "stop", "at": 0, "code": -7})
    visitor.move("stop", "HBase")
    visitor.simulator.journal.wait_for(lambda: visitor.progress(1)["state"] == "FAILED")
    assert visitor.progress(1)["error_code"] == -7


def test_clearing_lets_commands_go_well_again(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.post(FAULTS, {"kind": "fail_next", "service": "HBase", "action": "stop"})
    visitor.post(FAULTS, {"kind": "pretend_next", "service": "HBase", "action": "stop"})
    visitor.session.delete(visitor.web + FAULTS)
    visitor.move("stop", "HBase")
    visitor.simulator.journal.wait_for(lambda: visitor.progress(1)["state"] != "IN_PROGRESS")
    assert visitor.progress(1)["state"] == "COMPLETE"
    assert visitor.properties("HBase")["Running Status"] == "Not started"


def test_someone_elses_command(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.post(FAULTS, {"kind": "set_state", "service": "HBase", "state": "stopping", "seconds": 600})
    assert visitor.properties("HBase")["Running Status"] == "Stopping"
    visitor.post(FAULTS, {"kind": "pass_time", "seconds": 600})
    assert visitor.properties("HBase")["Running Status"] == "Not started"


def test_commands_are_forgotten(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.move("stop", "HBase")
    visitor.post(FAULTS, {"kind": "forget_commands"})
    assert visitor.progress(1)["state"] == "FAILED"


def test_sessions_expire(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.post(FAULTS, {"kind": "expire_sessions", "tickets": False})
    assert visitor.move("stop", "HBase").status_code == 302
    assert visitor.get("/web/v1/clusters").json()["state"] == "COMPLETE"


@pytest.mark.parametrize("event", ["refuse", "switchover"])
def test_an_outage_is_answered_before_it_begins(visit: Visit, event: str) -> None:
    visitor = visit().enter()
    answer = visitor.post(FAULTS, {"kind": event, "seconds": 0.2})
    assert answer.json() == {"faults": []}
    journal = visitor.simulator.journal
    journal.wait_for(lambda: journal.count("port closed") == 2)


def test_an_outage_of_the_other_port_is_ended(visit: Visit) -> None:
    visitor = visit()
    visitor.simulator.refuse(600, "cas")
    visitor.post(FAULTS, {"kind": "admit"})
    visitor.simulator.journal.wait_for(lambda: can_log_in(visitor))


def can_log_in(visitor: Visitor) -> bool:
    try:
        return "Log In Successful" in visitor.log_in().text
    except requests.ConnectionError:
        return False


def test_the_command_line_tells_about_faults() -> None:
    command = [sys.executable, "-m", "airflow_mrs.simulator", "--help"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "POST /simulator/faults" in told
    assert "--certificate" in told
    assert "--known-as" in told
