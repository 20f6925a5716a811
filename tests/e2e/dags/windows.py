"""Maintenance windows, with all that can be done to them. What the work does comes with the run."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mrs.maintenance import maintenance_guard_dag, maintenance_window

SERVICES = ["HBase", "Hive"]
SETTLES_WITHIN = timedelta(seconds=20)


def conf(name: str) -> Any:
    return (get_current_context()["dag_run"].conf or {}).get(name)


@task(retries=0, execution_timeout=timedelta(minutes=10))
def work() -> None:
    """Do what the run says: end, wait for a file, fail, skip, or die."""
    match conf("work"):
        case "wait":
            Path(conf("file")).with_suffix(".here").touch()
            while not Path(conf("file")).exists():
                time.sleep(0.1)
        case "fail":
            raise RuntimeError("The work failed.")
        case "skip":
            raise AirflowSkipException("There is nothing to do.")
        case "time out":
            get_current_context()["ti"].task.execution_timeout = timedelta(seconds=1)
            signal.raise_signal(signal.SIGALRM)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)


def window(**arguments: Any) -> maintenance_window:
    return maintenance_window(
        SERVICES,
        **{
            "mrs_conn_id": "{{ dag_run.conf.get('mrs_conn_id', 'mrs_default') }}",
            "poll_interval": 1,
            "settles_within": SETTLES_WITHIN,
            **arguments,
        },
    )


with DAG("window", schedule=None), window():
    work()

with DAG("window_that_waits", schedule=None), window(if_busy="wait"):
    work()

with DAG("window_that_is_paused", schedule=None), window():
    work()

with DAG("window_fail_fast", schedule=None, fail_fast=True), window():
    work()

with DAG("window_with_mapped_work", schedule=None), window():

    @task(retries=0)
    def part(number: int) -> None:
        """Fail, if it is the second one and the run says so."""
        if number == 2 and conf("work") == "fail":
            raise RuntimeError("The work failed.")

    part.expand(number=[1, 2])

with DAG("window_with_a_report", schedule=None):

    @task
    def report(summary: dict[str, Any]) -> list[str]:
        """Return what is not as before."""
        differences: list[str] = summary["differences"]
        return differences

    with window() as one:
        work()
    report(one.summary)

with DAG("windows", schedule=None):

    @task
    def connections() -> list[str]:
        """Name the connections that came with the run."""
        names: list[str] = conf("connections")
        return names

    @task_group
    def one_cluster(mrs_conn_id: str) -> None:
        """Maintain one of the clusters."""
        with window(mrs_conn_id=mrs_conn_id):
            work()

    one_cluster.expand(mrs_conn_id=connections())

guard = maintenance_guard_dag("guard", schedule=None)
