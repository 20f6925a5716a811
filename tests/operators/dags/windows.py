"""A maintenance window as a test wants it, in JSON in an environment variable, and the guard."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, task

from airflow_mrs.maintenance import maintenance_guard_dag, maintenance_window, to_markdown

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance import MaintenanceWindow, WindowSummary

GIVEN: dict[str, Any] = json.loads(os.environ.get("TEST_WINDOW", "{}"))
WORK: str = GIVEN.pop("work", "end")
AFTERWARDS: str = GIVEN.pop("afterwards", "")
HOOKS: dict[str, Any] = GIVEN.pop("hooks", {})
INSIDE: dict[str, Any] = GIVEN.pop("inside", {})


def note(text: str) -> None:
    """Note that a hook was called, and let it fail where the test wants that."""
    with Path(HOOKS["notes"]).open("a") as notes:
        notes.write(text)
    if HOOKS["fail"]:
        raise RuntimeError("The hook failed.")
    if HOOKS.get("dies_once") and Path(HOOKS["notes"]).read_text().count("close") == 1:
        raise SystemExit(1)


def open_hook(context: Context) -> None:
    """Note which task has opened the window."""
    note(f"{context['ti'].task_id}\n")


def close_hook(context: Context, summary: WindowSummary) -> None:
    """Note which task has closed it, with how many services."""
    note(f"{context['ti'].task_id} {len(summary['services'])}\n")


@task
def work() -> None:
    """Do what the test wants."""
    match WORK.split():
        case ["fail"]:
            raise RuntimeError("The work failed.")
        case ["skip"]:
            raise AirflowSkipException("There is nothing to do.")
        case ["meanwhile"]:
            from tests.operators import windows  # noqa: PLC0415 - at run time only

            windows.meanwhile()
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["start", service]:
            from airflow_mrs.hooks.mrs_manager import MRSManagerHook  # noqa: PLC0415 - at run time only

            with MRSManagerHook() as hook:
                hook.wait_for_command(hook.start_service(service).id, poll_interval=0.1)


@task.branch
def nowhere() -> None:
    """Skip whatever comes next."""


@task
def report(summary: WindowSummary) -> str:
    """Render what happened."""
    return to_markdown(summary)


@task(trigger_rule=AFTERWARDS or "all_success")
def afterwards() -> None:
    """Come after the window, whatever became of it."""


def arguments() -> dict[str, Any]:
    """Return what the test wants, over what is brisk."""
    given = {"services": ["HBase", "Hive"], "poll_interval": 0.1, "settles_within": 3, **GIVEN}
    for name in ("cutoff", "settles_within", "lapses_after"):
        if name in given:
            given[name] = timedelta(seconds=given[name])
    if HOOKS:
        given |= {"on_open": open_hook, "on_close": close_hook}
    return given


def window_inside() -> MaintenanceWindow:
    """Return a window for the inside of the other one."""
    brisk: dict[str, Any] = {"poll_interval": 0.1, "settles_within": timedelta(seconds=3)}
    return maintenance_window(**brisk, **INSIDE, group_id="inside")


with DAG("window", schedule=None, default_args={"retries": 0}):
    with maintenance_window(**arguments()) as window, window_inside() if INSIDE else nullcontext():
        nowhere() if WORK == "branch" else work()
    report(window.summary)
    if AFTERWARDS:
        window >> afterwards()

guard = maintenance_guard_dag(
    schedule=None,
    default_args={"poll_interval": 0.1, "deferrable": os.environ.get("TEST_GUARD_DEFERRABLE") == "True"},
)
