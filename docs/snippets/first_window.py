"""Stop HBase, do something while it is down, start it again."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator

with DAG("first_window", schedule=None) as dag:
    stop = MRSStopServiceOperator(task_id="stop", service_name="HBase", deferrable=True)
    work = BashOperator(task_id="work", bash_command="echo HBase is down")
    start = MRSStartServiceOperator(
        task_id="start", service_name="HBase", deferrable=True, trigger_rule="all_done"
    )
    stop >> work >> start

if __name__ == "__main__":
    dag.test()
