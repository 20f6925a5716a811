"""Every call of the API, by both drivers, over TLS against the simulator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import CommandFailed, RequestRefused
from airflow_mrs.manager.model import ClusterHealth, CommandState, ServiceState
from airflow_mrs.manager.waiting import Contact, wait_for_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from tests.integration.conftest import Driver

    Simulate = Callable[..., Simulator]
    Connect = Callable[..., Driver]

WAYS_IN = {
    "a page after the login": {"answer": "page"},
    "a redirect after the login": {"answer": "redirect"},
    "normal mode": {"mode": "normal"},
    "keys as older servers spell them": {"camel_case": True},
    "states as 2.x words them": {"states": "2x"},
}


def contact(seconds: float = 100.0) -> Contact:
    now = time.time()
    return Contact("the test", 0.1, now + seconds, now)


@pytest.mark.parametrize("options", WAYS_IN.values(), ids=WAYS_IN)
def test_down_and_up_again(simulate: Simulate, connect: Connect, options: dict[str, object]) -> None:
    simulator = simulate(**options)
    manager = connect(simulator)

    for call, state in (
        (protocol.stop_service, ServiceState.DOWN),
        (protocol.start_service, ServiceState.UP),
    ):
        begun = manager.call(call("HBase"))
        over = manager.run(wait_for_command(contact(), begun.id))
        assert over.state is CommandState.COMPLETE
        assert manager.call(protocol.get_service("HBase")).state is state

    assert simulator.journal.logins_succeeded == 1
    assert simulator.journal.accepted("HBase", "stop") == simulator.journal.accepted("HBase", "start") == 1


def test_what_a_cluster_tells_of_itself(simulate: Simulate, connect: Connect) -> None:
    manager = connect(simulate())

    [cluster] = manager.call(protocol.list_clusters())
    assert (cluster.id, bool(cluster.name)) == (1, True)
    assert manager.call(protocol.get_cluster_health(cluster.id)) is ClusterHealth.GOOD


def test_a_failed_command_names_what_failed(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    simulator.cluster.fail_next("HBase", "stop", text="RegionServer does not let go.")
    manager = connect(simulator)

    begun = manager.call(protocol.stop_service("HBase"))
    with pytest.raises(CommandFailed, match="RegionServer does not let go"):
        manager.run(wait_for_command(contact(), begun.id))


def test_only_self_is_always_sent(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    manager = connect(simulator)

    manager.call(protocol.stop_service("HBase"))

    [started] = simulator.journal.entries("command started")
    assert started.details["only_self"] is True


def test_an_unknown_service_is_refused(simulate: Simulate, connect: Connect) -> None:
    manager = connect(simulate())

    with pytest.raises(RequestRefused, match="NoSuchService"):
        protocol.require_accepted(manager.call(protocol.stop_service("NoSuchService")), "the test")


def test_a_second_command_while_one_runs_is_refused(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(command_seconds=600)
    manager = connect(simulator)
    manager.call(protocol.stop_service("HBase"))

    with pytest.raises(RequestRefused):
        protocol.require_accepted(manager.call(protocol.stop_service("Kafka")), "the test")
