"""
Stop Kafka without waiting, and let a sensor wait for the command.

``wait_for_completion=False`` returns as soon as Manager has begun the command, and the sensor waits for the
command's id, in the triggerer: something else can be done in the meantime.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator
from airflow_mrs.sensors.command import MRSCommandSensor

with DAG(
    "example_mrs_command_sensor",
    description="Stop Kafka, and wait for the command with a sensor",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    tags=["example", "mrs"],
):
    stop_kafka = MRSStopServiceOperator(task_id="stop_kafka", service_name="Kafka", wait_for_completion=False)
    kafka_is_down = MRSCommandSensor(task_id="kafka_is_down", command_id=stop_kafka.output, deferrable=True)
    start_kafka = MRSStartServiceOperator(
        task_id="start_kafka", service_name="Kafka", trigger_rule="all_done"
    )

    stop_kafka >> kafka_is_down >> start_kafka
