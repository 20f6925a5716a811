"""A guard that gives up after three seconds, not after a minute, where Airflow does not tell what is in its Variables."""

from __future__ import annotations

from airflow_mrs.maintenance import maintenance_guard_dag
from airflow_mrs.maintenance.state import variables

variables.PATIENCE = 3.0

guard = maintenance_guard_dag("impatient_guard", schedule=None)
