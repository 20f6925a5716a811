"""The example DAGs as they are, in this process. Those that need more than that are in ``tests/e2e/test_examples.py``."""

from __future__ import annotations

import email
import email.policy
import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from aiosmtpd.controller import Controller
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from jinja2 import Environment

from airflow_mrs.maintenance import make_plan, window
from airflow_mrs.maintenance.hours import Hours
from dev.database import ROOT
from dev.processes import free_port
from tests.operators.conftest import load_dags, states, xcom
from tests.operators.hostile import HOSTILE, SECRET, require_clean, speak_hostile_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mrs.simulator import Simulator
    from tests.operators.conftest import Run

EXAMPLES = ROOT / "example_dags"


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    pass


def first_runs(dag: Any) -> Iterator[tuple[datetime, datetime]]:
    """Yield all quarters of an hour of two days, each with the first run of a DAG that Airflow sees then."""
    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    for quarter in range(2 * 24 * 4):
        now = datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=15 * quarter)
        with time_machine.travel(now, tick=False):
            info = scheduled.next_dagrun_info(
                last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
            )
        assert info is not None
        yield now, info.run_after


def test_the_first_run_of_the_nightly_backup_is_that_of_the_coming_night() -> None:
    """Deployed in the middle of its window, it waits for the next one."""
    dag = load_dags(EXAMPLES / "example_mrs_maintenance.py")["example_mrs_maintenance"]

    assert dag.start_date is None
    for now, run_after in first_runs(dag):
        assert now <= run_after < now + timedelta(days=1, minutes=1)


