from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dev.database import ROOT, STATE
from dev.harness import Airflow
from tests.e2e.holding import AN_HOUR, PATIENT, Hold
from tests.e2e.proxy import Proxy
from tests.e2e.windows import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mrs.simulator import Simulator


@pytest.fixture(scope="session")
def proxy() -> Iterator[Proxy]:
    """Stands between the tasks of that Airflow and its API server."""
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def airflow(proxy: Proxy) -> Iterator[Airflow]:
    """A real Airflow, that all of these tests share: API server, scheduler, DAG processor, triggerer."""
    with Airflow(
        STATE / "e2e" / os.environ.get("PYTEST_XDIST_WORKER", "alone"),
        [ROOT / "example_dags", Path(__file__).parent / "dags"],
        parallelism=16,
        settings={
            "core": {"execution_api_server_url": f"{proxy.url}/execution/"},
            "operators": {"default_deferrable": True},
            "scheduler": {"task_instance_heartbeat_timeout_detection_interval": 1},
        },
    ) as airflow:
        proxy.upstream = airflow.url
        yield airflow
        assert (
            airflow.rows(
                "SELECT dag_id, run_id FROM dag_run WHERE run_type NOT IN ('manual', 'operator_triggered')"
            )
            == []
        )


@pytest.fixture
def manage(airflow: Airflow, simulate: Callable[..., Simulator]) -> Iterator[Callable[..., Simulator]]:
    """Start a simulator that is a connection to that Airflow, by default ``mrs_default``."""
    with ExitStack() as connections:

        def start(conn_id: str = "mrs_default", **options: Any) -> Simulator:
            simulator = simulate(**options)
            connection = simulator.connection
            connection["extra"]["timeout"] = PATIENT  # a test ends waits, not the clock
            airflow.api.add_connection(conn_id, connection)
            connections.callback(airflow.api.delete_connection, conn_id)
            return simulator

        yield start


@pytest.fixture
def manager(manage: Callable[..., Simulator]) -> Simulator:
    """A simulator that is ``mrs_default`` to that Airflow, with commands that are over at once."""
    return manage()


@pytest.fixture
def hold(simulate: Callable[..., Simulator]) -> Iterator[Callable[..., Hold]]:
    """Let a Manager stand still at an event, at the latest until the end of the test."""
    with ExitStack() as holds:

        def begin(manager: Simulator, event: str, **details: Any) -> Hold:
            held = Hold(manager, event, **details)
            holds.callback(held.release)
            return held

        yield begin


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    work = Work(tmp_path)
    yield work
    work.be_done()


@pytest.fixture
def no_windows(airflow: Airflow) -> Iterator[None]:
    """Leave nothing open that the guard of another test would find."""
    yield
    for key in airflow.api.variables():
        airflow.api.delete_variable(key)


@pytest.fixture
def slow(manage: Callable[..., Simulator]) -> Simulator:
    """A Manager whose commands take an hour, so that waits for them are deferred."""
    return manage(command_seconds=AN_HOUR)
