"""
A window that silences the alerts about what it takes down, and raises one of its own when it overruns.

The silence ends by itself after two hours, whatever becomes of the window, and earlier when the window closes. The
deadline is Airflow's: it needs 3.1, and a triggerer. Unlike a ``dagrun_timeout``, which a window refuses, it only tells.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import (  # type: ignore[attr-defined] # its stub does not know of deadlines
    DAG,
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)

from airflow_mrs.maintenance import WindowSummary, maintenance_window, to_html

if TYPE_CHECKING:
    from airflow.sdk import Context

ALERTMANAGER = "http://alertmanager.example:9093/api/v2"
LONGEST = timedelta(hours=2)


def silence(context: Context) -> None:
    """Silence the alerts about HBase and Hive, while they are meant to be down."""
    import requests  # noqa: PLC0415 - a DAG is parsed more often than it runs

    now = datetime.now(UTC)
    requests.post(
        f"{ALERTMANAGER}/silences",
        json={
            "matchers": [{"name": "service", "value": "HBase|Hive", "isRegex": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + LONGEST).isoformat(),
            "createdBy": "airflow",
            "comment": f"maintenance, run {context['run_id']}",
        },
        timeout=10,
    ).raise_for_status()


def say_what_happened(_: Context, summary: WindowSummary) -> None:
    """Mail what was down for how long. By the hook: a notifier would take what Manager wrote for a template."""
    with SmtpHook() as smtp:
        smtp.send_email_smtp(
            to="operations@example.com", subject="Maintenance", html_content=to_html(summary)
        )


with (
    DAG(
        "example_mrs_maintenance_alerts",
        description="A window that keeps alerts quiet, and tells when it overruns",
        schedule=None,
        deadline=DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=LONGEST,
            callback=AsyncCallback(
                SmtpNotifier,
                kwargs={
                    "to": "operations@example.com",
                    "subject": "Maintenance overruns: HBase and Hive may be down",
                    "html_content": "Run {{ dag_run.run_id }} has taken two hours.",
                },
            ),
        ),
        tags=["example", "mrs"],
    ),
    maintenance_window(["HBase", "Hive"], on_open=silence, on_close=say_what_happened),
):
    BashOperator(task_id="work", bash_command="echo what there is to do")
