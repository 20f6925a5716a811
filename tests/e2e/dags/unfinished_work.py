"""A window whose work is unfinished in every way that Airflow knows, for a day or longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task

from airflow_mrs.maintenance import maintenance_window

A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)
ENDS = f"{datetime.now(UTC) + timedelta(hours=3):%H:%M:%S}"

with DAG("endless", schedule=None):
    TimeDeltaSensor(task_id="wait", delta=A_DAY, deferrable=True)

with (
    DAG("unfinished_work", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)),
    maintenance_window(["HBase"], ends=ENDS, cutoff=60, cut_work=True, poll_interval=1, settles_within=60),
):

    @task(retries=1, retry_delay=AN_HOUR)
    def to_be_retried() -> NoReturn:
        """Fail, and be tried again in an hour."""
        raise RuntimeError("The work failed.")

    @task(pool="no_slots")
    def without_a_slot() -> None:
        """Never begin."""

    @task.sensor(mode="reschedule", poke_interval=A_DAY.total_seconds(), timeout=2 * A_DAY.total_seconds())
    def rescheduled() -> bool:
        """Look again tomorrow."""
        return False

    @task(retries=1, retry_delay=AN_HOUR)
    def mapped(number: int) -> None:
        """Fail, and be tried again in an hour, if it is the second one."""
        if number == 2:
            raise RuntimeError("The work failed.")

    TimeDeltaSensor(task_id="deferred", delta=A_DAY, deferrable=True)
    other_run: Any = {"trigger_dag_id": "endless", "wait_for_completion": True, "poke_interval": 3600}
    TriggerDagRunOperator(task_id="deferred_for_a_run", deferrable=True, **other_run)
    TriggerDagRunOperator(task_id="polling_a_run", deferrable=False, **other_run)
    ApprovalOperator(task_id="for_a_person", subject="Go on?")
    to_be_retried() >> EmptyOperator(task_id="not_begun")
    without_a_slot()
    rescheduled()
    mapped.expand(number=[1, 2])
