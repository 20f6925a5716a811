from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from airflow_mrs.maintenance.state.record import Phase, WindowKey, WindowRecord, new_id

CLAIM = WindowRecord(
    id=new_id(),
    holder=WindowKey("a_dag", "a_run", "maintenance"),
    mrs_conn_id="mrs_default",
    cluster_id=1,
    before=("Hive", "HBase"),
    down=("Kafka",),
    opened=12.5,
    cutoff=None,
    lapses=9e9,
)
OPEN = CLAIM.open()
CLOSING = OPEN.begin_to_close()
CLOSED = CLOSING.close()


def test_a_window_goes_from_phase_to_phase() -> None:
    assert [record.phase for record in (CLAIM, OPEN, CLOSING, CLOSED)] == list(Phase)
    assert [record.has_the_cluster for record in (CLAIM, OPEN, CLOSING, CLOSED)] == [False, True, True, False]


def test_a_window_may_be_told_twice() -> None:
    assert OPEN.open() == OPEN
    assert CLOSING.begin_to_close() == CLOSING
    assert CLOSED.close() == CLOSED


@pytest.mark.parametrize(
    ("record", "step"),
    [
        (CLAIM, WindowRecord.begin_to_close),
        (CLAIM, WindowRecord.close),
        (OPEN, WindowRecord.close),
        (CLOSING, WindowRecord.open),
        (CLOSED, WindowRecord.open),
        (CLOSED, WindowRecord.begin_to_close),
    ],
)
def test_there_is_no_way_back_and_none_is_passed_over(record: WindowRecord, step: object) -> None:
    assert callable(step)
    with pytest.raises(ValueError, match="can't become"):
        step(record)


def test_who_takes_over_brings_back_what_all_have_stopped() -> None:
    first = replace(OPEN, id="1", before=("HDFS", "HBase"))
    second = replace(OPEN, id="2", before=("HBase", "Kafka"))

    mine = CLAIM.open(instead_of=[first, second])

    assert mine.before == ("HDFS", "HBase", "Kafka", "Hive")
    assert mine.took_over == ("1", "2")


@pytest.mark.parametrize("record", [CLAIM, OPEN, CLOSING, CLOSED], ids=lambda record: record.phase)
def test_it_is_kept_as_json(record: WindowRecord) -> None:
    kept = replace(record, cutoff=17.25, took_over=("1",))

    assert WindowRecord.from_json(kept.to_json()) == kept
    assert WindowRecord.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept


@pytest.mark.parametrize(
    "edit",
    [
        {"phase": "shut"},
        {"before": "HBase"},
        {"before": [1]},
        {"holder": {"dag_id": "a"}},
        {"holder": None},
        {"cluster_id": "one"},
        {"mrs_conn_id": None},
        {"lapses": "tomorrow"},
        {"lapses": float("nan")},
        {"lapses": -1.0},
        {"lapses": 1e300},
        {"lapses": 10**400},
        {"lapses": True},
        {"cutoff": float("-inf")},
        {"still_after": -600.0},
        {"still_after": float("nan")},
        {"before": ["HBase/../../cluster/2/services/HDFS"]},
        {"before": ["{{ conn.warehouse.password }}"]},
        {"before": [".."]},
        {"before": ["HBase\n"]},
        {"down": ["HBase?only_self=false"]},
        {"took_over": [1]},
        {"mrs_conn_id": ""},
        {"cluster_id": True},
        {"holder": {"dag_id": 5, "run_id": "r", "group_id": "g"}},
        {"holder": {"dag_id": "d", "run_id": "", "group_id": "g"}},
        {"holder": {"dag_id": "d", "run_id": "r", "group_id": "g", "map_index": "x"}},
        {"opened": float("inf")},
        {"cutoff": "03:00"},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_what_somebody_has_edited_is_no_record(edit: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        WindowRecord.from_dict({**OPEN.to_dict(), **edit})


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"open"', "12", "{}"])
def test_what_is_none_of_ours_is_no_record(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        WindowRecord.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000,
        '{"before":' * 6_000,
        json.dumps({**OPEN.to_dict(), "before": ["HBase"] * 1_000_000}),
        json.dumps({**OPEN.to_dict(), "x" * 8_000_000: 1}),
    ],
    ids=["deep list", "deep object", "a million services", "8 MB"],
)
def test_what_is_deep_or_giant_is_no_record(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        WindowRecord.from_json(text)
    assert len(str(caught.value)) < 1000


def test_what_is_wrong_with_a_record_is_said_in_short() -> None:
    with pytest.raises(ValueError, match=r"characters more") as caught:
        WindowRecord.from_dict({**OPEN.to_dict(), "x" * 8_000_000: 1})
    assert len(str(caught.value)) < 1000


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(50)]

    assert len(set(ids)) == 50
    assert all(first[:21] <= second[:21] for first, second in pairwise(ids))


@pytest.mark.parametrize(
    ("map_index", "text"),
    [
        (-1, "window 'maintenance' of run 'a_run' of DAG 'a_dag'"),
        (0, "window 'maintenance'[0] of run 'a_run' of DAG 'a_dag'"),
    ],
)
def test_a_window_is_named_with_its_index_where_it_has_one(map_index: int, text: str) -> None:
    assert str(WindowKey("a_dag", "a_run", "maintenance", map_index)) == text
