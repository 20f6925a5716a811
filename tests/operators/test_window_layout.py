"""What a window makes of the DAG that it stands in."""

from __future__ import annotations

import json
import re
import time
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from textwrap import dedent
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    BaseOperator,
    SkipMixin,
    TaskDeferred,
    TaskGroup,
    task,
    task_group,
)

from airflow_mrs.maintenance import admission, dag_checks, maintenance_guard_dag, maintenance_window
from airflow_mrs.maintenance.admission import Admission
from airflow_mrs.operators.service import (
    MRSRestartServiceOperator,
    MRSStartServiceOperator,
    MRSStopServiceOperator,
)
from airflow_mrs.triggers.cluster import MRSClusterHealthTrigger
from tests.operators.conftest import AIRFLOW_3, load_dags, states
from tests.operators.harness import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mrs.simulator import Simulator


START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("a_dag", schedule=None, start_date=START) as dag:
        yield dag


class Work(BaseOperator):
    """Any work."""

    template_fields = ("value",)

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


def test_a_window_can_be_drawn_and_asked_for_its_summary_before_its_block(dag: DAG) -> None:
    window = maintenance_window(["HBase"])
    Work(task_id="before") >> window >> Work(task_id="after")
    Work(task_id="report", value=window.summary)
    with window:
        Work(task_id="work")

    assert {
        ("before", "open"),
        ("stop_HBase", "work"),
        ("verdict", "after"),
        ("verdict", "outcome"),
        ("close", "report"),
    } < edges(dag)


def test_a_window_has_one_block(dag: DAG) -> None:
    with maintenance_window(["HBase"]) as window:
        pass

    with pytest.raises(ValueError, match="'maintenance' had its block already"), window:
        pass


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
        DAG("a_dag", schedule=None, start_date=START, default_args=defaults) as dag,
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


def test_its_tasks_are_tried_three_times_more_where_nobody_says_how_often(dag: DAG) -> None:
    with maintenance_window(["HBase"]) as window:
        Work(task_id="work")
    window >> Work(task_id="after")

    tries = {one.task_id.rpartition(".")[2]: (one.retries, one.retry_delay) for one in dag.tasks}
    assert {label for label, (retries, _) in tries.items() if not retries} == {"work", "after"}
    assert {how for how in tries.values() if how[0]} == {(3, timedelta(seconds=30))}


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


def test_work_that_is_cut_is_cut_in_the_triggerer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Work(task_id="work")
    begun: Any = Admission.__new__(Admission)
    clock = SimpleNamespace(time=lambda: 1000.0)
    monkeypatch.setattr(admission, "time", clock)

    begun._cut({"task": one, "ti": SimpleNamespace(next_method=None)}, 1005.0)
    clock.time = lambda: 1002.0  # it worked for a while before it defers

    assert one.execution_timeout == timedelta(seconds=5)
    with pytest.raises(TaskDeferred) as deferral:
        one.defer(trigger=MRSClusterHealthTrigger("a", 1, 0.0), method_name="x", timeout=timedelta(hours=1))
    assert deferral.value.timeout == timedelta(seconds=3)


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
        {"timeout": 0},
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


# ---- what the DAG has to be like -------------------------------------------------------------------------


@pytest.fixture
def import_error(tmp_path: Path) -> Callable[[str], str]:
    """Let Airflow parse a file with these lines below some imports, and return what it makes of it."""

    def parse(lines: str) -> str:
        file = tmp_path / "some_dags.py"
        file.write_text(
            "from datetime import datetime, timedelta\n"
            "from airflow.providers.common.compat.sdk import DAG, BaseOperator as Work, task\n"
            "from airflow_mrs.maintenance import maintenance_window\n"
            "start_date = datetime(2026, 1, 1)\n" + dedent(lines)
        )
        # After the environment is set; where Airflow 3 has moved it, or where Airflow 2 has it.
        dagbag = import_module("airflow.dag_processing.dagbag" if AIRFLOW_3 else "airflow.models.dagbag")
        bag = dagbag.DagBag(file)
        assert bool(bag.dags) != bool(bag.import_errors)
        return " ".join(bag.import_errors.values())

    return parse


