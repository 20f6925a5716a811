"""Nothing that Airflow keeps holds a secret: neither its logs at their most talkative, nor its database."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.simulator.faults import Cut, Expire, Redirect
from airflow_mrs.simulator.sessions import IdleTable
from airflow_mrs.simulator.sso import SingleSignOn
from dev.database import STATE
from dev.harness import Airflow
from tests.e2e.holding import AN_HOUR, an_hour_passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mrs.simulator import Simulator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def tickets(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every ticket and every cookie that a simulator hands out."""
    handed_out: set[str] = set()
    add, new_form = IdleTable.add, SingleSignOn.new_form

    def note_key(self: IdleTable[Any], held: Any) -> str:
        key = add(self, held)
        handed_out.add(key)
        return key

    def note_login_ticket(self: SingleSignOn) -> Any:
        session, form = new_form(self)
        handed_out.add(form.lt.partition("[lt=")[2].partition("+")[0])
        return session, form

    monkeypatch.setattr(IdleTable, "add", note_key)
    monkeypatch.setattr(SingleSignOn, "new_form", note_login_ticket)
    return handed_out


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    """An Airflow that logs all it can."""
    with Airflow(STATE / "secrets", Path(__file__).parent / "dags", log_level="DEBUG") as airflow:
        yield airflow


def test_no_secret_is_kept(airflow: Airflow, simulate: Callable[..., Simulator], tickets: set[str]) -> None:
    passwords = {name: secrets.token_hex(8) for name in ("right", "wrong")}
    managers = {
        name: simulate(command_seconds=AN_HOUR, password=f'{passwords["right"]}&<"%ü', answer=answer)
        for name, answer in {
            "mrs_default": "redirect",
            "mrs_wrong": "page",
            "mrs_cut": "page",
            "mrs_foreign": "redirect",
            "mrs_changed": "page",
        }.items()
    }
    for name, manager in managers.items():
        wrong = {"password": f'{passwords["wrong"]}&<"%ü'} if name == "mrs_wrong" else {}
        airflow.api.add_connection(name, manager.connection | wrong)
    managers["mrs_default"].faults.set("progress", Expire(), times=3)
    managers["mrs_cut"].faults.set("login", Cut())
    managers["mrs_foreign"].faults.set("login", Redirect("https://elsewhere.example/cas?ticket=ST-elsewhere"))
    changed = managers["mrs_changed"]
    airflow.api.wait_for_dag("log_in")

    run_id = airflow.api.trigger("log_in")
    wait_until_deferred(airflow, run_id, "wrong_password_in_the_triggerer")
    changed.sso._password = "another"
    changed.expire_sessions()
    for task_id in ("stop", "wait"):
        wait_until_deferred(airflow, run_id, task_id)
        an_hour_passes(managers["mrs_default"])
    airflow.api.wait_for_run("log_in", run_id)

    states = airflow.api.task_states("log_in", run_id)
    assert {task for task, state in states.items() if state == "success"} == {"stop", "start", "wait", "look"}
    kept = "\n".join([*written(airflow.home), *stored(airflow)])
    # The places where secrets would stand were looked at: addresses with tickets, errors of logins, connections.
    for place in (
        "ticket=***",
        "elsewhere.example",
        "'mrs_wrong': Manager rejected the login",
        "connection: [",
    ):
        assert place in kept
    assert len(tickets) > 20
    assert {secret for secret in (*tickets, *passwords.values(), "ST-elsewhere") if secret in kept} == set()


def wait_until_deferred(airflow: Airflow, run_id: str, task_id: str) -> None:
    airflow.api.wait_for_tasks("log_in", run_id, lambda states: states.get(task_id) == "deferred")


def written(home: Path) -> Iterator[str]:
    """All logs: of tasks, of their triggers, of the components."""
    for path in home.rglob("*.log"):
        yield path.read_text(errors="replace")


def stored(airflow: Airflow) -> Iterator[str]:
    """The whole metadata database: triggers, XComs, notes, rendered fields, the audit log."""
    for table in airflow.tables():
        for row in airflow.rows(f'SELECT * FROM "{table}"'):
            values = [bytes(v) if isinstance(v, memoryview) else v for v in row.values()]
            yield f"{table}: {values}"
