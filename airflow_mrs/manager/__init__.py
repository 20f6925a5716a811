"""The protocol of MRS Manager, without Airflow and, but for its two drivers, without I/O."""
