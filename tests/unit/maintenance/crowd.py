"""
Several windows and the guard on one cluster, in simulated time, with an Airflow that fails, delays and repeats.

The operators are the real ones. Each call of Airflow's, and each request to Manager, is a moment at which somebody else may go
on, a process may die, or the call may come to nothing, come late, or come twice. A schedule of numbers decides, so that what
was found can be played again.
"""

from __future__ import annotations

import heapq
import logging
import time as real_time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum, auto
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException
from greenlet import getcurrent, greenlet

from airflow_mrs.maintenance import closing, guard, moving, opening
from airflow_mrs.maintenance.hours import Hours
from airflow_mrs.maintenance.plan import make_plan
from airflow_mrs.maintenance.state import observations, record, runs, store, variables
from airflow_mrs.maintenance.terms import Terms
from airflow_mrs.manager import client as driver
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.errors import TooLate
from airflow_mrs.manager.model import (
    Cluster,
    ClusterHealth,
    Command,
    CommandState,
    Service,
    ServiceState,
)
from airflow_mrs.manager.settings import Settings
from airflow_mrs.manager.steps import Seen
from airflow_mrs.operators import base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_mrs.manager.protocol import Call

TRIES = 4
RETRY_DELAY = 30.0


class Fault(Enum):
    """What can become of a call, or of who makes it."""

    NONE = auto()
    FAILS = auto()
    IS_LOST_ON_THE_WAY_BACK = auto()
    COMES_LATE = auto()
    COMES_AGAIN_LATER = auto()
    DIES = auto()
    STANDS_STILL = auto()
    RUN_IS_DELETED = auto()


class Died(BaseException):
    """The process is gone, and nothing of its code runs any more."""


class Unanswered(Exception):
    """Airflow's API server does not answer."""


class Crowd:
    """All that goes on, and the time."""

    def __init__(self, faults: Iterator[tuple[int, Fault]], *, listed: bool) -> None:
        self.main = getcurrent()
        self.now = 1.8e9
        self.faults = faults
        self.listed = listed
        self.variables: dict[str, str] = {}
        self.late: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.up = {"HBase": True, "Hive": True}
        self.sent: list[tuple[str, str]] = []
        self.windows: list[Window] = []
        self.actors: list[Actor] = []
        self.story: list[str] = []

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now - 1.8e9:8.1f} {text}")

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.late, (self.now + seconds, next(self.order), what))

    def let_time_pass(self, until: float) -> None:
        """Let what is late arrive on the way."""
        while self.late and self.late[0][0] <= until:
            at, _, what = heapq.heappop(self.late)
            self.now = max(self.now, at)
            what()
        self.now = max(self.now, until)

    def send(self, who: str, action: str, service: str) -> None:
        """Let a request reach Manager, and object to what must not be."""
        self.tell(f"{who}: {action} {service}")
        self.sent.append((who, f"{action} {service}"))
        self.up[service] = action == "start"
        holders = [window.run.run_id for window in self.windows if window.has_it]
        assert len(holders) <= 1, "\n".join(self.story)
        if action == "stop":
            assert holders == [who.split(maxsplit=1)[0]], "\n".join(self.story)
        at_work = [window.run.run_id for window in self.windows if window.works]
        if action == "start":
            assert at_work in ([], [who.split(maxsplit=1)[0]]), "\n".join(self.story)

    def call(self, change: Callable[[], None], *, swallows: bool = False) -> bool:
        """Carry out a call, as far as it is carried out; tell whether there is an answer."""
        match Actor.current().moment():
            case Fault.FAILS:
                pass
            case Fault.IS_LOST_ON_THE_WAY_BACK:
                change()
            case Fault.COMES_LATE:
                self.later(75.0, change)
            case Fault.COMES_AGAIN_LATER:
                change()
                self.later(75.0, change)
                return True
            case _:
                change()
                return True
        if not swallows:
            raise Unanswered
        return False

    def answer(self, call: Call[Any]) -> Any:
        """Return what Manager answers to a request."""
        *_, name, action = ["", *call.path.split("/")]
        if call.method == "POST":
            self.send(Actor.current().name, action, name)
            return Command(len(self.sent), CommandState.COMPLETE, "COMPLETE")
        if "command" in call.path:
            return Command(int(name), CommandState.COMPLETE, "COMPLETE")
        if action == "clusters":
            return [Cluster(1, "one", "3.x", "", None, installing_patch=False)]
        if action == "status":
            return ClusterHealth.GOOD
        state = ServiceState.UP if self.up[action] else ServiceState.DOWN
        return Service(action, 1, state, "Started" if self.up[action] else "Stopped")

    def step(self) -> bool:
        """Let one of those who can go on go on, or time pass; tell whether anybody is left."""
        actors = [actor for actor in self.actors if not actor.over]
        if not actors:
            return False
        choice, fault = next(self.faults, (next(self.order), Fault.NONE))
        ready = [actor for actor in actors if actor.wakes <= self.now]
        if not ready:
            self.let_time_pass(min(actor.wakes for actor in actors))
            return True
        self.now += 0.01
        self.let_time_pass(self.now)
        ready[choice % len(ready)].go_on(fault)
        return True

    def run(self) -> None:
        while self.step():
            pass


