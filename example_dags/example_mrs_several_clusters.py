"""
One DAG that maintains several clusters: a window for each connection, side by side.

A plain task group can't be mapped, and a window is one. So it stands in a function with ``@task_group``, and that is mapped. One
cluster whose window fails leaves the others alone, and makes the run red. ``conf={"connections": [...]}`` names the
connections.
"""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, get_current_context, task, task_group

from airflow_mrs.maintenance import maintenance_window


@task
def clusters() -> list[str]:
    """Name the connections to the clusters."""
    connections: list[str] = get_current_context()["params"]["connections"]
    return connections


@task_group
def one_cluster(mrs_conn_id: str) -> None:
    """Maintain the cluster behind a connection."""
    with maintenance_window(["Kafka"], mrs_conn_id=mrs_conn_id):
        BashOperator(task_id="work", bash_command="echo what there is to do while Kafka is down")


with DAG(
    "example_mrs_several_clusters",
    description="Maintain several clusters at a time",
    schedule=None,
    params={"connections": Param(["mrs_default"], type="array", items={"type": "string"})},
    tags=["example", "mrs"],
):
    one_cluster.expand(mrs_conn_id=clusters())
