"""What a window makes of the DAG that it stands in."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    BaseOperator,
    SkipMixin,
    TaskDeferred,
    TaskGroup,
    task,
    task_group,
)

from airflow_mrs.maintenance import maintenance_window
from airflow_mrs.maintenance.admission import Admission
from airflow_mrs.triggers.cluster import MRSClusterHealthTrigger
from tests.operators.conftest import AIRFLOW_3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        yield dag


class Work(BaseOperator):
    """Any work."""

    def __init__(self, *, value: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {
        (one.task_id.rpartition(".")[2], other.rpartition(".")[2])
        for one in dag.tasks
        for other in one.downstream_task_ids
    }


def test_one_command_at_a_time(dag: DAG) -> None:
    with maintenance_window(["Hive", "HBase", "HDFS"]):
        Work(task_id="work")

    chain = [
        "open",
        "stop_Hive",
        "stop_HBase",
        "stop_HDFS",
        "work",
        "start_HDFS",
        "start_HBase",
        "start_Hive",
        "close",
        "verdict",
    ]
    setups = {("open", name) for name in (*chain[5:9], "verdict")} | {
        (f"stop_{s}", f"start_{s}") for s in ("Hive", "HBase", "HDFS")
    }
    assert edges(dag) == set(pairwise(chain)) | setups


def test_side_by_side_what_does_not_need_each_other(dag: DAG) -> None:
    with maintenance_window(["Hive", "HBase", "HDFS"], side_by_side=True):
        Work(task_id="work")

    found = edges(dag)
    assert {
        ("open", "stop_Hive"),
        ("open", "stop_HBase"),
        ("stop_Hive", "stop_HDFS"),
        ("stop_HBase", "stop_HDFS"),
    } < found
    assert {
        ("start_HDFS", "start_Hive"),
        ("start_HDFS", "start_HBase"),
        ("start_Hive", "close"),
        ("start_HBase", "close"),
    } < found
    assert ("stop_Hive", "stop_HBase") not in found
    assert ("work", "start_HDFS") in found


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_window_without_work(dag: DAG, *, side_by_side: bool) -> None:
    with maintenance_window(["Kafka", "HBase"], side_by_side=side_by_side):
        pass

    stops = {"stop_Kafka", "stop_HBase"} if side_by_side else {"stop_HBase"}
    starts = {"start_Kafka", "start_HBase"} if side_by_side else {"start_HBase"}
    assert {(stop, start) for stop in stops for start in starts} <= edges(dag)


def test_all_of_the_work_stands_between_the_stops_and_the_starts(dag: DAG) -> None:
    with maintenance_window(["HBase"]):
        first = Work(task_id="first")
        with TaskGroup("inner"):
            Work(task_id="one") >> Work(task_id="two")
        first >> Work(task_id="second")

    found = edges(dag)
    assert {
        ("stop_HBase", "first"),
        ("stop_HBase", "one"),
        ("second", "start_HBase"),
        ("two", "start_HBase"),
    } < found
    assert ("stop_HBase", "second") not in found
    assert ("first", "start_HBase") not in found


def test_what_stands_around_it_waits_for_all_of_it(dag: DAG) -> None:
    with maintenance_window(["HBase"]) as window:
        Work(task_id="work")
    Work(task_id="before") >> window >> Work(task_id="after")

    found = edges(dag)
    assert ("before", "open") in found
    assert ("verdict", "after") in found
    assert {one for one, other in found if other == "after"} == {"verdict"}


def test_the_outcome_stands_beside_what_follows(dag: DAG) -> None:
    with maintenance_window(["HBase"]) as window:
        Work(task_id="work")
    Work(task_id="before") >> window
    assert "maintenance.outcome" not in dag.task_ids

    with TaskGroup("afterwards"):
        Work(task_id="one") << window
        window >> Work(task_id="two")

    outcome: Any = dag.get_task("maintenance.outcome")
    assert outcome.upstream_task_ids == {"maintenance.open", "maintenance.verdict"}
    assert not outcome.downstream_task_ids
    assert (outcome.is_teardown, outcome.on_failure_fail_dagrun) == (True, True)


def test_no_start_comes_while_any_work_may_run(dag: DAG) -> None:
    with maintenance_window(["HBase"]):
        quick, slow, slower = (Work(task_id=name) for name in ("quick", "slow", "slower"))
        last = Work(task_id="last")
        [quick, slow >> slower] >> last

    assert {one for one, other in edges(dag) if other == "start_HBase"} == {
        *("open", "stop_HBase", "quick", "slower", "last")
    }


class Branch(Work, SkipMixin):
    """May skip what comes right after it."""


def test_a_branch_does_not_reach_a_start(dag: DAG) -> None:
    with maintenance_window(["HBase"]):
        Branch(task_id="alone")
        with TaskGroup("inner"):
            Branch.partial(task_id="mapped").expand(value=["a", "b"])

    found = edges(dag)
    assert {("alone", "after_alone"), ("after_alone", "start_HBase")} < found
    assert {("mapped", "after_inner_mapped"), ("after_inner_mapped", "start_HBase")} < found
    assert {one for one, other in found if other == "start_HBase"} & {"alone", "mapped"} == set()
    joint: Any = dag.get_task("maintenance.after_alone")
    assert str(getattr(joint.trigger_rule, "value", joint.trigger_rule)) == "all_done"


def test_it_opens_only_after_what_its_work_waits_for(dag: DAG) -> None:
    extract, check, late = (Work(task_id=name) for name in ("extract", "check", "late"))
    with maintenance_window(["HBase"]):
        load, more, whatever = (
            Work(task_id="load"),
            Work(task_id="more"),
            Work(task_id="w", trigger_rule="all_done"),
        )
        extract >> load >> late >> more
        check >> whatever << load

    assert dag.get_task("maintenance.open").upstream_task_ids == {"extract"}


def test_nothing_can_be_added_after_its_block(dag: DAG) -> None:
    with maintenance_window(["HBase"]) as window:
        pass

    with pytest.raises(ValueError, match=r"maintenance.late can't become a part.*'maintenance'.*has ended"):
        Work(task_id="late", task_group=window)


def test_every_start_is_a_teardown_of_the_opening(dag: DAG) -> None:
    with maintenance_window(["Hive", "HBase"]):
        Work(task_id="work")

    tasks = {one.task_id.rpartition(".")[2]: one for one in dag.tasks}
    assert {label for label, one in tasks.items() if one.is_setup} == {"open", "stop_Hive", "stop_HBase"}
    teardowns = {label for label, one in tasks.items() if one.is_teardown}
    assert teardowns == {"start_Hive", "start_HBase", "close", "verdict"}
    assert all(tasks[label].on_failure_fail_dagrun for label in teardowns)
    assert all("maintenance.open" in tasks[label].upstream_task_ids for label in teardowns)


def test_defaults_of_the_dag_do_not_keep_a_start_from_coming() -> None:
    defaults: dict[str, Any] = {
        "execution_timeout": timedelta(seconds=1),
        "depends_on_past": True,
        "wait_for_downstream": True,
        "trigger_rule": "none_failed",
        "retries": 7,
        "poke_interval": 1,
        "soft_fail": True,
        "mode": "poke",
        "deferrable": True,
        "timeout": 5,
        "do_xcom_push": False,
        "multiple_outputs": True,
        "never_fail": True,
        "silent_fail": True,
        "pre_execute": print,
        "post_execute": print,
    }
    with (
        DAG(
            "a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=defaults
        ) as dag,
        maintenance_window(["HBase"], deferrable=False),
    ):
        pass

    one: Any
    for one in dag.tasks:
        assert one.execution_timeout is None
        assert not one.depends_on_past
        assert not one.wait_for_downstream
        assert str(getattr(one.trigger_rule, "value", one.trigger_rule)) in {
            "all_success",
            "all_done_setup_success",
        }
        assert one.retries == 7
        assert one.do_xcom_push
        assert not one.multiple_outputs
        assert one._pre_execute_hook is one._post_execute_hook is None
    start: Any = dag.get_task("maintenance.start_HBase")
    assert (start.deferrable, start.timeout) == (False, 3600.0)
    opening: Any = dag.get_task("maintenance.open")
    assert (opening.soft_fail, opening.mode) == (False, "reschedule")
    assert not opening.never_fail
    assert not opening.silent_fail


@pytest.mark.parametrize("of_the_group", [False, True])
def test_defaults_say_which_cluster_it_is(*, of_the_group: bool) -> None:
    defaults = {"mrs_conn_id": "mrs_other", "cluster_id": 2, "poll_interval": 7, "deferrable": True}
    arguments: dict[str, Any] = {"default_args": defaults}
    with (
        DAG(
            "a_dag",
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            **({} if of_the_group else arguments),
        ) as dag,
    ):
        with maintenance_window(["HBase"], **(arguments if of_the_group else {})):
            pass
        with maintenance_window(["HBase"], group_id="here", mrs_conn_id="mrs_here", cluster_id=1):
            pass

    for label in ("open", "stop_HBase", "start_HBase", "close"):
        one: Any = dag.get_task(f"maintenance.{label}")
        assert (one.mrs_conn_id, one.cluster_id) == ("mrs_other", 2)
        one = dag.get_task(f"here.{label}")
        assert (one.mrs_conn_id, one.cluster_id) == ("mrs_here", 1)
    start: Any = dag.get_task("maintenance.start_HBase")
    assert (start.poll_interval, start.deferrable) == (7, True)


def test_starts_are_tried_again_where_nobody_says_how_often(dag: DAG) -> None:
    with maintenance_window(["HBase"]):
        pass

    assert dag.get_task("maintenance.start_HBase").retries == 3


# ---- what the work is held to ----------------------------------------------------------------------------


def test_every_task_of_the_work_asks_first(dag: DAG) -> None:
    def own_hook(context: Any) -> None: ...

    @task
    def some(number: int) -> None: ...

    with maintenance_window(["HBase"]):
        Work(task_id="plain")
        Work(task_id="with_a_hook", pre_execute=own_hook)
        Work.partial(task_id="mapped", pre_execute=own_hook).expand(value=["a", "b"])
        some.expand(number=[1, 2])

    plain: Any = dag.get_task("maintenance.plain")
    assert isinstance(plain._pre_execute_hook, Admission)
    hooked: Any = dag.get_task("maintenance.with_a_hook")
    assert hooked._pre_execute_hook._then is own_hook
    mapped: Any = dag.get_task("maintenance.mapped")
    assert mapped.partial_kwargs["pre_execute"]._then is own_hook
    decorated: Any = dag.get_task("maintenance.some")
    assert isinstance(decorated.partial_kwargs["pre_execute"], Admission)
    own: Any = dag.get_task("maintenance.start_HBase")
    assert own._pre_execute_hook is None


def test_work_that_is_cut_is_cut_in_the_triggerer_too() -> None:
    one = Work(task_id="work")
    admission: Any = Admission.__new__(Admission)

    admission._cut({"task": one}, time.time() + 5)

    assert one.execution_timeout is not None
    assert timedelta(seconds=4) < one.execution_timeout <= timedelta(seconds=5)
    with pytest.raises(TaskDeferred) as deferral:
        one.defer(trigger=MRSClusterHealthTrigger("a", 1, 0.0), method_name="x", timeout=timedelta(hours=1))
    assert isinstance(deferral.value.timeout, timedelta)
    assert deferral.value.timeout <= timedelta(seconds=5)


class Asynchronous(Work):
    """Work that begins in the triggerer."""

    start_from_trigger = True


class AsynchronousOnRequest(Work):
    """The same, but not of the class."""

    def __init__(self, *, start_from_trigger: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_from_trigger = start_from_trigger


@pytest.mark.parametrize(
    "begin",
    [
        lambda: Asynchronous(task_id="work"),
        lambda: Asynchronous.partial(task_id="work").expand(value=["a"]),
        lambda: AsynchronousOnRequest(task_id="work", start_from_trigger=True),
        lambda: AsynchronousOnRequest.partial(task_id="work", start_from_trigger=True).expand(value=["a"]),
    ],
    ids=["class", "mapped class", "argument", "mapped argument"],
)
def test_work_that_begins_in_the_triggerer_is_refused(dag: DAG, begin: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="start_from_trigger"), maintenance_window(["HBase"]):
        begin()


class OwnWay(Work):
    """Does not call what Airflow 2 leaves to the base class."""

    def pre_execute(self, context: Any) -> None: ...


@pytest.mark.parametrize("mapped", [False, True])
def test_work_that_would_not_ask_is_refused(dag: DAG, *, mapped: bool) -> None:
    def work() -> object:
        return OwnWay.partial(task_id="work").expand(value=["a"]) if mapped else OwnWay(task_id="work")

    # Airflow 3 asks by itself.
    refusal = nullcontext() if AIRFLOW_3 else pytest.raises(ValueError, match="pre_execute of its own")
    with refusal, maintenance_window(["HBase"]):
        work()


@pytest.mark.parametrize("argument", ["depends_on_past", "wait_for_downstream"])
@pytest.mark.parametrize("mapped", [False, True])
def test_work_that_waits_for_an_earlier_run_is_refused(dag: DAG, argument: str, *, mapped: bool) -> None:
    def work(**arguments: Any) -> None:
        if mapped:
            Work.partial(**arguments).expand(value=["a", "b"])
        else:
            Work(**arguments)

    with pytest.raises(ValueError, match="waits for an earlier run"), maintenance_window(["HBase"]):
        work(**{"task_id": "work", argument: True})


def test_a_dagrun_timeout_is_refused() -> None:
    timeout = timedelta(hours=2)
    with (
        DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), dagrun_timeout=timeout),
        pytest.raises(
            ValueError, match=r"'a_dag' has a dagrun_timeout.*leaves its services down.*DeadlineAlert"
        ),
        maintenance_window(["HBase"]),
    ):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        {"services": []},
        {"services": ["../x"]},
        {"cut_work": True},
        {"ends": "half past two"},
        {"timezone": "Nowhere"},
        {"needs": {"HBase": ["Hive"], "Hive": ["HBase"]}},
        {"prefix_group_id": False},
    ],
    ids=str,
)
def test_what_makes_no_window(dag: DAG, arguments: dict[str, Any]) -> None:
    with (
        pytest.raises(ValueError, match=r"\w"),
        maintenance_window(**{"services": ["HBase", "Hive"], **arguments}),
    ):
        pass


def test_a_window_in_a_mapped_group_has_the_index_of_its_group(dag: DAG) -> None:
    @task_group
    def one_cluster(mrs_conn_id: str) -> None:
        with maintenance_window(["HBase"], mrs_conn_id=mrs_conn_id):
            Work(task_id="work")

    one_cluster.expand(mrs_conn_id=["mrs_one", "mrs_two"])
    with maintenance_window(["HBase"], group_id="alone"):
        pass

    mapped: Any = dag.get_task("one_cluster.maintenance.open")
    assert (mapped.terms.mapped, mapped.terms.group_id) == (True, "one_cluster.maintenance")
    alone: Any = dag.get_task("alone.open")
    assert not alone.terms.mapped
