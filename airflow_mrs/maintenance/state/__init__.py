"""What outlives the tasks and runs of a window: its record, where records are kept, and what Airflow knows of runs."""
