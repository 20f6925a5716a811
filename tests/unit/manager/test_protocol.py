from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.manager import arguments, protocol
from airflow_mrs.manager.errors import BadAnswer, InvalidArgument, RequestRefused
from airflow_mrs.manager.message import Response
from airflow_mrs.manager.model import (
    ClusterHealth,
    CommandState,
    Configuration,
    FailedEntity,
    Measurement,
    ServiceState,
    Step,
)

from .driver import NOW, answer, page

if TYPE_CHECKING:
    from collections.abc import Callable


def read(call: protocol.Call[Any], **envelope: Any) -> Any:
    return call.read(protocol.open_envelope(answer(**envelope)))


# ---- what is sent ----------------------------------------------------------------------------------------


def test_a_stop_and_a_start_always_say_whether_others_are_taken_along() -> None:
    stop = protocol.stop_service("HBase", cluster_id=2)
    start = protocol.start_service("HBase", only_self=False)
    assert (str(stop), stop.body) == ("POST /maintain/cluster/2/service/HBase/stop", {"only_self": True})
    assert (str(start), start.body) == ("POST /maintain/cluster/1/service/HBase/start", {"only_self": False})


def test_metrics_ask_for_no_more_than_was_wanted() -> None:
    few = protocol.get_metrics(["a", "b"], start_time=1, end_time=2)
    assert few.query == (("metric_names", "a,b"), ("start_time", "1"), ("end_time", "2"))
    more = protocol.get_metrics(
        ["a"], start_time=1, end_time=2, metric_period=60, hosts=["n1", "n2"], metric_node_type="all"
    )
    assert more.query[3:] == (("metric_period", "60"), ("hosts", "n1,n2"), ("metric_node_type", "all"))


def test_a_configuration_is_saved_by_component() -> None:
    call = protocol.save_configuration(
        [Configuration("HDFS", {"dfs.replication": "3"})], restart_affected=True
    )
    assert str(call) == "POST /config/cluster/1/save"
    assert call.body is not None
    assert call.body["configurations_summary"] == {
        "restart_affected_components": True,
        "components": [
            {
                "component_name": "HDFS",
                "configurations": [{"name": "dfs.replication", "value": "3"}],
                "children": [],
                "classification": [],
            }
        ],
    }


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a%2Fb", "a b", "HBase\n", "HB\u00e4se", "a?b", "a#b", "\u0661", None, 7],
)
@pytest.mark.parametrize("build", [protocol.stop_service, protocol.start_service, protocol.get_service])
def test_no_other_name_gets_into_a_path(build: Callable[[str], object], name: str) -> None:
    with pytest.raises(InvalidArgument, match="Nothing was sent"):
        build(name)


@pytest.mark.parametrize("name", ["HBase", "Spark2x", "my-HBase_2.1", "..a"])
def test_names_of_services(name: str) -> None:
    assert arguments.check_service_name(name) == name


@pytest.mark.parametrize("wrong", [-1, "-1", "", "x", "1.0", 1.0, True, None, "\u0661", "9" * 19])
def test_no_other_id_gets_into_a_path(wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        arguments.check_cluster_id(wrong)
    with pytest.raises(InvalidArgument):
        protocol.get_command(wrong)


@pytest.mark.parametrize(("given", "number"), [(0, 0), ("0", 0), (" 4100 ", 4100), (4100, 4100)])
def test_ids_and_their_texts(given: int | str, number: int) -> None:
    assert arguments.check_command_id(given) == number
    assert arguments.check_cluster_id(given) == number


# ---- what is read ----------------------------------------------------------------------------------------

COMMAND = {
    "id": 4100,
    "state": "IN_PROGRESS",
    "error_code": -3,
    "error_description": "odd",
    "total_progress": 40,
    "res_obj": {
        "step_list": [{"name": "stop", "description": "Stop HBase"}],
        "fail_entity_list": [{"fail_entity": "n1", "operation_type": "STOP"}],
    },
}
OLDER = {
    "id": 4100,
    "state": "IN_PROGRESS",
    "errorCode": -3,
    "errorDescription": "odd",
    "totalProgress": 40,
    "resObj": {
        "stepList": [{"name": "stop", "description": "Stop HBase"}],
        "failEntityList": [{"failEntity": "n1", "operationType": "STOP"}],
    },
}


@pytest.mark.parametrize("envelope", [COMMAND, OLDER], ids=["snake", "camel"])
def test_a_command(envelope: dict[str, Any]) -> None:
    command = read(protocol.stop_service("HBase"), **envelope)
    assert (command.id, command.state, command.progress) == (4100, CommandState.IN_PROGRESS, 40)
    assert (command.error_code, command.error_description) == (-3, "odd")
    assert command.steps == (Step("stop", "Stop HBase"),)
    assert command.failed_entities == (FailedEntity("n1", "STOP"),)


@pytest.mark.parametrize(
    ("envelope", "command_id"),
    [
        ({"id": 0}, 0),
        ({"id": "7"}, 7),
        ({"id": 7.0}, 7),
        ({"id": 7.5}, -1),
        ({"id": -1}, -1),
        ({}, -1),
        ({"id": None}, -1),
        ({"id": -9}, -1),
    ],
)
def test_the_id_of_a_command(envelope: dict[str, Any], command_id: int) -> None:
    assert read(protocol.stop_service("HBase"), **envelope).id == command_id


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "iso-8859-1"])
def test_an_answer_in_the_encoding_that_it_declares(encoding: str) -> None:
    text = "l\xe4uft" if encoding == "iso-8859-1" else "\u6210\u529f"
    body = json.dumps({"id": 7, "error_description": text}, ensure_ascii=False).encode(encoding)
    response = Response(200, (("Content-Type", f"application/json;charset={encoding}"),), body)
    assert protocol.open_envelope(response).error_description == text


