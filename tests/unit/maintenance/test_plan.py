from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mrs.maintenance.plan import NEEDS, Plan, make_plan


def before(plan: Plan, first: str, then: str) -> bool:
    return plan.stops.index(first) < plan.stops.index(then)


def test_what_needs_another_one_is_stopped_before_it_and_started_after_it() -> None:
    plan = make_plan(["HDFS", "HBase", "ZooKeeper", "Hive"])

    assert plan.stops == ("HBase", "Hive", "HDFS", "ZooKeeper")
    assert plan.starts == ("ZooKeeper", "HDFS", "Hive", "HBase")


def test_needs_reach_through_services_that_stay_up() -> None:
    """Spark needs Hive, which needs DBService."""
    assert make_plan(["DBService", "Spark"]).stops == ("Spark", "DBService")


def test_all_need_kerberos() -> None:
    for server in ("KrbServer", "LdapServer"):
        assert make_plan([server, "Kafka"]).stops == ("Kafka", server)


def test_the_authors_graph_wins() -> None:
    plan = make_plan(
        ["HBase-2", "HBase", "HDFS"], needs={"HBase-2": ["HBase"], "HDFS": ["HBase-2"], "HBase": []}
    )

    assert plan.stops == ("HDFS", "HBase-2", "HBase")


def test_the_authors_order_wins() -> None:
    assert make_plan(["HDFS", "HBase"], keep_order=True).stops == ("HDFS", "HBase")


def test_a_renamed_service_is_known_by_its_needs() -> None:
    assert make_plan(["HDFS", "Warehouse"], needs={"Warehouse": ["HDFS"]}).stops == ("Warehouse", "HDFS")


def test_dependents_are_taken_along() -> None:
    plan = make_plan(["HDFS"], with_dependents=True)

    assert plan.stops[-1] == "HDFS"
    assert plan.taken_along == {
        "Yarn",
        "Mapreduce",
        "HBase",
        "Hive",
        "Spark",
        "Spark2x",
        "Loader",
        "Oozie",
        "Flink",
    }
    assert before(plan, "Spark2x", "Hive")
    assert not plan.left_up


def test_what_stays_up_without_what_it_needs_is_named() -> None:
    plan = make_plan(["HDFS", "HBase"])

    assert plan.left_up["Hive"] == {"HDFS"}
    assert "HBase" not in plan.left_up
    assert "Kafka" not in plan.left_up
    assert "Hive (HDFS)" in str(plan)


def test_services_side_by_side_wait_only_for_what_they_need() -> None:
    plan = make_plan(["HBase", "Hive", "HDFS", "ZooKeeper", "Kafka"])

    assert plan.needed_directly("HBase") == ["HDFS"]
    assert plan.needed_directly("HDFS") == ["ZooKeeper"]
    assert plan.needed_directly("Kafka") == ["ZooKeeper"]
    assert plan.needed_directly("ZooKeeper") == []


def test_how_long_it_takes() -> None:
    plan = make_plan(["Kafka", "Anything"])

    assert plan.way_down == timedelta(minutes=1) + timedelta(minutes=2.5)
    assert plan.way_up == plan.way_down
    measured = Plan(plan.stops, plan.needs, measured={"Kafka": {"stop": 30.0}})
    assert measured.way_down == timedelta(seconds=30) + timedelta(minutes=2.5)
    assert measured.way_up == plan.way_up


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("services", {"services": []}),
        ("services", {"services": "HBase"}),
        ("services", {"services": {"HBase"}}),
        ("services", {"services": None}),
        ("services", {"services": ["HBase", "HBase"]}),
        ("each of services", {"services": ["../HBase"]}),
        ("each of services", {"services": ["HBase", None]}),
        ("needs", {"needs": {"MyHBase": "HDFS"}}),
        ("needs", {"needs": ["HDFS"]}),
        ("needs", {"needs": {"MyHBase": None}}),
        ("each name in needs", {"needs": {"MyHBase": ["HD FS"]}}),
        ("each name in needs", {"needs": {"My HBase": ["HDFS"]}}),
        ("needs", {"needs": {"HBase": ["Hive"], "Hive": ["HBase"]}}),
        ("needs", {"needs": {"HBase": ["Hive"], "Hive": ["HBase"]}, "keep_order": True}),
        ("needs", {"needs": {"HBase": ["HBase"]}}),
        ("keep_order", {"keep_order": "no"}),
        ("with_dependents", {"with_dependents": 1}),
    ],
    ids=str,
)
def test_what_makes_no_plan(argument: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must "):
        make_plan(**{"services": ["HBase", "Hive"], **arguments})


@given(st.sets(st.sampled_from(sorted(NEEDS)), min_size=1))
def test_the_order_holds_for_any_services(services: set[str]) -> None:
    plan = make_plan(sorted(services))

    assert set(plan.stops) == services
    for service in services:
        assert all(before(plan, service, needed) for needed in NEEDS[service] & services)
