"""
The offline backup of HBase, every night: flush, stop HBase, copy its directory while nothing writes to it, start it again.

HBase comes back however the stop and the backup end, and the run is red when anything went wrong. It begins at one
o'clock, and everything is up again by four: a run that comes at another time of day stops nothing.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronTriggerTimetable, task

from airflow_mrs.maintenance import WindowSummary, maintenance_window, to_markdown


@task
def report(summary: WindowSummary) -> str:
    """Say what was down for how long. The text is fit for a mail or a chat."""
    text = to_markdown(summary)
    print(text)  # noqa: T201 - into the task's log
    return text


with DAG(
    "example_mrs_maintenance",
    description="Nightly offline backup of HBase",
    # No start_date: with one in the past, Airflow makes up for the last night as soon as it knows the DAG. And no
    # run_immediately=False: it does so too, for a tenth of the time until the next night.
    schedule=CronTriggerTimetable("0 1 * * *", timezone="Europe/Berlin", run_immediately=timedelta(0)),
    catchup=False,
    tags=["example", "mrs"],
):
    # Take the first echo out of these two, and they are what the vendor's manual says.
    flush = BashOperator(
        task_id="flush", bash_command="echo \"flush 'orders'\" | echo hbase shell --noninteractive"
    )

    with maintenance_window(["HBase"], opens="01:00", ends="04:00", timezone="Europe/Berlin") as window:
        BashOperator(
            task_id="back_up",
            bash_command="echo hadoop distcp /hbase /backup/hbase-{{ dag_run.run_after | ds_nodash }}",
        )

    flush >> window
    report(window.summary)
