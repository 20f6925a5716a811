"""Policies of every Airflow that the harness starts: it does what it is told, and nothing by the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

__all__ = ["dag_policy", "task_policy"]


def dag_policy(dag: DAG) -> None:
    """Take the schedule away, so that no run begins unasked, at whatever time of day."""
    from airflow.timetables.simple import NullTimetable  # noqa: PLC0415 - Airflow is just being imported

    dag.timetable = NullTimetable()


def task_policy(task: BaseOperator) -> None:
    """Have nobody wait minutes for a retry; an hour is what a test wants."""
    if task.retry_delay < timedelta(hours=1):
        task.retry_delay = timedelta(seconds=1)
