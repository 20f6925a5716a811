"""DAGs that stop HBase, in all the ways in which something can happen to them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from airflow.sdk import DAG, get_current_context, task

from airflow_mrs.operators.service import MRSStopServiceOperator

stop_hbase = partial(MRSStopServiceOperator, task_id="stop", service_name="HBase")
DEFAULTS = {
    "mrs_conn_id": "{{ dag_run.conf.get('mrs_conn_id', 'mrs_default') }}",
    "poll_interval": 1,
    "retries": 3,
}

with DAG("stop_blocking", schedule=None, default_args=DEFAULTS):
    stop_hbase(deferrable=False)

with DAG("stop_deferrable", schedule=None, default_args=DEFAULTS):
    stop_hbase(deferrable=True)

with DAG("stop_times_out", schedule=None, default_args=DEFAULTS):
    stop_hbase(deferrable=False, execution_timeout=timedelta(minutes=10), retries=0)

with DAG("stop_many", schedule=None, default_args=DEFAULTS):

    @task
    def connections() -> list[str]:
        """Name the connections that came with the run."""
        conf = get_current_context()["dag_run"].conf or {}
        names: list[str] = conf["connections"]
        return names

    MRSStopServiceOperator.partial(task_id="stop", service_name="HBase", deferrable=True).expand(
        mrs_conn_id=connections()
    )
