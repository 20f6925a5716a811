"""Look at the cluster before anything else, then restart Kafka."""

from airflow.sdk import DAG, task

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.model import ClusterHealth
from airflow_mrs.operators.service import MRSRestartServiceOperator

with DAG("hook_in_task", schedule=None) as dag:

    @task
    def require_good_cluster() -> None:
        with MRSManagerHook() as hook:
            health = hook.get_cluster_health()
        if health is not ClusterHealth.GOOD:
            raise RuntimeError(f"The cluster is {health}")

    require_good_cluster() >> MRSRestartServiceOperator(task_id="restart", service_name="Kafka")

if __name__ == "__main__":
    dag.test()
