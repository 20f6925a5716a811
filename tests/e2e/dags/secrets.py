"""A DAG whose tasks log in, in every way and with every outcome."""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator
from airflow_mrs.sensors.command import MRSCommandSensor


@task
def look(mrs_conn_id: str) -> str:
    """Log in by hand, and return what one sees."""
    with MRSManagerHook(mrs_conn_id) as hook:
        return f"{hook.settings} {hook.client} {hook.get_service('HBase')}"


with DAG("log_in", schedule=None, default_args={"poll_interval": 1, "trigger_rule": "all_done"}):
    stop = MRSStopServiceOperator(task_id="stop", service_name="HBase", deferrable=True)
    start = MRSStartServiceOperator(task_id="start", service_name="HBase", wait_for_completion=False)
    wait = MRSCommandSensor(task_id="wait", command_id=start.output, deferrable=True)
    stop >> start >> wait >> look("mrs_default")
    look.override(task_id="wrong_password")("mrs_wrong")
    look.override(task_id="no_answer")("mrs_cut")
    look.override(task_id="foreign_redirect")("mrs_foreign")
    MRSStopServiceOperator(
        task_id="wrong_password_in_the_triggerer",
        service_name="HBase",
        mrs_conn_id="mrs_changed",
        deferrable=True,
    )
