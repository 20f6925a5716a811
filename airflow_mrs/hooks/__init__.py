"""Airflow hooks of MRS Manager."""
