"""Airflow triggers of MRS Manager."""