def test_the_first_run_of_the_backup_in_the_readme(tmp_path: Path) -> None:
    [code] = re.findall("(?s)```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    dag = load_dags(tmp_path / "readme.py")["back_up_hbase"]

    assert set(dag.task_dict) > {"maintenance.open", "maintenance.stop_HBase", "maintenance.back_up"}
    for now, run_after in first_runs(dag):
        assert now <= run_after


def sent(manager: Simulator) -> list[str]:
    return [f"{command.action} {command.service}" for command in manager.cluster.commands]


def test_the_nightly_backup(manager: Simulator) -> None:
    dag = load_dags(EXAMPLES / "example_mrs_maintenance.py")["example_mrs_maintenance"]
    opening: Any = dag.get_task("maintenance.open")
    opening.terms = replace(opening.terms, hours=Hours())  # it is not always night

    run = dag.test()

    assert set(states(run).values()) == {"success"}
    assert sent(manager) == ["stop HBase", "start HBase"]
    assert "Everything is as before" in str(xcom(run, "report"))


def test_the_nightly_backup_stops_nothing_at_noon(
    manager: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = load_dags(EXAMPLES / "example_mrs_maintenance.py")["example_mrs_maintenance"]
    opening: Any = dag.get_task("maintenance.open")
    in_two_hours, in_three = (f"{datetime.now(UTC) + timedelta(hours=hours):%H:%M}" for hours in (2, 3))
    opening.terms = replace(
        opening.terms, hours=Hours(in_three, in_two_hours)
    )  # noon, whatever the clock says

    assert dag.test().state == "failed"
    assert sent(manager) == []


def test_the_sensor(manager: Simulator, run: Run) -> None:
    done = run("example_mrs_command_sensor")

    assert states(done) == {"stop_kafka": "success", "kafka_is_down": "success", "start_kafka": "success"}
    assert sent(manager) == ["stop Kafka", "start Kafka"]


def test_the_rolling_configuration(manager: Simulator, run: Run) -> None:
    done = run("example_mrs_rolling_configuration")

    assert set(states(done).values()) == {"success"}
    moves = [command for command in sent(manager) if "configure" not in command]
    assert moves == [
        f"{action} {service}" for service in ("HBase", "Kafka", "Storm") for action in ("stop", "start")
    ]
    assert manager.cluster.service("HBase").configuration == {"hbase.regionserver.handler.count": "200"}


def test_the_rolling_configuration_ends_at_the_first_failure(manager: Simulator) -> None:
    manager.cluster.fail_next("HBase", "start", times=9)
    dag = load_dags(EXAMPLES / "example_mrs_rolling_configuration.py")["example_mrs_rolling_configuration"]
    for task in dag.tasks:
        task.retries = 0

    assert dag.test().state == "failed"
    assert manager.cluster.service("Kafka").configuration == {}


def test_several_clusters(simulate: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    managers = {name: simulate() for name in ("mrs_one", "mrs_two")}
    for name, manager in managers.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", manager.connection_json)
    managers["mrs_two"].cluster.fail_next("Kafka", "stop", times=9)
    monkeypatch.setitem(window._UNLESS_GIVEN, "retry_delay", timedelta())
    dag = load_dags(EXAMPLES / "example_mrs_several_clusters.py")["example_mrs_several_clusters"]

    done = dag.test(run_conf={"connections": list(managers)})

    assert done.state == "failed"
    assert sent(managers["mrs_one"]) == ["stop Kafka", "start Kafka"]
    assert all(manager.cluster.good for manager in managers.values())


def test_the_guard(manager: Simulator) -> None:
    dag = load_dags(EXAMPLES / "example_mrs_guard.py")["mrs_maintenance_guard"]

    assert not dag.is_paused_upon_creation
    assert dag.max_active_runs > 1  # one that waits for a cluster keeps none of the others down


@pytest.fixture
def received() -> Iterator[tuple[str, list[Any]]]:
    """An address that takes JSON, and what it was sent."""
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_alerts_are_silenced(received: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    address, bodies = received
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = import_module("example_mrs_maintenance_alerts")
    monkeypatch.setattr(example, "ALERTMANAGER", address)

    example.silence({"run_id": "a_run"})

    assert bodies[0]["matchers"] == [{"name": "service", "value": "HBase|Hive", "isRegex": True}]
    assert bodies[0]["startsAt"] < bodies[0]["endsAt"]


# ---- what they pass on, when Manager's words are hostile --------------------------------------------------------


@pytest.fixture
def hostile(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A Manager that writes templates, markup and lines of a log, and a password that one of its templates asks for."""
    speak_hostile_words(manager)
    warehouse = {"conn_type": "generic", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    return manager


def run_window(path: str, **terms: Any) -> Any:
    """Run an example at any hour, whose cluster will not be well again."""
    [dag] = load_dags(EXAMPLES / path).values()
    for label in ("open", "close"):
        task: Any = dag.get_task(f"maintenance.{label}")
        task.terms = replace(task.terms, hours=Hours(), settles_within=timedelta(seconds=0.5), **terms)
    return dag.test()


def require_harmless(text: str) -> None:
    """Require that the hostile words are in a text, and do nothing in it, not even if it is rendered."""
    assert "conn. warehouse. password" in text
    assert Environment(autoescape=False).from_string(text).render().strip() == text.strip()
    for mark in ("{{", "{%", "<script", "[x]", "http://", "evil.example"):
        assert mark not in text
    require_clean(text)


def test_the_report_of_hostile_words(hostile: Simulator) -> None:
    run = run_window("example_mrs_maintenance.py")

    assert run.state == "failed"
    require_harmless(str(xcom(run, "report")))


def test_the_mail_of_hostile_words(
    hostile: Simulator, received: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mails: list[str] = []

    class Mailbox:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
            body = email.message_from_bytes(envelope.content, policy=email.policy.default).get_body()
            assert body is not None
            mails.append(body.get_content())
            return "250 OK"

    controller = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))

    run = run_window("example_mrs_maintenance_alerts.py")
    controller.stop()

    assert run.state == "failed"
    [mail] = mails
    require_harmless(mail)


def test_the_question_holds_no_words_of_others() -> None:
    """Airflow renders the body of a question. A plan is made of names that were checked."""
    [dag] = load_dags(EXAMPLES / "example_mrs_maintenance_approval.py").values()
    question: Any = dag.get_task("approve")

    assert not set("{}<>[]") & set(question.body)
    for arguments in ({"services": [HOSTILE]}, {"services": ["HBase"], "needs": {"HBase": [HOSTILE]}}):
        with pytest.raises(ValueError, match="must be"):
            make_plan(**arguments)


@pytest.mark.parametrize("dag_id", ["example_mrs_command_sensor", "example_mrs_rolling_configuration"])
def test_hostile_words_about_commands(
    hostile: Simulator,
    run: Run,
    dag_id: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hostile.faults.clear()
    speak_hostile_words(hostile, at_the_end=False)

    assert run(dag_id).state == "success"
    require_clean([*capfd.readouterr(), *(record.getMessage() for record in caplog.records)])


def test_a_connection_by_a_hostile_name(hostile: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    """What a run is given is no template, though the argument that takes it is templated."""
    [dag] = load_dags(EXAMPLES / "example_mrs_several_clusters.py").values()
    for task in dag.tasks:
        task.retries = 0

    done = dag.test(run_conf={"connections": [HOSTILE.partition("}}")[0] + "}}"]})

    assert done.state == "failed"
    assert sent(hostile) == []
    printed = "".join(capfd.readouterr())
    assert "conn.warehouse.password" in printed
    assert SECRET not in printed