def test_utf_8_that_is_declared_as_something_else_is_utf_8() -> None:
    response = Response(
        200,
        (("Content-Type", "application/json;charset=ISO-8859-1"),),
        '{"error_description": "\u6210"}'.encode(),
    )
    assert protocol.open_envelope(response).error_description == "\u6210"


def test_blanks_around_a_state() -> None:
    assert read(protocol.stop_service("HBase"), state=" FAILED\n").state is CommandState.FAILED
    with pytest.raises(RequestRefused):
        read(protocol.get_service("HBase"), state=" FAILED ")


def test_progress_keeps_the_id_that_was_asked_for() -> None:
    assert read(protocol.get_command(4100), id=-1, state="COMPLETE").id == 4100


@pytest.mark.parametrize("answered", [4100, "4100", 0, -1, None])
def test_an_answer_that_names_no_other_command_is_about_the_asked_one(answered: object) -> None:
    assert read(protocol.get_command(4100), id=answered, state="COMPLETE").id == 4100


@pytest.mark.parametrize("answered", [4099, "4099", 10**400])
def test_an_answer_about_another_command_is_not_taken_for_that_of_the_asked_one(answered: object) -> None:
    with pytest.raises(BadAnswer, match="about another command") as caught:
        read(protocol.get_command(4100), id=answered, state="COMPLETE")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("entries", [50_000, 200_000])
def test_of_endless_lists_the_beginning_is_read_or_nothing(entries: int) -> None:
    lists: dict[str, list[object]] = {
        name: [{}] * entries for name in ("step_list", "fail_entity_list", "key_property", "clusters")
    }
    for call, name in (
        (protocol.get_command(1), "step_list"),
        (protocol.get_command(1), "fail_entity_list"),
        (protocol.get_service("HBase"), "key_property"),
        (protocol.list_clusters(), "clusters"),
    ):
        response = answer(state="COMPLETE", res_obj={name: lists[name]})
        if entries > 150_000 / 2:
            with pytest.raises(BadAnswer, match="more than 150000 values"):
                protocol.open_envelope(response)
            continue
        found = call.read(protocol.open_envelope(response))
        lengths = {len(getattr(found, field, ())) for field in ("steps", "failed_entities", "properties")}
        assert max({len(found)} if isinstance(found, list) else lengths) == 10_000


def test_many_measurements_are_read_whole() -> None:
    series = [{"time": n, "value": 1.5, "node": "node-1"} for n in range(30_000)]
    found = read(
        protocol.get_metrics(["m"], start_time=0, end_time=1), res_obj={"metric_datas": {"m": series}}
    )
    assert len(found["m"]) == 30_000


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("complete", CommandState.COMPLETE),
        ("In Progress", CommandState.IN_PROGRESS),
        ("in-progress", CommandState.IN_PROGRESS),
        ("NEW", CommandState.NEW),
        ("SUSPENDED", CommandState.UNKNOWN),
        (None, CommandState.UNKNOWN),
    ],
)
def test_the_state_of_a_command(word: str | None, state: CommandState) -> None:
    command = read(protocol.get_command(1), state=word)
    assert (command.state, command.word) == (state, word or "")


@pytest.mark.parametrize(
    ("total", "size", "progress"),
    [
        (40, None, 40),
        (None, 55, 55),
        (0, 55, 55),
        ("12", None, 12),
        (-5, None, 0),
        (1e99, None, 100),
        ("?", [], 0),
    ],
)
def test_the_progress_of_a_command(total: object, size: object, progress: int) -> None:
    command = read(protocol.get_command(1), total_progress=total, res_obj={"total_step_size": size})
    assert command.progress == progress


def status(value: object, name: str = "state", kind: str = "STATUS") -> dict[str, object]:
    return {"name": name, "value": value, "type": kind}


