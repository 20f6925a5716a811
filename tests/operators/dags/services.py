"""One DAG for each way to use the operators and the sensor. The service and the connection come with the run."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator
from airflow_mrs.sensors.cluster import MRSClusterHealthSensor
from airflow_mrs.sensors.command import MRSCommandSensor
from airflow_mrs.sensors.service import MRSServiceSensor

SERVICE = "{{ dag_run.conf.get('service', 'HBase') }}"
CLUSTER = "{{ dag_run.conf.get('cluster', 1) }}"

stop_service = partial(
    MRSStopServiceOperator,
    task_id="stop",
    service_name=SERVICE,
    cluster_id=CLUSTER,
    poll_interval=0.2,
)
start_service = partial(
    MRSStartServiceOperator,
    task_id="start",
    service_name=SERVICE,
    cluster_id=CLUSTER,
    poll_interval=0.2,
)
WAYS = {"blocking": False, "deferrable": True}
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
POLICIES = ["", "_soft_fail", "_never_fail", "_silent_fail"]
TIMEOUTS = {"": 60, "_in_haste": 2}

for way, deferrable in WAYS.items():
    with DAG(f"stop_and_start_{way}", schedule=None):
        stop_service(deferrable=deferrable) >> start_service(deferrable=deferrable)

for mode, arguments in MODES.items():
    for policy, (haste, timeout) in product(POLICIES, TIMEOUTS.items()):
        defaults = {
            "poke_interval": 0.2,
            "timeout": timeout,
            **arguments,
            **({policy[1:]: True} if policy else {}),
        }
        how = f"{mode}{policy}{haste}"
        with DAG(f"command_{how}", schedule=None, default_args=defaults):
            MRSCommandSensor(task_id="wait", command_id="{{ dag_run.conf['command_id'] }}")
        with DAG(f"service_{how}", schedule=None, default_args=defaults):
            MRSServiceSensor(
                task_id="wait",
                service_name=SERVICE,
                state="{{ dag_run.conf.get('state', 'down') }}",
                cluster_id=CLUSTER,
            )
        with DAG(f"health_{how}", schedule=None, default_args=defaults):
            MRSClusterHealthSensor(task_id="wait", cluster_id=CLUSTER)
