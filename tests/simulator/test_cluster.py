from __future__ import annotations

from typing import Any

import pytest

from airflow_mrs.simulator.cluster import NEEDS, Cluster, CommandState, Refused, State
from airflow_mrs.simulator.journal import Journal


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A cluster whose time passes when a test says so."""

    def __init__(self, **options: Any) -> None:
        self.clock = Hands()
        self.journal = Journal(self.clock)
        options = {"command_seconds": 10, **options}
        self.cluster = Cluster(self.journal.record, clock=self.clock, **options)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.cluster.advance()

    def order(self, state: str) -> list[str]:
        return [entry.details["service"] for entry in self.journal.entries("state", state=state)]

    def stopped(self) -> set[str]:
        return {name for name, service in self.cluster.services.items() if service.state is State.STOPPED}


def test_a_stop_takes_its_time_and_tells_its_progress() -> None:
    world = World()
    command = world.cluster.stop("HBase")
    assert world.cluster.service("HBase").state == "stopping"
    world.wait(4)
    assert world.cluster.command(command.id).progress == 40
    world.wait(6)
    assert world.cluster.service("HBase").state == "stopped"
    done = world.cluster.command(command.id)
    assert (done.state, done.progress) == (CommandState.COMPLETE, 100)
    assert world.stopped() == {"HBase"}


def test_stopping_takes_dependents_along_and_these_go_first() -> None:
    world = World()
    world.cluster.stop("Yarn", only_self=False)
    world.wait(1000)
    order = world.order("stopped")
    assert set(order) == {"Yarn", "Mapreduce", "Hive", "Spark2x", "Loader", "Oozie", "Flink"}
    assert order[-1] == "Yarn"
    assert order.index("Spark2x") < order.index("Hive")
    assert order.index("Loader") < order.index("Mapreduce")


def test_starting_takes_needed_services_along_and_these_go_first() -> None:
    world = World()
    world.cluster.stop("ZooKeeper", only_self=False)
    world.wait(1000)
    world.cluster.start("HBase", only_self=False)
    world.wait(1000)
    assert world.order("started") == ["ZooKeeper", "HDFS", "HBase"]


def test_stop_and_start_are_not_inverse() -> None:
    world = World()
    world.cluster.stop("HDFS", only_self=False)
    world.wait(1000)
    assert "HBase" in world.stopped()
    world.cluster.start("HDFS", only_self=False)
    world.wait(1000)
    assert world.cluster.service("HDFS").state == "started"
    assert "HBase" in world.stopped()


@pytest.mark.parametrize("security", [True, False])
def test_every_service_can_be_stopped_and_started_again(security: bool) -> None:
    for name in NEEDS:
        world = World(security=security)
        world.cluster.stop(name, only_self=False)
        world.wait(1000)
        assert name in world.stopped()
        world.cluster.start(name, only_self=False)
        world.wait(1000)
        assert name not in world.stopped()
        assert all(command.state == "COMPLETE" for command in world.cluster.commands)


def test_kerberos_is_needed_by_all_in_security_mode_only() -> None:
    secure, normal = World(security=True), World(security=False)
    assert "KrbServer" in secure.cluster.service("Hue").needs
    assert "KrbServer" not in normal.cluster.service("Hue").needs
    assert "KrbServer" in normal.cluster.service("ZooKeeper").needs


def test_a_service_without_what_it_needs_is_not_well_and_does_not_start() -> None:
    world = World()
    world.cluster.stop("HDFS")
    world.wait(10)
    assert not world.cluster.healthy("HBase")
    world.cluster.stop("HBase")
    world.wait(10)
    command = world.cluster.start("HBase")
    world.wait(10)
    assert world.cluster.service("HBase").state == "failed to start"
    assert world.cluster.command(command.id).error_description == "Failed to start HBase: it needs HDFS."


def test_the_cluster_is_good_while_all_run() -> None:
    world = World()
    seen = [world.cluster.good]
    for move in (world.cluster.stop, world.cluster.start):
        move("Hue")
        world.wait(10)
        seen.append(world.cluster.good)
    assert seen == [True, False, True]


def test_each_service_may_take_a_time_of_its_own() -> None:
    world = World(service_seconds={"Mapreduce": 30})
    command = world.cluster.stop("Mapreduce", only_self=False)
    world.wait(10)
    assert world.cluster.service("Mapreduce").state == "stopping"
    assert world.cluster.command(command.id).progress == 25
    world.wait(30)
    assert world.cluster.service("Mapreduce").state == "stopped"


def test_unknown_services_are_refused() -> None:
    with pytest.raises(ValueError, match="Hbase"):
        World(service_seconds={"Hbase": 1})
    world = World()
    for call in (world.cluster.stop, world.cluster.start, world.cluster.service):
        with pytest.raises(Refused):
            call("hbase")
    with pytest.raises(Refused):
        world.cluster.command(7)


def test_one_command_at_a_time() -> None:
    world = World()
    world.cluster.stop("Hue")
    with pytest.raises(Refused, match="Another command is running: 1"):
        world.cluster.stop("Kafka")
    world.wait(10)
    assert world.cluster.stop("Kafka").id == 2


def test_the_first_command_may_be_number_zero() -> None:
    assert World(first_command_id=0).cluster.stop("Hue").id == 0


def test_nothing_to_do_is_done_at_once() -> None:
    world = World()
    command = world.cluster.start("Hue")
    assert world.cluster.command(command.id).state == "COMPLETE"
    assert world.journal.state_changes("Hue") == []


def test_a_command_fails_half_way_where_it_is_told_to() -> None:
    world = World()
    world.cluster.fail_next("Mapreduce", "stop", code=-5, text="No.")
    command = world.cluster.stop("Yarn", only_self=False)
    world.wait(1000)
    failed = world.cluster.command(command.id)
    assert (failed.state, failed.error_code, failed.error_description) == ("FAILED", -5, "No.")
    assert failed.failed is not None
    assert str(failed.failed) == "Stop Mapreduce"
    assert world.cluster.service("Mapreduce").state == "failed to stop"
    assert world.cluster.service("Yarn").state == "started"
    assert 0 < failed.progress < 100
    again = world.cluster.stop("Yarn", only_self=False)
    world.wait(1000)
    assert world.cluster.command(again.id).state == "COMPLETE"


def test_a_command_may_claim_what_is_not_so() -> None:
    world = World()
    world.cluster.pretend_next("HBase", "stop")
    command = world.cluster.stop("HBase")
    world.wait(10)
    assert world.cluster.command(command.id).state == "COMPLETE"
    assert world.cluster.service("HBase").state == "started"


def test_a_service_may_be_moving_without_a_command() -> None:
    world = World()
    world.cluster.set_state("HBase", "stopping", seconds=5)
    assert world.cluster.service("HBase").state == "stopping"
    world.wait(5)
    assert world.cluster.service("HBase").state == "stopped"


def test_forgotten_commands_go_on() -> None:
    world = World()
    command = world.cluster.stop("HBase")
    world.cluster.forget_commands()
    with pytest.raises(Refused):
        world.cluster.command(command.id)
    assert world.cluster.running is not None
    world.wait(10)
    assert world.cluster.service("HBase").state == "stopped"


def test_configuration_is_saved_and_services_are_restarted_on_request() -> None:
    world = World()
    world.cluster.configure({"HBase": {"a": "1"}}, restart=False)
    world.wait(0)
    assert world.journal.state_changes() == []
    world.cluster.configure({"HBase": {"b": "2"}, "HDFS": {"c": "3"}}, restart=True)
    world.wait(100)
    assert world.order("stopped") == ["HBase", "HDFS"]
    assert world.order("started") == ["HDFS", "HBase"]
    assert world.cluster.service("HBase").configuration == {"a": "1", "b": "2"}


def test_events_carry_the_time_at_which_they_happened() -> None:
    world = World()
    world.cluster.stop("HBase")
    world.wait(99)
    assert [entry.at for entry in world.journal.state_changes("HBase")] == [1000, 1010]
