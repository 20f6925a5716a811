"""The hook, as Airflow's form for connections and a task of one's own use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.errors import InvalidArgument, RequestRefused
from airflow_mrs.manager.model import ServiceState

if TYPE_CHECKING:
    from airflow_mrs.simulator import Simulator


def test_a_good_connection_names_its_cluster(manager: Simulator) -> None:
    good, message = MRSManagerHook().test_connection()

    assert good
    assert "id 1" in message
    assert manager.journal.count("logout") == 1


def test_a_wrong_password_says_what_to_do(manager: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MRS_DEFAULT", manager.connection_json.replace(manager.password, "Secret-1")
    )

    good, message = MRSManagerHook().test_connection()

    assert not good
    assert "'mrs_default'" in message
    assert "password" in message
    assert "Secret-1" not in message


def test_down_and_up_again(manager: Simulator) -> None:
    with MRSManagerHook() as hook:
        stopped = hook.wait_for_command(hook.stop_service("HBase").id, poll_interval=0.1)
        assert (stopped.state, hook.get_service("HBase").state) == ("COMPLETE", ServiceState.DOWN)
        started = hook.wait_for_command(hook.start_service("HBase").id, poll_interval=0.1)
        assert (started.state, hook.get_service("HBase").state) == ("COMPLETE", ServiceState.UP)


def test_a_refusal_names_connection_and_service(manager: Simulator) -> None:
    with MRSManagerHook() as hook, pytest.raises(RequestRefused, match=r"'mrs_default'.*NoSuchService"):
        hook.stop_service("NoSuchService")


@pytest.mark.parametrize(
    "name", ["../HBase", "HBase/x", "HBase?x", "HBase#x", "HB%61se", "", "..", "HBase\n"]
)
def test_a_name_that_can_not_stand_in_a_path_is_refused_before_any_request(
    manager: Simulator, name: str
) -> None:
    with MRSManagerHook() as hook, pytest.raises(InvalidArgument):
        hook.stop_service(name)

    assert not manager.journal.requests
