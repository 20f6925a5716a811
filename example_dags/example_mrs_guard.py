"""The second line behind all maintenance windows: it brings back what a dead one has left down. Deploy it once."""

from airflow_mrs.maintenance import maintenance_guard_dag

dag = maintenance_guard_dag()
