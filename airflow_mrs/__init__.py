"""Apache Airflow provider for MRS Manager, the administration of a Huawei Cloud MRS cluster."""

__version__ = "0.1.0"
