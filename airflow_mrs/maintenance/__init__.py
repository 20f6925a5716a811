"""Maintenance windows: services down in order, the work done, everything back as it was."""

from __future__ import annotations

from airflow_mrs.maintenance.guard import maintenance_guard_dag
from airflow_mrs.maintenance.plan import Plan, make_plan
from airflow_mrs.maintenance.summary import ServiceSummary, WindowSummary, to_html, to_markdown
from airflow_mrs.maintenance.window import MaintenanceWindow

maintenance_window = MaintenanceWindow
"""The name of the class in a ``with`` statement."""

__all__ = [
    "MaintenanceWindow",
    "Plan",
    "ServiceSummary",
    "WindowSummary",
    "maintenance_guard_dag",
    "maintenance_window",
    "make_plan",
    "to_html",
    "to_markdown",
]
