"""What tests of maintenance windows do and see, without a scheduler."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.maintenance.guard import Report
from airflow_mrs.maintenance.state.record import Phase, WindowKey, WindowRecord, new_id
from airflow_mrs.maintenance.state.store import WindowStore
from tests.operators.conftest import load_dags, read_variables, write_variable, xcom

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator

THERE_AND_BACK = ["stop HBase", "stop Hive", "start Hive", "start HBase"]

meanwhile: Callable[[], object] = lambda: None  # noqa: E731 - a test puts another one here
"""Called by the work of a window that is to do it."""


_reports: list[str] = []


def look_after() -> DagRun:
    """Let the guard look once."""
    _reports.clear()
    execute = Report.execute

    def execute_and_note(self: Report, context: Any) -> None:
        try:
            execute(self, context)
        except Exception as error:
            _reports.append(str(error))
            raise

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Report, "execute", execute_and_note)
        run: DagRun = load_dags("windows.py")["mrs_maintenance_guard"].test()
    return run


def log_of_the_report() -> str:
    """Return what the guard has reported when it looked last."""
    return "\n".join(_reports)


def sent(manager: Simulator) -> list[str]:
    return [f"{command.action} {command.service}" for command in manager.cluster.commands]


def down(manager: Simulator) -> set[str]:
    return {name for name, service in manager.cluster.services.items() if service.state != "started"}


def store_of(manager: Simulator) -> WindowStore:
    return WindowStore(f"mrs_window_127.0.0.1_{manager.web_port}_1")


def records_of(manager: Simulator) -> list[WindowRecord]:
    """Return what is known of the windows of a cluster, the newest last."""
    kept = read_variables(f"{store_of(manager).name}_")
    return [WindowRecord.from_json(text) for _, text in sorted(kept.items())]


def record_of(manager: Simulator) -> WindowRecord:
    return records_of(manager)[-1]


def clock(**delta: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**delta):%H:%M:%S}"


def summary(run: DagRun) -> Any:
    return xcom(run, "maintenance.close")


def held_by_somebody(manager: Simulator, **changes: Any) -> WindowRecord:
    """Let there be a window that was never closed."""
    record = WindowRecord(
        **{
            "id": new_id(),
            "holder": WindowKey("another_dag", "a_run", "maintenance"),
            "mrs_conn_id": "mrs_default",
            "cluster_id": 1,
            "before": ("Hive", "HBase"),
            "opened": time.time(),
            "cutoff": None,
            "lapses": time.time() + 3600,
            "phase": Phase.OPEN,
            **changes,
        }
    )
    write_variable(store_of(manager).key(record), record.to_json())
    return record
