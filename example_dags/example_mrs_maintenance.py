"""
A nightly maintenance window: stop HBase, back its directory up while nothing writes to it, start it again.

HBase comes back when the backup fails and when the stop fails half-way, and the run is red when the stop, the
backup or the start failed. Three things make it so:

- ``start_hbase`` is a *teardown*, so that it runs however the tasks before it ended;
- a teardown runs only if one of its setups succeeded. A stop that fails half-way did not, and yet HBase may be
  down: so ``open_window`` is a setup too, and that one has always succeeded;
- a run takes its colour from its last tasks alone, so ``close_window`` looks at all the others.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator


@task(retries=0)
def close_window() -> None:
    """Fail unless every task of the window succeeded."""
    ti = get_current_context()["ti"]
    window = ["stop_hbase", "back_up_hbase", "start_hbase"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=window)[ti.run_id]
    failed = {task_id: states.get(task_id) for task_id in window if states.get(task_id) != "success"}
    if failed:
        raise AirflowFailException(f"The window did not go well: {failed}")


with DAG(
    "example_mrs_maintenance",
    description="Nightly offline backup of HBase",
    # No start_date: with one in the past, Airflow makes up for the last night as soon as it knows the DAG.
    schedule=CronTriggerTimetable("0 1 * * *", timezone="Europe/Berlin", run_immediately=False),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["example", "mrs"],
):
    open_window = EmptyOperator(task_id="open_window")
    stop_hbase = MRSStopServiceOperator(task_id="stop_hbase", service_name="HBase")
    back_up_hbase = BashOperator(
        task_id="back_up_hbase",
        # Take the first echo out, and it is what the vendor's manual does.
        bash_command="echo hadoop distcp /hbase /backup/hbase-{{ dag_run.run_after | ds_nodash }}",
    )
    start_hbase = MRSStartServiceOperator(task_id="start_hbase", service_name="HBase")
    closed = close_window()

    open_window >> stop_hbase >> back_up_hbase >> start_hbase >> closed
    for teardown in (start_hbase, closed):
        teardown.as_teardown(setups=[open_window, stop_hbase], on_failure_fail_dagrun=True)
