"""Wrong arguments are an error when the DAG is parsed. It names the argument and shows a right value."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.maintenance import maintenance_guard_dag, maintenance_window, to_markdown
from airflow_mrs.manager.model import Configuration
from airflow_mrs.operators.configuration import MRSSaveConfigurationOperator
from airflow_mrs.operators.service import (
    MRSRestartServiceOperator,
    MRSStartServiceOperator,
    MRSStopServiceOperator,
)
from airflow_mrs.sensors.cluster import MRSClusterHealthSensor
from airflow_mrs.sensors.command import MRSCommandSensor
from airflow_mrs.sensors.service import MRSServiceSensor
from airflow_mrs.triggers.cluster import MRSClusterHealthTrigger
from airflow_mrs.triggers.command import MRSCommandTrigger
from airflow_mrs.triggers.service import MRSServiceTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INFINITE = float("nan"), float("inf")
VALUES = {"HDFS": {"dfs.replication": "2"}}
NO_SECONDS = [0, -1, True, "5", None, NAN, INFINITE, timedelta()]
NO_FLAGS = ["False", 0, None]
NO_CONNECTION: list[Any] = ["", " ", None, 5]
NO_CLUSTER = ["one", -1, 1.5, None, True, ""]
NO_SERVICE = ["", "H Base", "../HBase", None, 5, ["HBase"]]


@pytest.fixture(autouse=True)
def dag() -> DAG:
    return DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def an_operator(operator: Callable[..., Any], **usual: Any) -> Callable[..., Any]:
    return lambda _, **given: operator(task_id="a_task", **{**usual, **given})


stop = an_operator(MRSStopServiceOperator, service_name="HBase")
start = an_operator(MRSStartServiceOperator, service_name="HBase")
restart = an_operator(MRSRestartServiceOperator, service_name="HBase")
save = an_operator(MRSSaveConfigurationOperator, configurations=VALUES)
command = an_operator(MRSCommandSensor, command_id=1)
service = an_operator(MRSServiceSensor, service_name="HBase")
health = an_operator(MRSClusterHealthSensor)


def window(dag: DAG, services: Any = ("HBase",), **given: Any) -> Any:
    with dag:
        return maintenance_window(services, **given)


def guard(_: DAG, **given: Any) -> Any:
    return maintenance_guard_dag(**given)


def a_trigger(trigger: Callable[..., Any], **usual: Any) -> Callable[..., Any]:
    return lambda _, **given: trigger(**{"mrs_conn_id": "mrs_default", "deadline": 0.0, **usual, **given})


command_trigger = a_trigger(MRSCommandTrigger, command_id=1)
service_trigger = a_trigger(MRSServiceTrigger, service_name="HBase", state="up")
health_trigger = a_trigger(MRSClusterHealthTrigger, cluster_id=1)


def hook(_: DAG, **given: Any) -> Any:
    return MRSManagerHook(**given)


def a_call(name: str, **usual: Any) -> Callable[..., Any]:
    """Return a call of the hook. No connection is there: nothing may get as far as that."""
    return lambda _, **given: getattr(MRSManagerHook("none"), name)(**{**usual, **given})


def no(argument: str, values: list[Any], *makes: Callable[..., Any]) -> list[Any]:
    return [(make, argument, {argument: value}) for make in makes for value in values]


WRONG = [
    *no("service_name", NO_SERVICE, stop, start, restart, service, service_trigger),
    *no(
        "cluster_id", NO_CLUSTER, stop, start, restart, save, service, health, service_trigger, health_trigger
    ),
    *no("mrs_conn_id", NO_CONNECTION, stop, restart, save, command, service, health, hook, command_trigger),
    *no("wait_for_completion", NO_FLAGS, stop, start, restart, save),
    *no("deferrable", NO_FLAGS, stop, start, restart, save, command, service, health),
    *no("only_self", NO_FLAGS, stop, start),
    *no("poll_interval", NO_SECONDS, stop, start, restart, save, command_trigger),
    *no("poke_interval", NO_SECONDS, command, service, health),
    *no("timeout", NO_SECONDS, stop, start, restart, save, command, service, health),
    *no("soft_fail", NO_FLAGS, command, service),
    *no("never_fail", NO_FLAGS, command, health),
    *no("silent_fail", NO_FLAGS, command),
    *no("exponential_backoff", NO_FLAGS, command),
    *no("command_id", ["abc", -2, 1.5, None, True, ""], command),
    *no("command_id", ["abc", -1, 1.5, True, ""], command_trigger),
    (command_trigger, "command_id", {"command_id": None}),
    (command_trigger, "action", {"service_name": "HBase", "action": "restart"}),
    (command_trigger, "action", {"service_name": "HBase"}),
    (command_trigger, "service_name", {"service_name": "H Base", "action": "stop"}),
    *no("deadline", [-1, NAN, None, "2026-01-01", True], command_trigger),
    *no("not_before", [-1, NAN, None], command_trigger),
    *no("state", ["started", "UP", "", None, True], service, service_trigger),
    *no(
        "configurations",
        [
            {},
            None,
            "HDFS",
            [],
            {"HDFS": {}},
            {"HDFS": "{{ x }}"},
            {"HDFS": {"a": 2}},
            {"HDFS": {1: "a"}},
            {"HDFS": {"": "a"}},
        ],
        save,
    ),
    (save, "a key of configurations", {"configurations": {"H DFS": {"a": "b"}}}),
    *no("restart_affected", NO_FLAGS, save),
    # Windows.
    *no("services", [[], None, "HBase", {"HBase"}, ["HBase", "HBase"], 5], window),
    (window, "each of services", {"services": ["HBase", "H Base"]}),
    (window, "each of services", {"services": ["{{ params.service }}"]}),
    *no("needs", ["HDFS", ["HDFS"], {"MyHBase": "HDFS"}, {"HBase": ["HBase"]}], window),
    (window, "each name in needs", {"needs": {"MyHBase": [5]}}),
    *no("mrs_conn_id", ["", 5], window),
    *no("cluster_id", ["one", -1, 1.5], window),
    *no("cluster_name", ["", 5], window),
    *no("ends", ["2:30", "02.30", "24:00", "", 230, "02:30 CET"], window),
    (window, "opens", {"opens": "1 am", "ends": "02:30"}),
    (window, "opens", {"opens": "02:30", "ends": "02:30"}),
    (window, "ends", {"opens": "01:00"}),
    (window, "ends", {"cut_work": True}),
    (window, "ends", {"cutoff": timedelta(minutes=10)}),
    *no("timezone", ["Europe/Atlantis", "", None, 1, "CET+1"], window),
    *(
        (window, "cutoff", {"ends": "02:30", "cutoff": wrong})
        for wrong in [0, -1, "10", True, 6 * 3600.0, INFINITE]
    ),
    (window, "cutoff", {"opens": "02:00", "ends": "02:30", "cutoff": timedelta(minutes=30)}),
    *no("keep_order", NO_FLAGS, window),
    (window, "keep_order", {"keep_order": True, "side_by_side": True}),
    *no("with_dependents", NO_FLAGS, window),
    *no("side_by_side", NO_FLAGS, window),
    *no("cut_work", NO_FLAGS, window),
    *no("on_refusal", ["ignore", "", None, True], window),
    *no("if_busy", ["queue", "", None], window),
    *no("settles_within", [0, -1, "600", None, INFINITE, 1e12], window),
    *no("lapses_after", [0, -1, "600", None, 60, timedelta(minutes=5), 1e12], window),
    *no("on_open", ["mail", lambda: None, asyncio.sleep], window),
    *no("on_close", ["mail", lambda context: None, lambda *, summary: None], window),
    *no("deferrable", ["False", 0], window),
    *no("poll_interval", [0, "5"], window),
    *no("timeout", [0, "5"], window),
    *no("group_id", ["", None, 5], window),
    *no("prefix_group_id", [False, "no"], window),
    *no("default_args", ["retries", 5], window),
    (window, "poll_interval", {"default_args": {"poll_interval": "5"}}),
    (window, "deferrable", {"default_args": {"deferrable": "no"}}),
    (window, "cluster_id", {"default_args": {"cluster_id": "one"}}),
    # The guard.
    *no("dag_id", ["", None, 5], guard),
    *no("schedule", ["every 5 minutes", "*/5 * * *"], guard),
    *no("default_args", ["retries", 5], guard),
    (guard, "poll_interval", {"default_args": {"poll_interval": 0}}),
    (guard, "dagrun_timeout", {"dagrun_timeout": timedelta(minutes=1)}),
    *no("summary", [None, "x", {}], lambda _, summary: to_markdown(summary)),
    # Calls of the hook.
    *no("service_name", NO_SERVICE, a_call("stop_service"), a_call("start_service"), a_call("get_service")),
    *no("cluster_id", NO_CLUSTER, a_call("stop_service", service_name="HBase"), a_call("get_cluster_health")),
    *no("only_self", NO_FLAGS, a_call("stop_service", service_name="HBase")),
    *no("command_id", ["abc", -1, None, 1.5], a_call("get_command"), a_call("wait_for_command")),
    *no("poll_interval", NO_SECONDS, a_call("wait_for_command", command_id=1)),
    *no("timeout", NO_SECONDS, a_call("wait_for_command", command_id=1)),
    *no("configurations", [[], None, VALUES, [VALUES]], a_call("save_configuration")),
    (
        a_call("save_configuration"),
        "component_name",
        {"configurations": [Configuration("H DFS", {"a": "b"})]},
    ),
    *no(
        "restart_affected",
        NO_FLAGS,
        a_call("save_configuration", configurations=[Configuration("HDFS", {"a": "b"})]),
    ),
    *no(
        "metric_names", ["cpu", [], None, [""], ["cpu"] * 11], a_call("get_metrics", start_time=0, end_time=1)
    ),
    *no("start_time", [1.5, -1, "0", None, True], a_call("get_metrics", metric_names=["cpu"], end_time=1)),
    *no("end_time", [0, "1", None], a_call("get_metrics", metric_names=["cpu"], start_time=0)),
    *no(
        "hosts",
        ["node-1", None, ["n"] * 51],
        a_call("get_metrics", metric_names=["cpu"], start_time=0, end_time=1),
    ),
    *no(
        "metric_period",
        [-1, "60", 0.5],
        a_call("get_metrics", metric_names=["cpu"], start_time=0, end_time=1),
    ),
    *no(
        "metric_node_type",
        ["both", ""],
        a_call("get_metrics", metric_names=["cpu"], start_time=0, end_time=1),
    ),
]


@pytest.mark.parametrize(("make", "argument", "given"), WRONG)
def test_a_wrong_argument(dag: DAG, make: Callable[..., Any], argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError,
        match=rf"(?s)^{re.escape(argument)}.*(such as |True or False|must be '|must be (True|False|None))",
    ):
        make(dag, **given)


def test_what_airflow_refuses_by_itself_is_named_too(dag: DAG) -> None:
    with pytest.raises(TypeError, match="services"):
        maintenance_window()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="end"):
        window(dag, end="02:30")
    with pytest.raises(
        (TypeError, import_module("airflow.exceptions").AirflowException), match="pol_interval"
    ):
        stop(dag, pol_interval=5)
    with pytest.raises(
        (TypeError, import_module("airflow.exceptions").AirflowException), match="service_name"
    ):
        MRSStopServiceOperator(task_id="a_task")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="only_self"):
        restart(dag, only_self=True)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (stop, {"service_name": "{{ params.service }}", "cluster_id": "{{ params.cluster }}"}),
        (
            stop,
            {"mrs_conn_id": "{% if x %}a{% endif %}", "poll_interval": 0.5, "timeout": timedelta(hours=2)},
        ),
        (stop, {"service_name": lambda context, jinja_env: "HBase"}),
        (stop, {"cluster_id": " 2 "}),
        (save, {"configurations": "{{ params.configurations }}"}),
        (save, {"configurations": {"HDFS": {"{{ params.name }}": "{{ params.value }}"}}}),
        (command, {"command_id": "-1"}),
        (command, {"command_id": "{{ ti.xcom_pull('stop') }}", "poke_interval": timedelta(seconds=5)}),
        (service, {"state": "{{ params.state }}", "mode": "reschedule", "soft_fail": True}),
        (window, {"mrs_conn_id": "{{ params.connection }}", "cluster_id": "{{ params.cluster }}"}),
        (window, {"settles_within": 600, "lapses_after": 3600.0, "cutoff": 600, "ends": "02:30:00"}),
        (
            window,
            {"needs": {"MyHBase": ("HDFS",), "MyKafka": set()}, "on_refusal": "skip", "if_busy": "wait"},
        ),
        (window, {"on_open": lambda *_: None, "on_close": lambda context, summary: None}),
        (
            window,
            {"on_close": print, "deferrable": True, "tooltip": "at night", "default_args": {"retries": 5}},
        ),
        (
            guard,
            {"schedule": None, "default_args": {"poll_interval": timedelta(seconds=5), "deferrable": True}},
        ),
    ],
)
def test_a_right_argument(dag: DAG, make: Callable[..., Any], given: dict[str, Any]) -> None:
    assert make(dag, **given)


def test_the_output_of_a_task_is_checked_when_it_is_there(dag: DAG) -> None:
    with dag:
        told: Any = BaseOperator(task_id="tell").output
        stop(dag, service_name=told, cluster_id=told, mrs_conn_id=told)
        MRSSaveConfigurationOperator(task_id="save", configurations={"HDFS": told})
        MRSSaveConfigurationOperator(task_id="save_all", configurations=told)
        MRSCommandSensor(task_id="wait", command_id=told)


def render(operator: Any, **variables: Any) -> Any:
    operator.render_template_fields({"params": variables})
    return operator


@pytest.mark.parametrize("native", [False, True])
def test_templates_are_texts_whatever_the_dag_says(native: bool) -> None:
    with DAG("a_dag", schedule=None, render_template_as_native_obj=native):
        stopping = MRSStopServiceOperator(
            task_id="stop",
            service_name="{{ params.name }}",
            cluster_id="{{ params.two }}",
            mrs_conn_id="{{ params.conn }}",
        )
        saving = MRSSaveConfigurationOperator(
            task_id="save",
            configurations={
                "HDFS": {
                    "dfs.replication": "{{ params.two }}",
                    "ratio": "0.10",
                    "on": "True",
                    "list": "[1,2]",
                }
            },
        )
        waiting = MRSServiceSensor(task_id="wait", service_name="{{ params.name }}", mrs_conn_id="007")
        opening = maintenance_window(["HBase"], mrs_conn_id="{{ params.conn }}")
        with opening:
            pass

    rendered = render(stopping, name="HBase", two=2, conn="007")
    assert (rendered.service_name, rendered.cluster_id, rendered.mrs_conn_id) == ("HBase", "2", "007")
    rendered = render(saving, two="2")
    assert rendered.configurations == {
        "HDFS": {"dfs.replication": "2", "ratio": "0.10", "on": "True", "list": "[1,2]"}
    }
    rendered = render(waiting, name="Hive")
    assert (rendered.service_name, rendered.mrs_conn_id) == ("Hive", "007")
    for task in opening:
        if hasattr(task, "mrs_conn_id"):
            assert render(task, conn="007").mrs_conn_id == "007"


@pytest.mark.parametrize("native", [False, True])
def test_what_a_mapped_task_is_handed_is_no_template(native: bool) -> None:
    """It may be a name that Manager gave. Airflow says so by ids, as of what is rendered already."""
    with DAG("a_dag", schedule=None, render_template_as_native_obj=native) as dag:
        tasks: list[Any] = [stop(dag), MRSServiceSensor(task_id="wait", service_name="HBase")]
        tasks.append(MRSSaveConfigurationOperator(task_id="save", configurations=VALUES))
    handed = "{{ 6 * 7 }}"

    for task in tasks:
        rendered = task.render_template(handed, {}, task.get_template_env(), {id(handed)})
        assert (rendered, str(task.render_template(handed, {}, task.get_template_env()))) == (handed, "42")


def test_a_template_of_all_values_is_rendered_as_the_dag_says() -> None:
    with DAG("a_dag", schedule=None, render_template_as_native_obj=True):
        saving = MRSSaveConfigurationOperator(task_id="save", configurations="{{ params.values_by_service }}")

    assert render(saving, values_by_service=VALUES).configurations == VALUES
