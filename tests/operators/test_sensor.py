"""The sensor in Airflow's hands: the same verdict in each of its three modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operators.conftest import states

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from tests.operators.conftest import Run

    Manage = Callable[..., Simulator]

pytestmark = pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_a_command_that_comes_to_its_end(manage: Manage, run: Run, mode: str, seconds: float) -> None:
    manager = manage(command_seconds=seconds)
    command = manager.cluster.stop("HBase")

    assert states(run(f"sensor_{mode}", command_id=command.id)) == {"wait": "success"}
    assert manager.cluster.command(command.id).state == "COMPLETE"


def test_where_there_is_no_command_nothing_is_asked(manager: Simulator, run: Run, mode: str) -> None:
    assert states(run(f"sensor_{mode}", command_id=-1)) == {"wait": "success"}
    assert manager.journal.logins_attempted == 0


@pytest.mark.parametrize(("policy", "state"), [("", "failed"), ("_soft_fail", "skipped")])
def test_a_failed_command(manager: Simulator, run: Run, mode: str, policy: str, state: str) -> None:
    manager.cluster.fail_next("HBase", "stop")
    command = manager.cluster.stop("HBase")

    assert states(run(f"sensor_{mode}{policy}", command_id=command.id)) == {"wait": state}


@pytest.mark.parametrize(("policy", "state"), [("", "failed"), ("_soft_fail", "skipped")])
def test_a_command_that_takes_too_long(manage: Manage, run: Run, mode: str, policy: str, state: str) -> None:
    command = manage(command_seconds=60).cluster.stop("HBase")

    assert states(run(f"sensor_{mode}{policy}", command_id=command.id)) == {"wait": state}


@pytest.mark.parametrize("policy", ["", "_soft_fail"])
def test_a_wrong_password_never_skips(
    manager: Simulator, run: Run, mode: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "wrong"))

    assert states(run(f"sensor_{mode}{policy}", command_id=1)) == {"wait": "failed"}
    assert manager.journal.logins_attempted == 1


@pytest.mark.parametrize("policy", ["", "_soft_fail"])
def test_a_refused_certificate_never_skips(
    manager: Simulator, run: Run, mode: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace('"ca_cert"', '"no_cert"'))

    assert states(run(f"sensor_{mode}{policy}", command_id=1)) == {"wait": "failed"}
    assert manager.journal.logins_attempted == 0
