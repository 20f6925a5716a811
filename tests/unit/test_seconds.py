from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_mrs.operators.service import MRSStopServiceOperator
from airflow_mrs.seconds import read_seconds
from airflow_mrs.sensors.service import MRSServiceSensor


@pytest.mark.parametrize(("given", "seconds"), [(5, 5), (0.5, 0.5), (timedelta(minutes=1), 60)])
def test_lengths_of_time(given: float | timedelta, seconds: float) -> None:
    assert read_seconds("timeout", given) == seconds


@pytest.mark.parametrize("given", [0, -1, True, "5", None, float("nan"), float("inf"), timedelta()])
def test_no_lengths_of_time(given: object) -> None:
    with pytest.raises(ValueError, match="timeout must be seconds"):
        read_seconds("timeout", given)


def test_they_are_read_when_the_dag_is_parsed() -> None:
    operator = MRSStopServiceOperator(task_id="stop", service_name="HBase", timeout=timedelta(minutes=1))
    assert operator.timeout == 60
    with pytest.raises(ValueError, match="poll_interval must be seconds"):
        MRSStopServiceOperator(task_id="stop", service_name="HBase", poll_interval=0)
    with pytest.raises(ValueError, match="poke_interval must be seconds"):
        MRSServiceSensor(task_id="wait", service_name="HBase", poke_interval=0)