FREEZES = pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        (
            "dagrun_timeout",
            timedelta(hours=2),
            r"'a_dag' has a dagrun_timeout.*leaves its services down.*DeadlineAlert",
        ),
        (
            "max_consecutive_failed_dag_runs",
            1,
            r"'a_dag' has max_consecutive_failed_dag_runs=1.*leaves its services down.*dag.\w+ = 0 before",
        ),
    ],
)


@FREEZES
def test_a_dag_that_may_be_ended_or_paused_in_the_middle_is_refused(
    attribute: str, value: Any, message: str
) -> None:
    arguments = {attribute: value}
    with (
        DAG("a_dag", schedule=None, start_date=START, **arguments),
        pytest.raises(ValueError, match=message),
        maintenance_window(["HBase"]),
    ):
        pass


def test_so_is_one_that_airflow_gives_such_a_default_to(
    import_error: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = """
        with DAG("a_dag", schedule=None, start_date=start_date) as dag:
            {instead}
            with maintenance_window(["HBase"]):
                pass
        """
    monkeypatch.setenv("AIRFLOW__CORE__MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG", "5")
    assert "max_consecutive_failed_dag_runs=5" in import_error(lines.format(instead=""))
    instead = "dag.max_consecutive_failed_dag_runs = 0"
    assert not import_error(lines.format(instead=instead))
    monkeypatch.setattr(dag_checks, "_IS_3_0", True)  # its scheduler takes 0 for that default
    assert "no DAG of Airflow 3.0 can say otherwise" in import_error(lines.format(instead=instead))


def test_the_guard_is_not_paused_while_it_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG", "5")

    assert maintenance_guard_dag().max_consecutive_failed_dag_runs == 0
    assert maintenance_guard_dag(max_consecutive_failed_dag_runs=9).max_consecutive_failed_dag_runs == 9


@FREEZES
def test_the_dag_is_looked_at_when_it_is_complete(
    import_error: Callable[[str], str], attribute: str, value: Any, message: str
) -> None:
    value = repr(value).replace("datetime.", "")

    error = import_error(
        f"""
        with DAG("a_dag", schedule=None, start_date=start_date) as dag:
            with maintenance_window(["HBase"]):
                pass
        dag.{attribute} = {value}
        """
    )

    assert re.search(message, error)


@pytest.mark.parametrize(
    ("below", "message"),
    [
        ("extract >> load", "maintenance.load waits for extract.*inside of the window's block"),
        ("load.set_upstream(extract)", "maintenance.load waits for extract"),
        ("extract >> start", "maintenance.start_HBase waits for extract"),
        ("branch() >> start", "choose is drawn to maintenance.start_HBase by hand"),
        ("start.trigger_rule = 'all_success'", "maintenance.start_HBase has been given the trigger rule"),
        ("start.depends_on_past = True", "maintenance.start_HBase has been made to wait for an earlier run"),
        ("load.depends_on_past = True", "maintenance.load waits for an earlier run"),
        ("load.start_from_trigger = True", "maintenance.load starts in the triggerer"),
        ("extract >> window; extract >> load", ""),
        ("before = Work(task_id='before'); extract >> before >> window; extract >> load", ""),
        ("window >> extract >> Work(task_id='later')", ""),
        ("load >> extract >> more", ""),
        ("load >> extract", ""),
        ("extract >> whatever", ""),
    ],
)
def test_what_is_drawn_or_changed_below_the_block(
    import_error: Callable[[str], str], below: str, message: str
) -> None:
    error = import_error(
        f"""
        @task.branch(task_id="choose")
        def branch(): ...

        with DAG("a_dag", schedule=None, start_date=start_date) as dag:
            extract = Work(task_id="extract")
            with maintenance_window(["HBase"]) as window:
                load, more = Work(task_id="load"), Work(task_id="more")
                load >> Work(task_id="whatever_comes", trigger_rule="all_done")
                whatever = dag.get_task("maintenance.whatever_comes")
            start = dag.get_task("maintenance.start_HBase")
            {below}
        """
    )

    assert re.search(message, error) if message else not error


def test_a_cluster_that_is_known_only_at_run_time_is_no_edge_past_the_opening(
    import_error: Callable[[str], str],
) -> None:
    assert not import_error(
        """
        with DAG("a_dag", schedule=None, start_date=start_date):
            with maintenance_window(["HBase"], cluster_id=Work(task_id="choose").output):
                Work(task_id="work")
        """
    )


@pytest.mark.parametrize(
    "below",
    ["Work(task_id='bare')", "window >> Work(task_id='after')", "Work(task_id='inside', task_group=window)"],
)
def test_a_window_that_is_never_entered(import_error: Callable[[str], str], below: str) -> None:
    error = import_error(
        f"""
        with DAG("a_dag", schedule=None, start_date=start_date):
            window = maintenance_window(["HBase"])
            {below}
        """
    )

    assert re.search("'maintenance' of DAG 'a_dag' has no block of work.*`with`", error)


@pytest.mark.parametrize(
    "broken",
    [
        "maintenance_window(['HBase'], timeout=0)",
        "maintenance_window(['HBase'], poll_interval='a while')",
        "maintenance_window(['HBase'], prefix_group_id=False)",
        "maintenance_window(['HBase'], no_such_argument=1)",
        "maintenance_window(['HBase'])",
    ],
)
def test_an_error_in_one_dag_is_none_in_the_next(broken: str) -> None:
    timeout = timedelta(hours=1) if broken == "maintenance_window(['HBase'])" else None
    with (
        pytest.raises(Exception, match=r"\w"),
        DAG("bad", schedule=None, start_date=START, dagrun_timeout=timeout),
        eval(broken),
    ):
        pass
    with DAG("good", schedule=None, start_date=START) as good:
        Work(task_id="plain")

    assert good.task_ids == ["plain"]


@pytest.mark.parametrize("arguments", [{}, {"depends_on_past": True}], ids=["in the work", "at its end"])
def test_so_is_one_in_its_block(arguments: dict[str, Any]) -> None:
    with (
        suppress(ZeroDivisionError, ValueError),
        DAG("bad", schedule=None, start_date=START),
        maintenance_window(["HBase"]),
        maintenance_window(["HBase"], group_id="inside"),
    ):
        Work(task_id="work", **arguments)
        1 / bool(arguments)
    with DAG("good", schedule=None, start_date=START) as good:
        Work(task_id="plain")

    assert good.task_ids == ["plain"]


def test_a_dag_whose_error_is_caught_is_not_let_in_half_made(import_error: Callable[[str], str]) -> None:
    error = import_error(
        """
        try:
            with DAG("a_dag", schedule=None, start_date=start_date), maintenance_window(["HBase"]):
                1 / 0
        except ZeroDivisionError:
            pass
        """
    )

    assert "has no block of work that came to its end" in error


# ---- what is looked at again before anything is stopped --------------------------------------------------


@pytest.fixture
def window_dag(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DAG]:
    def load(**arguments: Any) -> DAG:
        monkeypatch.setenv("TEST_WINDOW", json.dumps(arguments))
        return load_dags("windows.py")["window"]

    return load


def refused(dag: DAG, manager: Simulator, capsys: pytest.CaptureFixture[str], message: str) -> bool:
    run = dag.test()
    assert run.state == "failed"
    assert states(run)["maintenance.open"] == "failed"
    assert not manager.cluster.commands
    return re.search(f"{message}.*Nothing was stopped", capsys.readouterr().out) is not None


@pytest.mark.parametrize(
    ("node_id", "attribute", "value", "message"),
    [
        ("window", "dagrun_timeout", timedelta(hours=2), "has a dagrun_timeout"),
        ("window", "max_consecutive_failed_dag_runs", 3, "has max_consecutive_failed_dag_runs=3"),
        ("maintenance.stop_Hive", "depends_on_past", True, "stop_Hive has been made to wait for an earlier"),
        ("maintenance.work", "wait_for_downstream", True, "work waits for an earlier run"),
        ("maintenance.close", "trigger_rule", "all_success", "close has been given the trigger rule"),
        ("maintenance.work", "end_date", START, "work has a start_date or an end_date"),
        ("maintenance.work", "start_date", START.replace(year=2999), "work has a start_date or an end_date"),
    ],
)
def test_what_a_policy_has_done_to_the_dag(
    manager: Simulator,
    window_dag: Callable[..., DAG],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    node_id: str,
    attribute: str,
    value: Any,
    message: str,
) -> None:
    def mutate(node: Any) -> None:
        if node_id in {node.dag_id, getattr(node, "task_id", "")}:
            setattr(node, attribute, value)

    policy = "task_policy" if node_id.startswith("maintenance") else "dag_policy"
    monkeypatch.setattr(f"airflow.settings.{policy}", mutate)

    assert refused(window_dag(), manager, capsys, message)


def test_what_is_drawn_where_nobody_looks(
    manager: Simulator, window_dag: Callable[..., DAG], capsys: pytest.CaptureFixture[str]
) -> None:
    dag = window_dag()
    Work(task_id="extract", dag=dag) >> dag.get_task("maintenance.work")

    assert refused(dag, manager, capsys, "maintenance.work waits for extract")


# ---- what brings back is not cut -------------------------------------------------------------------------


def test_a_window_inside_brings_its_services_back_when_the_work_is_cut(
    manager: Simulator,
    simulate: Callable[..., Simulator],
    window_dag: Callable[..., DAG],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside = simulate()
    monkeypatch.setenv("AIRFLOW_CONN_MRS_INSIDE", inside.connection_json)

    def clock() -> float:
        past_the_cutoff = inside.cluster.service("Kafka").state == "stopped"
        return time.time() + (86400 if past_the_cutoff else 0)

    monkeypatch.setattr(admission, "time", SimpleNamespace(time=clock))
    ends = f"{datetime.now(UTC) + timedelta(hours=1):%H:%M:%S}"

    run = window_dag(
        ends=ends, cutoff=60, cut_work=True, inside={"services": ["Kafka"], "mrs_conn_id": "mrs_inside"}
    ).test()

    assert states(run)["maintenance.inside.work"] == "failed"
    assert states(run)["maintenance.inside.close"] == "success"
    assert [command.action for command in inside.cluster.commands] == ["stop", "start"]
    assert [command.action for command in manager.cluster.commands] == ["stop", "stop", "start", "start"]
    assert all(one.cluster.good for one in (manager, inside))


LATE = "past the cutoff"
NOT_OPEN = "is not open"


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Ask the gate of a window that cuts its work about a task of that; return why it refuses."""

    def may(task: Any, *, seconds_left: float, is_open: bool = True, **ti: Any) -> str:
        def require_open(_: object) -> SimpleNamespace:
            if not is_open:
                raise AirflowFailException(NOT_OPEN)
            record = SimpleNamespace(cutoff=time.time() + seconds_left)
            return SimpleNamespace(record=record)

        standing = SimpleNamespace(
            record=SimpleNamespace(cutoff=time.time() + seconds_left, lapses=time.time() + 600),
            in_its_place=None,
        )
        terms: Any = SimpleNamespace(
            cut_work=True, require_open=require_open, standing=lambda _: standing, holder=lambda _: "it"
        )
        ti = {"try_number": 1, "max_tries": 2, "next_method": None, **ti}
        if AIRFLOW_3:
            ti["_ti_context_from_server"] = SimpleNamespace(next_method=ti.pop("next_method"))
        store = ti.pop("task_state_store", None)
        context: Any = {"task": task, "ti": SimpleNamespace(**ti), "task_state_store": store}
        try:
            Admission(terms, None)(context)
        except AirflowFailException as refusal:
            return str(refusal)
        return ""

    return may


def test_work_is_cut(dag: DAG, ask: Callable[..., str]) -> None:
    work = Work(task_id="work")
    stop = MRSStopServiceOperator(task_id="stop", service_name="Kafka")

    for one in (work, stop):
        assert LATE in ask(one, seconds_left=-1)
        assert LATE in ask(one, seconds_left=-1, next_method="execute_complete")
        assert ask(one, seconds_left=9, is_open=False) == NOT_OPEN
        assert not ask(one, seconds_left=9)
        assert one.execution_timeout is not None


def test_what_brings_back_is_not_cut(dag: DAG, ask: Callable[..., str]) -> None:
    with maintenance_window(["HBase"]):
        start = MRSStartServiceOperator(task_id="start", service_name="Kafka")
        with maintenance_window(["HBase"], group_id="inside") as inner:
            Branch(task_id="branch")
        with TaskGroup("more"):
            inner >> Work(task_id="more")

    brings_back = [
        start,
        *(one for one in inner if one.is_teardown),
        dag.get_task("maintenance.inside.after_branch"),
    ]
    assert len(brings_back) == 6
    for one in brings_back:
        assert isinstance(one, BaseOperator)
        assert not ask(one, seconds_left=-1)
        assert not ask(one, seconds_left=9, is_open=False)
        assert one.execution_timeout is None
    for label in ("open", "stop_HBase", "branch"):
        assert LATE in ask(dag.get_task(f"maintenance.inside.{label}"), seconds_left=-1)
    assert isinstance(start._pre_execute_hook, Admission)


def test_a_teardown_is_not_cut_and_yet_runs_only_while_the_window_is_open(
    dag: DAG, ask: Callable[..., str]
) -> None:
    with maintenance_window(["HBase"]):
        clean_up = Work(task_id="clean_up").as_teardown(setups=Work(task_id="set_up"))

    assert not ask(clean_up, seconds_left=-1)
    assert clean_up.execution_timeout is None
    assert ask(clean_up, seconds_left=9, is_open=False) == NOT_OPEN


def test_of_a_restart_only_the_beginning_is_cut(dag: DAG, ask: Callable[..., str]) -> None:
    restart = MRSRestartServiceOperator(task_id="restart", service_name="Kafka", retries=2)

    assert LATE in ask(restart, seconds_left=-1)
    assert ask(restart, seconds_left=9, is_open=False) == NOT_OPEN
    assert LATE in ask(restart, seconds_left=-1, try_number=3, max_tries=4)  # it was cleared
    assert not ask(restart, seconds_left=9)
    assert not ask(restart, seconds_left=-1, is_open=False, try_number=2)
    assert not ask(restart, seconds_left=-1, is_open=False, next_method="execute_complete")
    assert restart.execution_timeout is None


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no store for tasks")
def test_a_restart_that_was_never_begun_is_cut_at_each_try(dag: DAG, ask: Callable[..., str]) -> None:
    """Its first try found Airflow or Manager away, so that there is nothing to bring back."""
    restart = MRSRestartServiceOperator(task_id="restart", service_name="Kafka", retries=2)
    store = Store()

    assert LATE in ask(restart, seconds_left=-1, try_number=2, task_state_store=store)
    store.set("mrs_command", {"phase": "submitting", "max_tries": 2})
    assert not ask(restart, seconds_left=-1, try_number=2, task_state_store=store)
    assert LATE in ask(
        restart, seconds_left=-1, try_number=4, max_tries=5, task_state_store=store
    )  # cleared since


def test_a_teardown_of_a_window_that_has_lapsed_is_not_admitted(dag: DAG) -> None:
    """Somebody clears it a week later, with services up."""
    teardown = Work(task_id="clean_up").as_teardown(setups=Work(task_id="set_up"))
    now = time.time()

    def admit(**times: float) -> None:
        def require_open(_: object) -> None:
            raise AirflowFailException(NOT_OPEN)

        standing = SimpleNamespace(record=SimpleNamespace(**times), in_its_place=None)
        terms: Any = SimpleNamespace(cut_work=True, require_open=require_open, standing=lambda _: standing)
        context: Any = {"task": teardown, "ti": SimpleNamespace()}
        Admission(terms, None)(context)

    admit(cutoff=now - 1, lapses=now + 600)
    with pytest.raises(AirflowFailException, match=NOT_OPEN):
        admit(cutoff=now - 7 * 86_400, lapses=now - 6 * 86_400)
