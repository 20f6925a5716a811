"""What a window that cuts its work still waits for past the cutoff, and what else must not keep services down."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator, SkipMixin

from airflow_mrs.maintenance import admission, maintenance_window, until_cutoff
from airflow_mrs.maintenance.admission import Admission
from airflow_mrs.maintenance.dag_checks import why_unfit
from airflow_mrs.maintenance.state.record import Phase
from airflow_mrs.maintenance.state.variables import VariablesUnreadable
from airflow_mrs.operators.service import MRSRestartServiceOperator, MRSStartServiceOperator
from tests.operators.conftest import AIRFLOW_3, states
from tests.operators.windows import THERE_AND_BACK, clock, down, record_of, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models import DagRun

    from airflow_mrs.maintenance.until_cutoff import UntilCutoff
    from airflow_mrs.simulator import Simulator

    RunWindow = Callable[..., DagRun]

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("a_dag", schedule=None, start_date=START) as dag:
        yield dag


class Work(BaseOperator):
    """Any work."""

    def execute(self, context: Any) -> None: ...


class Branch(Work, SkipMixin):
    """May skip what comes right after it."""


def cutting() -> maintenance_window:
    return maintenance_window(["HBase", "Hive"], ends="02:30", cut_work=True)


# ---- the layout ------------------------------------------------------------------------------------------


def test_no_way_leads_from_the_work_to_a_start(dag: DAG) -> None:
    with cutting():
        Work(task_id="first") >> Branch(task_id="branch")
        Work.partial(task_id="mapped").expand(params=[{}, {}])

    verdict = dag.get_task("maintenance.verdict")
    assert {
        task_id.removeprefix("maintenance.") for task_id in verdict.get_flat_relative_ids(upstream=True)
    } == {*("open", "stop_HBase", "stop_Hive", "until_cutoff", "start_HBase", "start_Hive", "close")}
    wait: Any = dag.get_task("maintenance.until_cutoff")
    assert wait.work == ["maintenance.branch", "maintenance.first", "maintenance.mapped"]


def test_and_yet_airflow_clears_the_whole_window_with_it(dag: DAG) -> None:
    with cutting():
        Work(task_id="first") >> Branch(task_id="last")

    for label in ("first", "last"):
        needed = dag.get_task(f"maintenance.{label}").get_upstreams_only_setups_and_teardowns()
        assert {one.task_id for one in needed} == set(dag.task_ids) - {
            "maintenance.first",
            "maintenance.last",
        }


def test_and_lets_nothing_of_it_run_when_a_stop_has_failed(dag: DAG) -> None:
    with cutting():
        Work(task_id="work") >> Work(task_id="whatever_comes", trigger_rule="all_done")

    setups = dag.get_task("maintenance.whatever_comes").get_upstreams_only_setups()
    assert {one.task_id.removeprefix("maintenance.") for one in setups} == {"open", "stop_HBase", "stop_Hive"}


@pytest.mark.parametrize("end", ["start_HBase", "close", "until_cutoff"])
def test_an_edge_that_is_drawn_from_work_to_a_start_is_refused(dag: DAG, end: str) -> None:
    with cutting() as window:
        work = Work(task_id="work")
    assert why_unfit(dag, window._terms) is None

    work >> Work(task_id="outside") >> dag.get_task(f"maintenance.{end}")
    assert "maintenance.work leads to" in str(why_unfit(dag, window._terms))


def test_so_is_another_rule_for_the_wait(dag: DAG) -> None:
    with cutting() as window:
        pass
    wait: Any = dag.get_task("maintenance.until_cutoff")
    wait.trigger_rule = "one_failed"

    assert "maintenance.until_cutoff has been given the trigger rule" in str(why_unfit(dag, window._terms))


@pytest.mark.parametrize(
    ("mapped", "other", "is_refused"), [(True, "_1", True), (True, "_one", False), (False, "_1", False)]
)
def test_so_is_work_whose_states_airflow_confuses(
    dag: DAG, *, mapped: bool, other: str, is_refused: bool
) -> None:
    with cutting() as window:
        if mapped:
            Work.partial(task_id="load").expand(params=[{}, {}])
        else:
            Work(task_id="load")
        Work(task_id=f"load{other}")

    assert ("state of maintenance.load[1]" in str(why_unfit(dag, window._terms))) == is_refused


# ---- looks -----------------------------------------------------------------------------------------------


class Looks:
    """Looks of a task at the work of its window, an hour past the cutoff if nothing else is said."""

    def __init__(self, dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
        self._dag = dag
        self._monkeypatch = monkeypatch
        self.left = -3600.0
        self.error: Exception | None = None
        self.handed_over = True

    def is_over(self, **states: str | None) -> bool:
        wait: UntilCutoff = self._dag.get_task("maintenance.until_cutoff")  # type: ignore[assignment]
        now = time.time()
        record = SimpleNamespace(phase=Phase.OPEN, cutoff=now + self.left, opened=now - 60)

        def standing(_: object) -> SimpleNamespace:
            if self.error is not None:
                raise self.error
            return SimpleNamespace(record=record)

        def cutoff_at_opening(_: object) -> float:
            if not self.handed_over:
                raise ConnectionError
            return float(record.cutoff)

        terms: Any = SimpleNamespace(
            standing=standing, cutoff_at_opening=cutoff_at_opening, holder=lambda _: "it"
        )
        wait.terms = terms
        seen = {f"maintenance.{label}": state for label, state in states.items()}
        self._monkeypatch.setattr(until_cutoff, "window_states", lambda *_: seen)
        return wait.poke({})


@pytest.fixture
def looks(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(dag, monkeypatch)


@pytest.mark.parametrize("kind", [MRSRestartServiceOperator, MRSStartServiceOperator])
def test_what_brings_back_keeps_services_down_only_once_it_has_begun(
    looks: Looks, kind: type[BaseOperator]
) -> None:
    with cutting():
        kind(task_id="again", service_name="Kafka")

    for state in ("scheduled", "queued", "up_for_retry", None):
        looks.left = -3600
        assert looks.is_over(again=state)
        looks.left = -5
        assert not looks.is_over(again=state)
    looks.left = -3600
    for state in ("running", "deferred"):
        assert not looks.is_over(again=state)


def test_so_does_a_teardown(looks: Looks) -> None:
    with cutting():
        Work(task_id="clean_up").as_teardown(setups=Work(task_id="set_up"))

    for state in ("scheduled", "up_for_retry", "awaiting_input", None):
        assert looks.is_over(set_up="failed", clean_up=state)
    assert not looks.is_over(set_up="failed", clean_up="running")
    looks.left = -5
    assert not looks.is_over(set_up="failed", clean_up=None)
    assert looks.is_over(set_up="deferred", clean_up=None)


@pytest.mark.parametrize(
    "error", [VariablesUnreadable("Airflow does not tell."), ConnectionError("no answer")]
)
def test_what_can_not_be_read_is_no_end_before_the_cutoff_and_is_one_after_it(
    looks: Looks, error: Exception
) -> None:
    with cutting():
        Work(task_id="work")
    looks.error = error

    assert looks.is_over(work="deferred")
    looks.left = 3600
    assert not looks.is_over(work="success")
    looks.left, looks.handed_over = -3600, False
    assert not looks.is_over(work="success")


# ---- the work's own tasks --------------------------------------------------------------------------------


def test_a_teardown_comes_after_what_was_cut_though_services_are_started(dag: DAG) -> None:
    with cutting():
        clean_up = Work(task_id="clean_up").as_teardown(setups=Work(task_id="set_up"))

    def comes(left: float, taken_over_by: object = None) -> bool:
        def require_open(_: object) -> None:
            raise AirflowFailException

        standing = SimpleNamespace(
            record=SimpleNamespace(cutoff=time.time() + left, lapses=time.time() + 600),
            in_its_place=taken_over_by,
        )
        terms: Any = SimpleNamespace(cut_work=True, require_open=require_open, standing=lambda _: standing)
        try:
            Admission(terms, None)({"task": clean_up, "ti": SimpleNamespace()})  # type: ignore[typeddict-item]
        except AirflowFailException:
            return False
        return True

    assert comes(-1)
    assert not comes(60)  # it was cleared on its own
    assert not comes(-1, taken_over_by="another window")


def bound(task: Any) -> None:
    terms: Any = SimpleNamespace(holder=lambda _: "the window")
    context: Any = {"task": task, "ti": SimpleNamespace(next_method=None, start_date=None)}
    Admission(terms, None)._cut(context, 1600.0)


@pytest.fixture
def _at_1000(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "time", SimpleNamespace(time=lambda: 1000.0))


@pytest.mark.usefixtures("_at_1000")
def test_what_only_has_the_name_of_a_persons_time_is_left_alone() -> None:
    for own in (30.0, "a minute"):
        one: Any = Work(task_id="work")
        one.response_timeout = own
        bound(one)
        assert one.response_timeout == own


@pytest.mark.usefixtures("_at_1000")
@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 asks nobody.")
@pytest.mark.parametrize(("own", "waits"), [(None, 600), (60, 60), (3600, 600)])
def test_a_question_is_open_until_the_cutoff(own: float | None, waits: float) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator  # noqa: PLC0415 - of Airflow 3

    timeout = None if own is None else timedelta(seconds=own)
    one = HITLOperator(task_id="one", subject="Go on?", options=["yes"], response_timeout=timeout)
    bound(one)

    assert one.response_timeout == timedelta(seconds=waits)


# ---- whole windows ---------------------------------------------------------------------------------------


@pytest.fixture
def _brisk(brisk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until_cutoff, "SHORTEST_DEFERRAL", 0.2)
    monkeypatch.setattr(until_cutoff, "LONGEST", 0.2)


@pytest.mark.usefixtures("_brisk")
@pytest.mark.parametrize(
    ("work", "colour"), [("end", "success"), ("skip", "success"), ("branch", "success"), ("fail", "failed")]
)
def test_the_starts_come_when_the_work_is_over(
    manager: Simulator, run_window: RunWindow, work: str, colour: str
) -> None:
    run = run_window(ends=clock(hours=1), cutoff=60, cut_work=True, work=work)

    assert run.state == colour
    assert sent(manager) == THERE_AND_BACK
    assert not down(manager)
    assert record_of(manager).closed


@pytest.mark.usefixtures("_brisk")
@pytest.mark.parametrize("service", ["HBase", "Hive"])
def test_the_starts_come_when_a_stop_has_failed(
    manager: Simulator, run_window: RunWindow, service: str
) -> None:
    manager.cluster.fail_next(service, "stop")
    run = run_window(ends=clock(hours=1), cutoff=60, cut_work=True)

    assert run.state == "failed"
    assert states(run)["maintenance.work"] == "upstream_failed"
    assert not down(manager)