ACTORS: WeakKeyDictionary[greenlet, Actor] = WeakKeyDictionary()


class Actor:
    """Somebody whose code runs from one call to the next."""

    def __init__(self, crowd: Crowd, name: str, code: Callable[[], None]) -> None:
        self.crowd, self.name = crowd, name
        self.wakes = crowd.now
        self.over = False
        self._greenlet = greenlet(self._run, crowd.main)
        self._code = code
        self._fault = Fault.NONE
        self.on_delete: Callable[[], None] = lambda: None
        self.on_standing_still: Callable[[], None] = lambda: None
        ACTORS[self._greenlet] = self
        crowd.actors.append(self)

    def _run(self) -> None:
        try:
            self._code()
        finally:
            self.over = True

    def go_on(self, fault: Fault) -> None:
        self._fault = fault
        self._greenlet.switch()

    @staticmethod
    def current() -> Actor:
        return ACTORS[getcurrent()]

    def moment(self) -> Fault:
        """Let others go on, and return what then is to go wrong."""
        self.crowd.main.switch()
        fault, self._fault = self._fault, Fault.NONE
        if fault is not Fault.NONE:
            self.crowd.tell(f"{self.name}: {fault.name}")
        if fault is Fault.DIES:
            raise Died
        if fault is Fault.RUN_IS_DELETED:
            self.on_delete()
            raise Died
        if fault is Fault.STANDS_STILL:
            self.on_standing_still()
            self.sleep(900.0)
            return Fault.NONE
        return fault

    def sleep(self, seconds: float) -> None:
        self.wakes = self.crowd.now + seconds
        self.crowd.main.switch()
        self._fault = Fault.NONE


# ---- Airflow ---------------------------------------------------------------------------------------------


def make_variables(crowd: Crowd) -> type:
    """Return what stands in for Airflow's class of that name, as Airflow 3.3 has it, or as 3.0 does."""

    class Variable:
        __module__ = "airflow.sdk.definitions.variable"

        @staticmethod
        def get(key: str, default: str | None) -> str | None:
            answers = crowd.call(lambda: None, swallows=True)
            return crowd.variables.get(key, default) if answers else default

        @staticmethod
        def set(key: str, value: str, description: str = "") -> None:
            def change() -> None:
                crowd.variables[key] = value

            crowd.call(change)

        @staticmethod
        def delete(key: str) -> None:
            def change() -> None:
                crowd.variables.pop(key, None)

            crowd.call(change)

    if crowd.listed:

        def keys(prefix: str) -> list[str]:
            crowd.call(lambda: None)
            return [key for key in crowd.variables if key.startswith(prefix)]

        Variable.keys = staticmethod(keys)  # type: ignore[attr-defined]
    return Variable


class Run:
    """A run, with the states of its tasks and its XComs."""

    def __init__(self, crowd: Crowd, dag_id: str, run_id: str) -> None:
        self.crowd, self.dag_id, self.run_id = crowd, dag_id, run_id
        self.states: dict[str, str | None] = {}
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.over = False
        self.deleted = False

    def context(self, task: BaseOperator, try_number: int = 1, map_index: int = -1) -> Any:
        ti = SimpleNamespace(
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=task.task_id,
            map_index=map_index,
            try_number=try_number,
            max_tries=TRIES - 1,
            xcom_pull=lambda task_ids, key="return_value", map_indexes=-1: self.xcoms.get(
                (f"{task_ids}{map_indexes}", key)
            ),
            xcom_push=lambda key, value: self.xcoms.__setitem__((f"{task.task_id}{map_index}", key), value),
            get_task_states=self._get_task_states,
            get_dr_count=self._get_dr_count,
        )
        return {"ti": ti, "dag": None, "task": task}

    def _find(self, dag_id: str, run_ids: list[str]) -> list[Run]:
        if Actor.current().moment() is not Fault.NONE:
            raise Unanswered
        return [
            run
            for run in ALL_RUNS[self.crowd]
            if run.dag_id == dag_id and run.run_id in run_ids and not run.deleted
        ]

    def _get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str | None]]:
        return {run.run_id: dict(run.states) for run in self._find(dag_id, run_ids)}

    def _get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return len([run for run in self._find(dag_id, run_ids) if not run.over and "running" in states])

    def carry_out(self, task: BaseOperator, *, tries: int = TRIES, map_index: int = -1) -> bool:
        """Run a task as Airflow does, with its tries; tell whether it succeeded."""
        key = task.task_id if map_index < 0 else f"{task.task_id}_{map_index}"
        for number in range(1, tries + 1):
            self.states[key] = "running"
            attempt = Attempt(self, task, key, self.context(task, number, map_index))
            attempt.wait()
            if self.deleted:
                raise Died
            self.states[key] = attempt.state
            if attempt.state != "up_for_retry":
                break
            Actor.current().sleep(RETRY_DELAY)
        else:
            self.states[key] = "failed"
        if self.states[key] == "success":
            self.xcoms[f"{task.task_id}{map_index}", "return_value"] = attempt.result
        return self.states[key] == "success"


