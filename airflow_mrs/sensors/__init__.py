"""Airflow sensors of MRS Manager."""
