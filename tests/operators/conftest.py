from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.manager.session import forget_refusals
from tests.conftest import DAG_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow.models import DagRun
    from airflow.providers.common.compat.sdk import DAG

    from airflow_mrs.simulator import Simulator

    Run = Callable[..., DagRun]

AIRFLOW_3 = not version("apache-airflow").startswith(
    "2."
)  # not asked of Airflow, which is imported only later

collect_ignore = [] if AIRFLOW_3 else ["test_examples.py"]  # written for Airflow 3


def load_dags(path: str | Path) -> dict[str, DAG]:
    """Parse a file of DAGs afresh."""
    return _parse(DAG_FOLDERS[0] / path)


def _parse(path: Path) -> dict[str, DAG]:
    # After the environment is set; where Airflow 3 has moved it, or where Airflow 2 has it.
    dagbag = import_module("airflow.dag_processing.dagbag" if AIRFLOW_3 else "airflow.models.dagbag")
    bag = dagbag.DagBag(path)
    assert not bag.import_errors
    return dict(bag.dags)


@cache
def _dags() -> dict[str, DAG]:
    # After the environment is set; where Airflow 3 has moved it, or where Airflow 2 has it.
    dagbag = import_module("airflow.dag_processing.dagbag" if AIRFLOW_3 else "airflow.models.dagbag")

    dags: dict[str, DAG] = {}
    for folder in DAG_FOLDERS if AIRFLOW_3 else DAG_FOLDERS[:1]:
        bag = dagbag.DagBag(folder)
        assert not bag.import_errors
        dags |= bag.dags
    return dags


@pytest.fixture(autouse=True)
def _no_refusals() -> Iterator[None]:
    yield
    forget_refusals()


@pytest.fixture(autouse=True)
def _no_windows() -> Iterator[None]:
    """Leave no record that a test with the same port would find."""
    yield
    with _variables() as (session, variable):
        session.query(variable).filter(variable.key.startswith("mrs_", autoescape=True)).delete(
            synchronize_session=False
        )


@pytest.fixture
def deferrals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was waited for by a trigger, in words."""
    from airflow_mrs.triggers.base import MRSTrigger  # noqa: PLC0415 - after the environment is set

    subjects: list[str] = []
    wait = MRSTrigger._wait

    async def note_and_wait(self: MRSTrigger) -> None:
        subjects.append(self.subject)
        await wait(self)

    monkeypatch.setattr(MRSTrigger, "_wait", note_and_wait)
    return subjects


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defer at once, and let triggers fire at once: there is no scheduler here whose race they would lose."""
    monkeypatch.setattr("airflow_mrs.manager.waiting.CONTRADICTING_SECONDS", 0.5)
    monkeypatch.setattr("airflow_mrs.manager.submission.CONTRADICTING_SECONDS", 0.5)
    monkeypatch.setattr("airflow_mrs.operators.base.PATIENCE", 0.0)
    monkeypatch.setattr("airflow_mrs.operators.base.SHORTEST_DEFERRAL", 0.0)
    monkeypatch.setattr("airflow_mrs.sensors.base.SHORTEST_DEFERRAL", 0.0)


@pytest.fixture
def manage(simulate: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Simulator]:
    """Start a simulator that is ``mrs_default`` to Airflow."""

    def start(**options: Any) -> Simulator:
        simulator = simulate(**options)
        monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", simulator.connection_json)
        return simulator

    return start


@pytest.fixture
def manager(manage: Callable[..., Simulator]) -> Simulator:
    """A simulator that is ``mrs_default`` to Airflow, with commands that are over at once."""
    return manage()


@pytest.fixture
def run() -> Run:
    """Run a DAG in this process, and return the run."""

    def run_dag(dag_id: str, **conf: Any) -> DagRun:
        run: DagRun = _dags()[dag_id].test(run_conf=conf)
        return run

    return run_dag


@pytest.fixture
def run_window(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DagRun]:
    """Run a DAG with a window of these arguments, in this process, and return the run."""

    def run(**arguments: Any) -> DagRun:
        monkeypatch.setenv("TEST_WINDOW", json.dumps(arguments))
        run: DagRun = load_dags("windows.py")["window"].test()
        return run

    return run


def states(run: DagRun) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def xcom(run: DagRun, task_id: str) -> object:
    """What the task returned."""
    [ti] = [ti for ti in run.get_task_instances() if ti.task_id == task_id]
    return ti.xcom_pull(task_ids=task_id)


def read_variables(prefix: str) -> dict[str, str]:
    """Read Airflow's Variables, which from outside of a task are to be had from the database alone."""
    with _variables() as (session, variable):
        rows = session.query(variable).filter(variable.key.startswith(prefix, autoescape=True))
        return {row.key: row.val for row in rows}


def write_variable(key: str, value: str) -> None:
    """Write one of Airflow's Variables."""
    with _variables() as (session, variable):
        session.query(variable).filter(variable.key == key).delete()
        session.add(variable(key=key, val=value))


def delete_variable(key: str) -> None:
    """Delete one of Airflow's Variables."""
    with _variables() as (session, variable):
        session.query(variable).filter(variable.key == key).delete()


@contextmanager
def _variables() -> Iterator[tuple[Any, Any]]:
    with import_module("airflow.utils.session").create_session() as session:
        yield session, import_module("airflow.models.variable").Variable