class Attempt:
    """One try of a task, in a process of its own. One that stands still for five minutes is given up by Airflow."""

    def __init__(self, run: Run, task: BaseOperator, key: str, context: Any) -> None:
        self._run, self._task, self._key, self._context = run, task, key, context
        self._parent = Actor.current()
        self.state = "up_for_retry"
        self.result: Any = None
        self._given_up = False
        self._actor = Actor(run.crowd, f"{run.run_id} {key}#{context['ti'].try_number}", self._go)
        self._actor.on_delete = self._parent.on_delete
        self._actor.on_standing_still = lambda: run.crowd.later(300.0, self._give_up)

    def wait(self) -> None:
        self._parent.sleep(float("inf"))

    def _go(self) -> None:
        try:
            self.result = self._execute()
            self.state = "success"
        except AirflowSkipException as skip:
            self._tell(f"skipped, {skip}")
            self.state = "skipped"
        except AirflowFailException as error:
            self._tell(f"failed for good, {error}")
            self.state = "failed"
        except Died:
            pass
        except Exception as error:  # noqa: BLE001 - as Airflow does
            self._tell(f"failed, {type(error).__name__} {error}")
        finally:
            if not self._given_up:
                self._wake_the_parent()

    def _be(self, state: str) -> None:
        if not self._given_up:
            self._run.states[self._key] = state

    def _give_up(self) -> None:
        if self.state == "up_for_retry":
            self._given_up = True
            self._wake_the_parent()

    def _tell(self, text: str) -> None:
        self._run.crowd.tell(f"{self._actor.name}: {text}")

    def _wake_the_parent(self) -> None:
        if self._parent.wakes == float("inf"):
            self._parent.wakes = self._run.crowd.now

    def _execute(self) -> Any:
        if not isinstance(self._task, opening.OpenWindow):
            return self._task.execute(self._context)
        while not (opened := self._task.poke(self._context)):
            self._be("up_for_reschedule")
            self._actor.sleep(30.0)
            self._be("running")
        return opened.xcom_value  # type: ignore[union-attr]


ALL_RUNS: dict[Crowd, list[Run]] = {}


class Window:
    """A run with a window, from its first task to its last."""

    def __init__(self, crowd: Crowd, name: str, *, begins: float, if_busy: str = "refuse") -> None:
        self.crowd = crowd
        self.run = Run(crowd, "a_dag", name)
        self.has_it = False
        self.works = False
        plan = make_plan(["HBase", "Hive"])
        terms = Terms(
            group_id="w",
            mapped=False,
            plan=plan,
            hours=Hours(),
            cutoff=None,
            cut_work=False,
            cluster_name=None,
            on_refusal="fail",
            if_busy=if_busy,  # type: ignore[arg-type]
            settles_within=timedelta(seconds=60),
            lapses_after=timedelta(hours=12),
            on_open=None,
            on_close=None,
        )
        with DAG("a_dag", schedule=None):
            self.open = opening.OpenWindow(task_id="w.open", terms=terms)
            self.stops = [
                moving.StopInWindow(task_id=f"w.stop_{name}", service_name=name, terms=terms)
                for name in plan.stops
            ]
            self.starts = [
                moving.StartInWindow(task_id=f"w.start_{name}", service_name=name, terms=terms)
                for name in plan.starts
            ]
            self.close = closing.CloseWindow(task_id="w.close", terms=terms)
        ALL_RUNS.setdefault(crowd, []).append(self.run)
        self.actor = Actor(crowd, name, self._play)
        self.actor.wakes = crowd.now + begins
        self.actor.on_delete = self.delete
        for task in (self.open, *self.stops, *self.starts, self.close):
            self.run.states[task.task_id] = None
        crowd.windows.append(self)

    def delete(self) -> None:
        self.has_it = self.works = False
        self.run.deleted = self.run.over = True

    def _play(self) -> None:
        try:
            self._play_all()
        except Died:
            pass
        finally:
            self.has_it = self.works = False
            self.run.over = True

    def _play_all(self) -> None:
        if not self.run.carry_out(self.open):
            for task in (*self.stops, *self.starts, self.close):
                self.run.states[task.task_id] = "upstream_failed"
            return
        self.crowd.tell(f"{self.run.run_id}: is open")
        self.has_it = self.works = True
        for position, stop in enumerate(self.stops):
            if not self.run.carry_out(stop):
                for other in self.stops[position + 1 :]:
                    self.run.states[other.task_id] = "upstream_failed"
                break
        else:
            self.actor.sleep(60.0)  # the work
        self.works = False
        for start in self.starts:
            self.run.carry_out(start)
        self.run.carry_out(self.close)


