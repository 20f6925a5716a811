"""What the task that lets the starts come makes of what the work is doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator, TaskDeferred, task

from airflow_mrs.maintenance import admission, maintenance_window, until_cutoff
from airflow_mrs.maintenance.admission import Admission
from airflow_mrs.maintenance.state.record import Phase
from airflow_mrs.maintenance.state.runs import RunsUnreadable
from airflow_mrs.maintenance.state.variables import VariablesUnreadable
from airflow_mrs.operators.service import MRSRestartServiceOperator, MRSStartServiceOperator
from airflow_mrs.triggers.base import SHORTEST_DEFERRAL
from airflow_mrs.triggers.cluster import MRSClusterHealthTrigger
from tests.operators.conftest import AIRFLOW_3

if TYPE_CHECKING:
    from airflow_mrs.maintenance.until_cutoff import UntilCutoff

OPENED, CUTOFF = 1_000_000.0, 1_003_600.0
NOT_OVER = [
    None,
    *(
        "scheduled",
        "queued",
        "running",
        "restarting",
        "deferred",
        "up_for_retry",
        "up_for_reschedule",
        "awaiting_input",
    ),
    "a state of a later Airflow",
]


class Clock(SimpleNamespace):
    """A clock that goes on when somebody sleeps."""

    now: float

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(now=OPENED + 60)
    monkeypatch.setattr(until_cutoff, "time", clock)
    monkeypatch.setattr(admission, "time", clock)
    return clock


@pytest.fixture
def dag() -> DAG:
    @task
    def mapped(number: int) -> None: ...

    with (
        DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag,
        maintenance_window(["HBase", "Hive"], ends="02:30", cut_work=True),
    ):
        first, second = BaseOperator(task_id="first"), BaseOperator(task_id="second")
        start = MRSStartServiceOperator(task_id="start_Kafka", service_name="Kafka")
        restart = MRSRestartServiceOperator(task_id="restart", service_name="Kafka")
        clean_up = BaseOperator(task_id="clean_up").as_teardown(setups=second)
        first >> second >> [start, restart, clean_up]
        mapped.expand(number=[1, 2])
    return dag


class Window:
    """What the task is told of its window."""

    def __init__(self, dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task: UntilCutoff = dag.get_task("maintenance.until_cutoff")  # type: ignore[assignment]
        self.states: dict[str, Any] = dict.fromkeys(self.task.work, "success")
        del self.states["maintenance.mapped"]
        self.states |= {"maintenance.mapped_0": "success", "maintenance.mapped_1": "success"}
        self.record = SimpleNamespace(phase=Phase.OPEN, cutoff=CUTOFF, opened=OPENED)
        self.unreadable: Exception | None = None
        self.task.terms = SimpleNamespace(standing=self._standing, holder=lambda _: None)  # type: ignore[assignment]
        monkeypatch.setattr(until_cutoff, "window_states", lambda *_: self.states)

    def _standing(self, _: object) -> SimpleNamespace:
        if self.unreadable is not None:
            raise self.unreadable
        return SimpleNamespace(record=self.record)

    def become(self, state: str | None, *labels: str) -> None:
        for label in labels:
            self.states[f"maintenance.{label}"] = state

    def may_be_closed(self) -> bool:
        return self.task.poke({})


@pytest.fixture
def window(dag: DAG, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Window:
    return Window(dag, monkeypatch)


def test_no_start_waits_for_the_work_itself(dag: DAG) -> None:
    """Not even by other tasks in between: Airflow lets a teardown wait for those, too."""
    for service in ("HBase", "Hive"):
        before = dag.get_task(f"maintenance.start_{service}").get_flat_relative_ids(upstream=True)
        until: Any = dag.get_task("maintenance.until_cutoff")
        work = set(until.work)
        assert work
        assert before.isdisjoint(work)
        assert "maintenance.until_cutoff" in before


def test_without_cut_work_starts_wait_for_the_work() -> None:
    with (
        DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag,
        maintenance_window(["HBase"], ends="02:30"),
    ):
        BaseOperator(task_id="work")

    assert "maintenance.until_cutoff" not in dag.task_dict
    assert "maintenance.work" in dag.get_task("maintenance.start_HBase").upstream_task_ids


def test_the_work_is_over(window: Window) -> None:
    assert window.may_be_closed()
    window.become("failed", "first")
    window.become("upstream_failed", "second", "start_Kafka", "restart")
    window.become("skipped", "mapped_0")
    window.become("removed", "mapped_1")
    assert window.may_be_closed()


@pytest.mark.parametrize("state", NOT_OVER)
@pytest.mark.parametrize("label", ["first", "mapped_1", "clean_up"])
def test_it_is_waited_for_until_the_cutoff_and_no_longer(
    window: Window, clock: Clock, label: str, state: str
) -> None:
    window.become(state, label)
    assert not window.may_be_closed()
    assert SHORTEST_DEFERRAL <= window.task.poke_interval <= until_cutoff.LONGEST

    clock.now = CUTOFF - SHORTEST_DEFERRAL - 1
    assert not window.may_be_closed()
    assert clock.now + window.task.poke_interval < CUTOFF + SHORTEST_DEFERRAL

    clock.now = CUTOFF + until_cutoff.GRACE
    goes_on = label == "clean_up" and state in {"running", "restarting", "deferred"}
    assert window.may_be_closed() != goes_on


def test_it_ends_at_the_cutoff_on_time(window: Window, clock: Clock) -> None:
    """No task may be rescheduled within ten seconds, so it sleeps for the last of them."""
    window.become("deferred", "first")
    looks = 0
    while not window.may_be_closed():
        clock.now += window.task.poke_interval
        looks += 1

    assert clock.now == CUTOFF
    assert looks < (CUTOFF - OPENED) / 20


def test_a_task_that_is_just_being_cut_has_a_moment_to_clean_up(window: Window, clock: Clock) -> None:
    window.become("running", "first")
    clock.now = CUTOFF + 1
    assert not window.may_be_closed()
    clock.now = CUTOFF + until_cutoff.GRACE
    assert window.may_be_closed()


@pytest.mark.parametrize("label", ["start_Kafka", "restart", "clean_up"])
@pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", None])
def test_what_brings_back_is_waited_for_when_its_turn_has_come(
    window: Window, clock: Clock, label: str, state: str
) -> None:
    window.become(state, label)
    clock.now = CUTOFF + 5
    assert not window.may_be_closed()
    clock.now = CUTOFF + 1800  # nobody ends what still waits for a slot or its next try
    assert window.may_be_closed() == (state in {"up_for_retry", None})
    window.become("deferred", "second")
    assert window.may_be_closed()  # its turn comes after that of work which is cut


def test_a_task_that_airflow_does_not_list_is_not_over(window: Window) -> None:
    del window.states["maintenance.first"]
    assert not window.may_be_closed()
    window.states.clear()
    assert not window.may_be_closed()


@pytest.mark.parametrize("error", [VariablesUnreadable("x"), RunsUnreadable("x")])
def test_what_can_not_be_read_is_no_end_of_the_work(window: Window, error: Exception) -> None:
    window.unreadable = error
    assert not window.may_be_closed()
    assert window.task.poke_interval == until_cutoff.LONGEST


def test_a_window_that_is_being_closed(window: Window) -> None:
    window.become("running", "first")
    window.record.phase = Phase.CLOSING
    assert window.may_be_closed()


def test_it_inherits_nothing_that_could_end_it_early() -> None:
    defaults: dict[str, Any] = {
        "retries": 0,
        "soft_fail": True,
        "timeout": 1,
        "mode": "poke",
        "exponential_backoff": True,
        "execution_timeout": timedelta(seconds=1),
        "trigger_rule": "always",
    }
    with (
        DAG(
            "a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args=defaults
        ) as dag,
        maintenance_window(["HBase"], ends="02:30", cut_work=True),
    ):
        BaseOperator(task_id="work")

    one: Any = dag.get_task("maintenance.until_cutoff")
    assert (one.retries, one.soft_fail, one.mode, one.exponential_backoff) == (10, False, "reschedule", False)
    assert one.execution_timeout is None
    assert getattr(one.trigger_rule, "value", one.trigger_rule) == "all_done_setup_success"
    assert one.timeout > timedelta(days=300).total_seconds()


# ---- how long a task of the work may take ----------------------------------------------------------------


def admit(one: Any, clock: Clock, **ti: Any) -> None:
    terms: Any = SimpleNamespace(
        cut_work=True,
        holder=lambda _: "the window",
        require_open=lambda _: SimpleNamespace(record=SimpleNamespace(cutoff=clock.now + 300)),
    )
    context: Any = {"task": one, "ti": SimpleNamespace(**{"next_method": None, "start_date": None, **ti})}
    Admission(terms, None)(context)


@pytest.mark.parametrize(
    ("given", "bounded"), [(30, 30), (30.5, 30.5), (timedelta(minutes=10), 300), (None, 300)]
)
def test_a_deferral_is_bounded_in_whatever_way_its_time_is_given(
    clock: Clock, given: float | timedelta | None, bounded: float
) -> None:
    one: Any = BaseOperator(task_id="work")
    admit(one, clock)

    with pytest.raises(TaskDeferred) as deferral:
        one.defer(trigger=MRSClusterHealthTrigger("a", 1, 0.0), method_name="x", timeout=given)
    assert deferral.value.timeout == timedelta(seconds=bounded)


@pytest.mark.parametrize(
    ("given", "bounded"), [(None, 300), (timedelta(hours=1), 300), (timedelta(seconds=9), 9)]
)
def test_a_person_is_asked_until_the_cutoff(clock: Clock, given: timedelta | None, bounded: float) -> None:
    one: Any = BaseOperator(task_id="ask")
    one.response_timeout = given
    admit(one, clock)
    assert one.response_timeout == timedelta(seconds=bounded)


def test_a_task_that_resumes_has_all_of_the_time_up_to_the_cutoff(clock: Clock) -> None:
    """Airflow 2 takes away from its time-out what went by since its first start."""
    one: Any = BaseOperator(task_id="work")
    started = datetime.now(UTC) - timedelta(hours=1)
    admit(one, clock, next_method="execute_complete", start_date=started)

    since_first_start = timedelta() if AIRFLOW_3 else timedelta(hours=1)
    left = one.execution_timeout - since_first_start
    assert abs(left - timedelta(seconds=300)) < timedelta(seconds=60)


def test_what_comes_after_the_cutoff_is_refused_without_a_retry(clock: Clock) -> None:
    with pytest.raises(AirflowFailException, match="past the cutoff"):
        admit(BaseOperator(task_id="work", retries=3), Clock(now=clock.now - 301))
