"""An MRS Manager to develop and test maintenance DAGs against, without a cluster."""

from airflow_mrs.simulator.server import Simulator

__all__ = ["Simulator"]
