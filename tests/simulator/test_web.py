from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .visitor import Visitor

    Visit = Callable[..., Visitor]

ENVELOPE = {"id", "state", "error_code", "error_description", "total_progress", "res_obj"}


def test_login_with_a_page(visit: Visit) -> None:
    visitor = visit()
    answer = visitor.log_in()
    assert answer.status_code == 200
    assert "Log In Successful" in answer.text
    assert answer.history == []
    assert visitor.session.cookies.get_dict().keys() >= {"casSessionId", "CASTGC", "locale"}
    check = visitor.login_check()
    places = [(urlsplit(step.url).port, urlsplit(step.url).path) for step in [*check.history, check]]
    web, cas = visitor.simulator.web_port, visitor.simulator.cas_port
    assert places == [
        (web, "/web/v1/access/login_check"),
        (cas, "/cas/login"),
        (web, "/web/v1/access/login_check"),
    ]
    assert check.json().keys() >= ENVELOPE | {"modify_pwd", "exist_cluster", "remind_pwd", "ref_URL", "token"}
    assert (check.json()["state"], check.json()["error_code"]) == ("COMPLETE", 0)
    assert "JSESSIONID" in check.cookies
    assert visitor.simulator.journal.logins_attempted == visitor.simulator.journal.logins_succeeded == 1


def test_login_with_a_redirect(visit: Visit) -> None:
    visitor = visit(answer="redirect")
    answer = visitor.log_in()
    target = urlsplit(answer.history[0].headers["Location"])
    assert (target.port, target.path) == (visitor.simulator.web_port, "/web/cas_security_check.htm")
    assert parse_qs(target.query)["ticket"][0].startswith("ST-")
    check = visitor.login_check()
    assert check.history == []
    assert check.json()["state"] == "COMPLETE"


def test_the_login_ticket_needs_form_encoding_but_no_html_escapes(visit: Visit) -> None:
    visitor = visit()
    page = visitor.session.get(f"{visitor.cas}/cas/login").text
    lt = next(line for line in page.splitlines() if 'name="lt"' in line)
    value = lt.split('"')[5]
    assert re.fullmatch(r"\[execution=e\d+s1\]\[lt=LT-\S+-cas\]", value)
    assert "+" in value
    assert "%" in value
    assert not set("&<>") & set(value)


def test_the_first_cookie_of_the_form_and_the_last_of_the_login_are_those_that_count(visit: Visit) -> None:
    visitor = visit()
    page = visitor.session.get(f"{visitor.cas}/cas/login").raw.headers.getlist("Set-Cookie")
    assert len(page) > 1
    assert page[0].startswith("casSessionId=")
    login = visitor.log_in().raw.headers.getlist("Set-Cookie")
    assert len(login) > 1
    assert login[-1].startswith("CASTGC=TGT-")


def test_a_wrong_password_shows_the_form_again(visit: Visit) -> None:
    visitor = visit()
    answer = visitor.log_in("wrong")
    assert answer.status_code == 200
    assert "The credentials you provided cannot be determined to be authentic" in answer.text
    assert 'name="lt"' in answer.text
    assert "CASTGC" not in visitor.session.cookies.get_dict()


def test_five_wrong_passwords_lock_the_account(visit: Visit) -> None:
    visitor = visit(lock_seconds=600)
    for _ in range(5):
        visitor.log_in("wrong")
    assert "locked" in visitor.log_in().text
    visitor.simulator.pass_time(600)
    assert "Log In Successful" in visitor.log_in().text


def test_without_a_session_a_get_ends_at_the_login_page(visit: Visit) -> None:
    visitor = visit()
    answer = visitor.get("/web/v1/clusters?x=1")
    assert answer.status_code == 200
    assert 'name="lt"' in answer.text
    assert [step.status_code for step in answer.history] == [302]
    location = urlsplit(answer.history[0].headers["Location"])
    assert (location.hostname, location.port, location.path) == (
        "127.0.0.1",
        visitor.simulator.cas_port,
        "/cas/login",
    )
    assert parse_qs(location.query) == {"service": [f"{visitor.web}/web/v1/clusters?x=1"]}


def test_without_a_session_a_post_is_not_accepted(visit: Visit) -> None:
    visitor = visit()
    answer = visitor.move("stop", "HBase")
    assert (answer.status_code, answer.content) == (302, b"")
    assert urlsplit(answer.headers["Location"]).path == "/cas/login"
    assert visitor.simulator.journal.accepted("HBase", "stop") == 0
    assert visitor.simulator.cluster.service("HBase").state == "started"


def test_redirects_name_the_host_that_was_asked(visit: Visit) -> None:
    visitor = visit()
    visitor.web = visitor.web.replace("127.0.0.1", "localhost")
    answer = visitor.get("/web/v1/clusters", allow_redirects=False)
    assert urlsplit(answer.headers["Location"]).hostname == "localhost"


