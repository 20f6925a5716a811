"""Airflow operators of MRS Manager."""