@pytest.mark.parametrize(
    ("properties", "named", "word", "state"),
    [
        ([status("Started")], None, "Started", ServiceState.UP),
        ([status("Good", "Health Status"), status("Stopped")], None, "Stopped", ServiceState.DOWN),
        ([status("v1.2", kind="TEXT"), status("Stopping")], None, "Stopping", ServiceState.STOPPING),
        ([status("2 of 3"), status("Stopped", "b")], None, "Stopped", ServiceState.DOWN),
        ([status("Failed to stop")], None, "Failed to stop", ServiceState.UNKNOWN),
        ([status("Started"), status("Stopped", "B")], "b", "Stopped", ServiceState.DOWN),
        ([status("Started")], "missing", "", ServiceState.UNKNOWN),
        ([status(["Started"]), status(None)], None, "", ServiceState.UNKNOWN),
        ([], None, "", ServiceState.UNKNOWN),
        ("nonsense", None, "", ServiceState.UNKNOWN),
    ],
)
def test_the_state_of_a_service(
    properties: object, named: str | None, word: str, state: ServiceState
) -> None:
    call = protocol.get_service("HBase", cluster_id=2, status_property=named)
    service = read(call, state="COMPLETE", res_obj={"key_property": properties})
    assert (service.name, service.cluster_id, service.word, service.state) == ("HBase", 2, word, state)


def test_clusters() -> None:
    content = {
        "clusters": [
            {
                "id": 1,
                "name": "a",
                "version": "3.1",
                "stack_model": "Sec",
                "cluster_state": "installingPatch",
            },
            {"id": "2", "stack_model": "NoSec", "cluster_state": None},
            {"stack_model": "?"},
        ]
    }
    clusters = read(protocol.list_clusters(), state="COMPLETE", res_obj=content)
    assert [cluster.id for cluster in clusters] == [1, 2, 0]
    assert [cluster.security_mode for cluster in clusters] == [True, False, None]
    assert [cluster.installing_patch for cluster in clusters] == [True, False, False]


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("GOOD", ClusterHealth.GOOD),
        ("bad ", ClusterHealth.BAD),
        ("odd", ClusterHealth.UNKNOWN),
        (None, ClusterHealth.UNKNOWN),
    ],
)
def test_the_health_of_a_cluster(word: str | None, health: ClusterHealth) -> None:
    assert read(protocol.get_cluster_health(), res_obj={"state": word}) is health


def test_metrics() -> None:
    series = {"cpu": [{"time": 5, "value": "1.5", "node": "n1"}, {"time": "6", "value": None}], "mem": None}
    measured = read(protocol.get_metrics(["cpu"], start_time=0, end_time=9), res_obj={"metric_datas": series})
    assert measured == {"cpu": [Measurement(5, 1.5, "n1"), Measurement(6, None, "")], "mem": []}


@pytest.mark.parametrize(
    "refusal", [{"state": "FAILED"}, {"state": "failed"}, {"state": "COMPLETE", "error_code": -3}]
)
@pytest.mark.parametrize(
    "call",
    [
        protocol.get_service("HBase"),
        protocol.list_clusters(),
        protocol.get_cluster_health(),
        protocol.get_metrics(["m"], start_time=0, end_time=1),
    ],
    ids=str,
)
def test_a_question_can_be_refused(call: protocol.Call[Any], refusal: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused, match="no such thing"):
        read(call, error_description="no such thing", **refusal)


def test_a_request_answered_failed_was_not_accepted() -> None:
    command = read(
        protocol.stop_service("HBase"), id=4100, state="FAILED", error_code=-300, error_description="busy"
    )
    with pytest.raises(RequestRefused, match="stop: Manager refused it with error -300: busy"):
        protocol.require_accepted(command, "stop")


# ---- what is no envelope ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 405, 418])
def test_4xx_is_a_refusal(status: int) -> None:
    with pytest.raises(RequestRefused, match=str(status)):
        protocol.open_envelope(page("<html>", status))


@pytest.mark.parametrize(
    ("response", "gateway"),
    [
        (Response(429), True),
        (Response(502), True),
        (Response(503), True),
        (Response(504), True),
        (Response(500), False),
        (Response(408), False),
        (Response(304), False),
        (page("<html>hello"), False),
        (Response(200, (), b'{"state": "COMPL'), False),
        (Response(200, (), b"[]"), False),
        (Response(200, (), b""), False),
    ],
)
def test_anything_else_is_a_lost_answer(response: Response, gateway: bool) -> None:
    with pytest.raises(BadAnswer) as caught:
        protocol.open_envelope(response)
    assert caught.value.gateway is gateway


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", None, 30.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", "yesterday", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", None, 0.0),
        ("Fri, 31 Feb 2027 08:00:00 GMT", None, None),
        ("Fri, 15 Jan 2027 08:00:30 +9999", None, None),
        ("-7", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_how_long_an_answer_asks_to_wait(value: str | None, date: str | None, seconds: float | None) -> None:
    headers = tuple(
        (name, text) for name, text in (("retry-after", value), ("date", date)) if text is not None
    )
    with pytest.raises(BadAnswer) as caught:
        protocol.open_envelope(Response(503, headers, received=NOW))
    assert caught.value.retry_after == seconds
