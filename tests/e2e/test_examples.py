"""The example DAGs that need a real Airflow: for somebody to approve, for a deadline that passes."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

from dev.processes import free_port, wait_until
from tests.e2e.holding import AN_HOUR
from tests.e2e.windows import an_hour_passes, look_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

    Manage = Callable[..., Simulator]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_none_runs_unasked(airflow: Airflow) -> None:
    for dag_id in ("example_mrs_maintenance", "mrs_maintenance_guard"):  # those that have a schedule
        airflow.api.wait_for_dag(dag_id)

    assert airflow.rows("SELECT dag_id FROM dag WHERE next_dagrun_create_after IS NOT NULL") == []


@pytest.mark.parametrize(("answer", "state"), [("Approve", "success"), ("Reject", "skipped")])
def test_a_window_that_waits_for_approval(
    airflow: Airflow, manager: Simulator, answer: str, state: str
) -> None:
    dag_id = "example_mrs_maintenance_approval"
    airflow.api.wait_for_dag(dag_id)
    run_id = airflow.api.trigger(dag_id)
    airflow.api.wait_for_tasks(
        dag_id, run_id, lambda states: states.get("approve") in {"awaiting_input", "deferred"}
    )
    assert manager.cluster.commands == []
    # Airflow can fail a task that goes on before the scheduler has heard that its worker is gone: let it get round.
    look_after(airflow)

    question = airflow.api.question(dag_id, run_id, "approve")
    airflow.api.answer(dag_id, run_id, "approve", answer)

    assert "Stop, in this order: " in question["body"]
    assert airflow.api.wait_for_run(dag_id, run_id) == "success"
    assert airflow.api.task_states(dag_id, run_id)["maintenance.verdict"] == state
    assert bool(manager.cluster.commands) == (answer == "Approve")
    assert manager.cluster.good


class Mailbox:
    """Takes every mail."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        return [mail["Subject"] for mail in self.mails]


@pytest.fixture
def mailbox(airflow: Airflow) -> Iterator[Mailbox]:
    """A mail server that is ``smtp_default`` to Airflow."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    connection = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": controller.port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
    }
    airflow.api.add_connection("smtp_default", connection)
    yield mailbox
    airflow.api.delete_connection("smtp_default")
    controller.stop()


def test_a_window_that_overruns(airflow: Airflow, manage: Manage, mailbox: Mailbox) -> None:
    manager = manage(service_seconds={"HBase": AN_HOUR})
    dag_id = "example_mrs_maintenance_alerts"
    airflow.api.wait_for_dag(dag_id)
    run_id = airflow.api.trigger(dag_id)
    airflow.api.wait_for_tasks(
        dag_id, run_id, lambda states: states.get("maintenance.stop_HBase") == "deferred"
    )

    airflow.execute("UPDATE deadline SET deadline_time = :now", now=datetime.now(UTC))  # two hours pass

    wait_until(lambda: "Maintenance overruns: HBase and Hive may be down" in mailbox.subjects, "the alert")
    an_hour_passes(manager)
    assert airflow.api.wait_for_run(dag_id, run_id) == "success"
    [mail] = [mail for mail in mailbox.mails if mail["Subject"] == "Maintenance"]
    body = mail.get_body()
    assert body is not None
    assert "Everything is as before" in body.get_content()
    assert manager.cluster.good
