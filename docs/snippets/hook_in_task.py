"""Look at the cluster before anything else, then restart Kafka."""

from airflow.sdk import DAG, task

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.model import ClusterHealth

with DAG("hook_in_task", schedule=None) as dag:

    @task
    def require_good_cluster() -> None:
        with MRSManagerHook() as hook:
            health = hook.get_cluster_health()
        if health is not ClusterHealth.GOOD:
            raise RuntimeError(f"The cluster is {health}")

    @task
    def restart(service_name: str) -> int:
        with MRSManagerHook() as hook:
            hook.wait_for_command(hook.stop_service(service_name).id, timeout=1800)
            command = hook.start_service(service_name)
            return hook.wait_for_command(command.id, timeout=1800).id

    require_good_cluster() >> restart("Kafka")

if __name__ == "__main__":
    dag.test()
