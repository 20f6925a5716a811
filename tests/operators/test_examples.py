"""The example DAGs as they are, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.operators.conftest import states

if TYPE_CHECKING:
    from airflow_mrs.simulator import Simulator
    from tests.operators.conftest import Run


def test_the_maintenance_window(manager: Simulator, run: Run) -> None:
    done = run("example_mrs_maintenance")

    assert set(states(done).values()) == {"success"}
    assert manager.journal.accepted("HBase", "stop") == manager.journal.accepted("HBase", "start") == 1
    assert manager.cluster.service("HBase").state == "started"


def test_the_sensor(manager: Simulator, run: Run) -> None:
    done = run("example_mrs_command_sensor")

    assert states(done) == {"stop_kafka": "success", "kafka_is_down": "success", "start_kafka": "success"}
    assert manager.journal.accepted("Kafka", "stop") == manager.journal.accepted("Kafka", "start") == 1
