"""
A window that somebody has to approve first, with the plan before their eyes: what goes down, in which order, for how long.

Airflow's approval waits without a worker. Rejected, the window is skipped, and so is one that nobody approves in time.
Needs Airflow 3.1.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG

from airflow_mrs.maintenance import maintenance_window

with DAG(
    "example_mrs_maintenance_approval",
    description="Change the data directories of HDFS, once somebody has approved",
    schedule=None,
    tags=["example", "mrs"],
):
    window = maintenance_window(["HDFS"], with_dependents=True)

    approve = ApprovalOperator(
        task_id="approve",
        subject="Take HDFS down, with all that needs it?",
        body=str(window.plan),
        defaults="Reject",
        response_timeout=timedelta(hours=2),
    )
    with window:
        BashOperator(task_id="change_directories", bash_command="echo what there is to do while HDFS is down")

    approve >> window
