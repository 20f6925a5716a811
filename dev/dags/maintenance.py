"""The DAG of the demo: a window over three services."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task

from airflow_mrs.maintenance import WindowSummary, maintenance_window, to_markdown


@task
def report(summary: WindowSummary) -> str:
    """Say what was down for how long."""
    return to_markdown(summary)


# Without retries: the demo is to show what comes of a failure, not how it is mended.
with DAG("maintenance", schedule=None, default_args={"retries": 0}):
    with maintenance_window(["HDFS", "HBase", "Hive"], poll_interval=1) as window:
        BashOperator(task_id="work", bash_command="sleep 2")
    report(window.summary)
