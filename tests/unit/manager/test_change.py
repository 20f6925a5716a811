from __future__ import annotations

import pytest

from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.model import ServiceState


@pytest.mark.parametrize(
    ("action", "target", "on_the_way"),
    [("stop", ServiceState.DOWN, ServiceState.STOPPING), ("start", ServiceState.UP, ServiceState.STARTING)],
)
def test_stopping_and_starting_are_mirror_images(
    action: str, target: ServiceState, on_the_way: ServiceState
) -> None:
    change = ServiceChange(Action(action), "HBase", 2, only_self=False)
    assert (change.target, change.on_the_way) == (target, on_the_way)
    assert str(change) == f"{action} of HBase"
    assert str(change.send()) == f"POST /maintain/cluster/2/service/HBase/{action}"
    assert change.send().body == {"only_self": False}
    assert str(change.look()) == "GET /cluster/2/services/HBase"


def test_what_can_not_stand_in_a_path_is_refused_when_it_is_named() -> None:
    with pytest.raises(InvalidArgument):
        ServiceChange(Action.STOP, "a/b")
    with pytest.raises(InvalidArgument):
        ServiceChange(Action.STOP, "HBase", -1)