def test_redirects_name_the_host_by_which_manager_knows_itself(visit: Visit) -> None:
    visitor = visit(known_as="manager.internal")
    location = urlsplit(visitor.get("/web/v1/clusters", allow_redirects=False).headers["Location"])
    assert location.hostname == "manager.internal"
    assert urlsplit(parse_qs(location.query)["service"][0]).hostname == "manager.internal"


def test_cas_sends_nobody_elsewhere(visit: Visit) -> None:
    visitor = visit()
    answer = visitor.session.get(f"{visitor.cas}/cas/login", params={"service": "https://example.org/"})
    assert answer.status_code == 403


def test_idle_sessions_expire(visit: Visit) -> None:
    visitor = visit(idle_seconds=600).enter()
    assert visitor.get("/web/v1/clusters").json()["state"] == "COMPLETE"
    table = visitor.simulator.sessions
    key = visitor.session.cookies.get("JSESSIONID")
    assert len(table) == 1
    visitor.simulator.pass_time(601)
    assert table.use(key) is None
    assert 'name="lt"' in visitor.get("/web/v1/clusters").text


def test_an_expired_session_is_renewed_by_the_ticket_of_a_get(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.sessions.clear()
    assert visitor.move("stop", "HBase").status_code == 302
    assert visitor.get("/web/v1/clusters").json()["state"] == "COMPLETE"
    assert visitor.move("stop", "HBase").json()["id"] == 1


def test_normal_mode_needs_no_login(visit: Visit) -> None:
    visitor = visit(mode="normal")
    assert visitor.move("stop", "HBase").status_code == 302
    check = visitor.login_check()
    assert check.history == []
    assert "FISessionId" in check.cookies
    assert visitor.get("/web/v1/clusters").json()["res_obj"]["clusters"][0]["stack_model"] == "NoSec"
    assert visitor.move("stop", "HBase").json()["id"] == 1
    assert visitor.simulator.connection.keys() == {"conn_type", "host", "port", "extra"}
    assert visitor.simulator.connection["extra"]["auth"] == "none"


def test_logging_out(visit: Visit) -> None:
    visitor = visit().enter()
    answer = visitor.get("/web/v1/logout_action?is_timeout_logout=false")
    assert urlsplit(answer.history[0].headers["Location"]).path == "/cas/logout"
    assert visitor.session.post(f"{visitor.cas}/cas/logout").status_code == 200
    assert 'name="lt"' in visitor.get("/web/v1/clusters").text


def test_a_logout_at_cas_ends_the_web_session_too(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.session.post(f"{visitor.cas}/cas/logout")
    assert visitor.move("stop", "HBase").status_code == 302


def test_clusters(visit: Visit) -> None:
    answer = visit().enter().get("/web/v1/clusters").json()
    (cluster,) = answer["res_obj"]["clusters"]
    assert (cluster["id"], cluster["stack_model"], cluster["cluster_state"]) == (1, "Sec", None)


def test_a_stop_from_post_to_end(visit: Visit) -> None:
    visitor = visit(command_seconds=600).enter()
    assert visitor.properties("HBase")["Running Status"] == "Normal"
    assert visitor.get("/web/v1/cluster/1/status").json()["res_obj"] == {"state": "GOOD"}
    accepted = visitor.move("stop", "HBase").json()
    assert accepted.keys() == ENVELOPE
    assert (accepted["id"], accepted["state"]) == (1, "IN_PROGRESS")
    assert visitor.properties("HBase")["Running Status"] == "Stopping"
    progress = visitor.progress(1)
    assert progress["state"] == "IN_PROGRESS"
    assert progress["res_obj"]["step_list"] == [{"name": "HBase", "description": "Stop HBase"}]
    assert progress["total_progress"] < 100
    visitor.simulator.pass_time(600)
    assert visitor.progress(1)["state"] == "COMPLETE"
    assert visitor.progress(1)["res_obj"]["total_step_size"] == 100
    assert visitor.properties("HBase")["Running Status"] == "Not started"
    assert visitor.get("/web/v1/cluster/1/status").json()["res_obj"] == {"state": "BAD"}
    assert visitor.simulator.journal.accepted("HBase", "stop") == 1


def test_a_failed_command_names_what_failed(visit: Visit) -> None:
    visitor = visit().enter()
    visitor.simulator.cluster.fail_next("HBase", "start")
    visitor.simulator.cluster.set_state("HBase", "stopped")
    visitor.move("start", "HBase")
    visitor.simulator.journal.wait_for(lambda: visitor.progress(1)["state"] == "FAILED")
    failed = visitor.progress(1)
    assert failed["error_code"] < 0
    assert failed["error_description"] == "Failed to start HBase."
    assert failed["res_obj"]["fail_entity_list"] == [{"fail_entity": "HBase", "operation_type": "START"}]
    assert visitor.properties("HBase")["Running Status"] == "Failed to start"


def test_a_second_command_is_refused_while_one_runs(visit: Visit) -> None:
    visitor = visit(command_seconds=60).enter()
    visitor.move("stop", "HBase")
    answer = visitor.move("stop", "Kafka")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["state"]) == (-1, "FAILED")
    assert answer.json()["error_code"] < 0
    assert visitor.simulator.journal.accepted("Kafka", "stop") == 0


@pytest.mark.parametrize(
    "path",
    [
        "/web/v1/cluster/1/services/hbase",
        "/web/v1/cluster/2/services/HBase",
        "/web/v1/cluster/2/status",
        "/web/v1/common/command/99/progress",
    ],
)
def test_what_does_not_exist_is_a_failure(visit: Visit, path: str) -> None:
    answer = visit().enter().get(path)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["id"], answer.json()["res_obj"]) == ("FAILED", -1, None)
    assert answer.json()["error_code"] < 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b'{"only_self": "yes"}',
        b'{"only_self": true, "user_password": 1}',
    ],
)
def test_a_malformed_body_is_answered_with_a_page(visit: Visit, body: bytes) -> None:
    visitor = visit().enter()
    answer = visitor.session.post(f"{visitor.web}/web/v1/maintain/cluster/1/service/HBase/stop", data=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")
    assert visitor.simulator.cluster.running is None


def test_a_malformed_path_is_answered_with_a_page(visit: Visit) -> None:
    visitor = visit().enter()
    assert visitor.get("/web/v1/cluster/one/status").status_code == 400
    assert visitor.get("/web/v1/common/command/x/progress").status_code == 400
    assert visitor.get("/web/v1/nothing").status_code == 404


def test_the_words_of_2x(visit: Visit) -> None:
    visitor = visit(states="2x", command_seconds=60).enter()
    properties = visitor.properties("HBase")
    assert (properties["Health Status"], properties["Operating Status"]) == ("GOOD", "STARTED")
    visitor.move("stop", "HBase")
    assert visitor.properties("HBase")["Operating Status"] == "STARTED"
    visitor.simulator.cluster.set_state("Hue", "stopped")
    assert visitor.properties("Hue")["Operating Status"] == "STOPPED"


def test_old_spelling(visit: Visit) -> None:
    visitor = visit(camel_case=True)
    visitor.log_in()
    answer = visitor.login_check().json()
    assert answer.keys() == {
        "id",
        "state",
        "errorCode",
        "errorDescription",
        "totalProgress",
        "resObj",
        "modifyPwd",
        "existCluster",
        "remindPwd",
        "refURL",
        "token",
    }


def test_saving_a_configuration(visit: Visit) -> None:
    visitor = visit().enter()
    component = {"component_name": "HBase", "configurations": [{"name": "a", "value": "1"}], "children": []}
    body = {
        "id": 1,
        "configurations_summary": {"restart_affected_components": True, "components": [component]},
    }
    command = visitor.post("/web/v1/config/cluster/1/save", body).json()["id"]
    visitor.simulator.journal.wait_for(lambda: visitor.progress(command)["state"] == "COMPLETE")
    assert visitor.simulator.cluster.service("HBase").configuration == {"a": "1"}
    changes = [entry.details["state"] for entry in visitor.simulator.journal.state_changes("HBase")]
    assert changes == ["stopping", "stopped", "starting", "started"]
    assert visitor.post("/web/v1/config/cluster/1/save", {"id": 1}).status_code == 400


def test_metrics(visit: Visit) -> None:
    visitor = visit().enter()
    query = {
        "metric_names": "a,b",
        "metric_period": 60,
        "start_time": 0,
        "end_time": 120_000,
        "metric_node_type": "active",
    }
    data = visitor.get("/web/v1/monitor/metrics_info", params=query).json()["res_obj"]["metric_datas"]
    assert data.keys() == {"a", "b"}
    assert [point["time"] for point in data["a"]] == [0, 60_000, 120_000]
    for wrong in (
        {"metric_names": ""},
        {"metric_node_type": "some"},
        {"end_time": -1},
        {"metric_period": "x"},
        {"metric_period": "nan"},
        {"end_time": "9" * 400},
        {"start_time": "-" + "9" * 400},
    ):
        answer = visitor.get("/web/v1/monitor/metrics_info", params={**query, **wrong})
        assert answer.status_code == 400


def test_repeated_slashes_do_no_harm(visit: Visit) -> None:
    visitor = visit().enter()
    assert visitor.get("//web//v1///clusters").json()["state"] == "COMPLETE"


def test_the_journal_over_http_needs_no_login(visit: Visit) -> None:
    visitor = visit()
    visitor.enter().move("stop", "HBase")
    visitor.session.cookies.clear()
    journal = visitor.get("/simulator/journal").json()
    assert journal["logins_attempted"] == journal["logins_succeeded"] == 1
    assert journal["accepted"] == [{"service": "HBase", "action": "stop", "count": 1}]
    assert journal["connections"] == {"web": 1, "cas": 1}
    events = [entry["event"] for entry in journal["entries"]]
    assert events[:2] == ["login attempted", "login succeeded"]
