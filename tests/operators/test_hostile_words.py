"""What a Manager writes goes into logs, XComs, Variables and mails as one line of text, whatever it is."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.operators.conftest import _variables, read_variables, states, xcom
from tests.operators.hostile import require_clean, speak_hostile_words
from tests.operators.windows import held_by_somebody, log_of_the_report, look_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import DagRun

    from airflow_mrs.simulator import Simulator


@pytest.fixture(autouse=True)
def _brisk(brisk: None) -> None:
    pass


@pytest.fixture
def everything_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Callable[[], list[str]]:
    """All lines that any logger has written, at its lowest level."""
    caplog.set_level(1)
    for name in ("airflow", "airflow.task", "airflow_mrs", "urllib3", "requests", "aiohttp", "asyncio"):
        caplog.set_level(1, logger=name)
    return lambda: [*capfd.readouterr(), *(record.getMessage() for record in caplog.records)]


def xcoms(run: DagRun) -> list[Any]:
    """All that a run has left for other tasks."""
    with _variables() as (session, _):
        model = import_module("airflow.models.xcom")
        model = getattr(model, "XComModel", None) or model.XCom
        rows = session.query(model).filter(model.run_id == run.run_id).all()
        return [decoded(row.value) for row in rows]


def decoded(value: Any) -> Any:
    """Return what a row holds, which some versions of Airflow have decoded by then."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize(("deferrable", "failing"), [(False, True), (True, False)])
def test_a_whole_window(
    manager: Simulator,
    run_window: Callable[..., DagRun],
    everything_logged: Callable[[], list[str]],
    deferrable: bool,
    failing: bool,
) -> None:
    speak_hostile_words(manager)
    if failing:
        manager.cluster.fail_next("Hive", "stop", times=9)

    run = run_window(deferrable=deferrable, settles_within=0.5)

    assert states(run)["maintenance.verdict"] == "failed"
    logged = everything_logged()
    assert "password }}" in "".join(logged)  # the words were there to be seen
    require_clean(logged)
    kept = xcoms(run)
    assert "password }}" in str(kept)
    require_clean(kept)
    require_clean([json.loads(text) for text in read_variables("mrs_").values()])
    require_clean(xcom(run, "report"))


def test_what_the_guard_brings_back(manager: Simulator, everything_logged: Callable[[], list[str]]) -> None:
    manager.cluster.stop("HBase", only_self=True)
    manager.journal.wait_for(lambda: manager.cluster.running is None)
    manager.cluster.fail_next("HBase", "start", times=9)
    speak_hostile_words(manager)
    held_by_somebody(manager, before=("HBase",))

    assert look_after().state == "failed"

    assert "password }}" in log_of_the_report()
    require_clean(log_of_the_report())
    require_clean(everything_logged())
    require_clean([json.loads(text) for text in read_variables("mrs_").values()])
