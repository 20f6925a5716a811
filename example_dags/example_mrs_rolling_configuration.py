"""
A change of configuration, one service after the other: save it, restart the service, and go on when the cluster is well.

What fails stops the roll-out, so that the services after it keep running as they were. These are services that no
other one needs. Restart what others need in a maintenance window, with those others down.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, TaskGroup, chain

from airflow_mrs.operators.configuration import MRSSaveConfigurationOperator
from airflow_mrs.operators.service import MRSRestartServiceOperator
from airflow_mrs.sensors.cluster import MRSClusterHealthSensor

CHANGES = {
    "HBase": {"hbase.regionserver.handler.count": "200"},
    "Kafka": {"num.io.threads": "16"},
    "Storm": {"nimbus.task.timeout.secs": "60"},
}


def roll_out(service: str, values: dict[str, str]) -> TaskGroup:
    """Bring a service's new values into force."""
    with TaskGroup(service) as group:
        chain(
            MRSSaveConfigurationOperator(task_id="save", configurations={service: values}),
            MRSRestartServiceOperator(task_id="restart", service_name=service),
            MRSClusterHealthSensor(task_id="is_well", timeout=timedelta(minutes=15).total_seconds()),
        )
    return group


with DAG(
    "example_mrs_rolling_configuration",
    description="Change the configuration of several services, one after the other",
    schedule=None,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["example", "mrs"],
):
    chain(*(roll_out(service, values) for service, values in CHANGES.items()))