class Guard:
    """A run of the guard."""

    def __init__(self, crowd: Crowd, number: int, *, begins: float = 0.0) -> None:
        self.crowd = crowd
        self.run = Run(crowd, "guard", f"guard-{number}")
        self.green: bool | None = None
        ALL_RUNS.setdefault(crowd, []).append(self.run)
        self.actor = Actor(crowd, self.run.run_id, self._play)
        self.actor.wakes = crowd.now + begins
        self.actor.on_delete = self.delete

    def delete(self) -> None:
        self.run.deleted = self.run.over = True

    def _play(self) -> None:
        try:
            self.run.carry_out(guard.FindDeadWindows(task_id=guard.FIND), tries=1)
            found = self.run.xcoms.get((f"{guard.FIND}-1", "return_value")) or []
            for index, one in enumerate(found):
                self.run.carry_out(guard.BringBack(task_id=guard.BRING_BACK, **one), tries=1, map_index=index)
            self.green = self.run.carry_out(guard.Report(task_id=guard.REPORT), tries=1)
            self.crowd.tell(f"{self.run.run_id}: {'green' if self.green else 'red'}")
        except Died:
            pass
        finally:
            self.run.over = True


# ---- Manager ---------------------------------------------------------------------------------------------


class FakeClient(Client):
    """A session with a Manager whose commands are over at once."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def call(self, call: Call[Any]) -> Any:
        Actor.current().moment()
        return self._crowd.answer(call)

    def _see(self, call: Call[Any], before: Callable[[], Any] = lambda: None) -> Seen:
        allowance = before()
        Actor.current().moment()
        if allowance is not None and allowance.is_over:
            return Seen(self._crowd.now, error=TooLate("nothing was sent"))
        return Seen(self._crowd.now, self._crowd.answer(call))

    def close(self) -> None:
        pass


def make_hook(crowd: Crowd) -> type:
    """Return what stands in for the hook."""

    class Hook:
        default_conn_name = "mrs_default"
        settings: ClassVar = Settings("mrs_default", "10.0.0.5", auth="none")

        def __init__(self, mrs_conn_id: str) -> None:
            self.mrs_conn_id = mrs_conn_id
            self.client = FakeClient(crowd)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get_service(self, name: str, *, cluster_id: int) -> Any:
            return self.client.call(driver_call("GET", f"cluster/{cluster_id}/services/{name}"))

        def list_clusters(self) -> Any:
            return self.client.call(driver_call("GET", "clusters"))

        def get_cluster_health(self, cluster_id: int) -> Any:
            return self.client.call(driver_call("GET", f"cluster/{cluster_id}/status"))

    return Hook


def driver_call(method: str, path: str) -> Any:
    return SimpleNamespace(method=method, path=path)


@contextmanager
def simulated(monkeypatch: pytest.MonkeyPatch, crowd: Crowd) -> Iterator[None]:
    """Put the crowd in the place of Airflow, of Manager and of the time."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(crowd.now, tz or UTC)

    time = SimpleNamespace(
        time=lambda: crowd.now,
        monotonic=lambda: crowd.now,
        sleep=lambda seconds: Actor.current().sleep(seconds),
        clock_gettime=lambda _: crowd.now,
        CLOCK_BOOTTIME=getattr(real_time, "CLOCK_BOOTTIME", 0),
    )
    hook = make_hook(crowd)
    logging.disable(logging.CRITICAL)
    with monkeypatch.context() as patch:
        for module in (variables, store, runs, observations, moving, closing, guard, base, driver):
            patch.setattr(module, "time", time)
        for module in (record, opening):
            patch.setattr(module, "datetime", Clock)
        for module in (moving, closing, guard):
            patch.setattr(module, "PatientHook", hook)
        patch.setattr(opening, "MRSManagerHook", hook)
        patch.setattr(opening, "longest_stillness", lambda *_: 600.0)
        patch.setattr(opening, "why_unfit", lambda *_: None)
        patch.setattr(variables, "Variable", make_variables(crowd))
        variables._access.cache_clear()
        yield
    logging.disable(logging.NOTSET)
    variables._access.cache_clear()
    ALL_RUNS.pop(crowd, None)
