from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.manager.session import forget_refusals
from tests.conftest import DAG_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models import DagRun
    from airflow.sdk import DAG

    from airflow_mrs.simulator import Simulator

    Run = Callable[..., DagRun]


@cache
def _dags() -> dict[str, DAG]:
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - after the environment is set

    dags: dict[str, DAG] = {}
    for folder in DAG_FOLDERS:
        bag = DagBag(folder)
        assert not bag.import_errors
        dags |= bag.dags
    return dags


@pytest.fixture(autouse=True)
def _no_refusals() -> Iterator[None]:
    yield
    forget_refusals()


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


def states(run: DagRun) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def xcom(run: DagRun, task_id: str) -> object:
    """What the task returned."""
    [ti] = [ti for ti in run.get_task_instances() if ti.task_id == task_id]
    return ti.xcom_pull(task_ids=task_id)
