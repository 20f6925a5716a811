"""What is stopped in which order, what stays up without what it needs, and how long all of it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from airflow_mrs.manager.arguments import check_flag, check_service_name
from airflow_mrs.manager.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

NEEDS: Mapping[str, frozenset[str]] = {
    "ZooKeeper": frozenset(),
    "HDFS": frozenset({"ZooKeeper"}),
    "Yarn": frozenset({"ZooKeeper", "HDFS"}),
    "Mapreduce": frozenset({"ZooKeeper", "HDFS", "Yarn"}),
    "HBase": frozenset({"ZooKeeper", "HDFS"}),
    "Hive": frozenset({"ZooKeeper", "HDFS", "Yarn", "DBService"}),
    "Spark": frozenset({"ZooKeeper", "HDFS", "Yarn", "Hive"}),
    "Spark2x": frozenset({"ZooKeeper", "HDFS", "Yarn", "Hive"}),
    "Kafka": frozenset({"ZooKeeper"}),
    "Storm": frozenset({"ZooKeeper"}),
    "Loader": frozenset({"ZooKeeper", "HDFS", "Yarn", "Mapreduce", "DBService"}),
    "Hue": frozenset({"DBService"}),
    "Oozie": frozenset({"DBService", "HDFS", "Yarn"}),
    "Flink": frozenset({"ZooKeeper", "HDFS", "Yarn", "DBService"}),
}
"""What each service needs to run, collected from the vendor's alarm pages."""

_NEEDED_BY_ALL = frozenset({"KrbServer", "LdapServer"})

_RESTART_MINUTES = {
    "Kafka": 2.0,
    "ZooKeeper": 2.0,
    "Hive": 3.5,
    "Spark2x": 5.0,
    "Yarn": 5.0,
    "Storm": 6.0,
    "HDFS": 10.0,
}
_UNKNOWN_MINUTES = 5.0

Durations = dict[str, dict[str, float]]
"""Seconds that the ``stop`` and the ``start`` of a service took."""


@dataclass(frozen=True)
class Plan:
    """
    The order of a window.

    :param stops: the services in the order in which they are stopped; they are started in the opposite one.
    :param needs: what each of them needs among the others, directly or not.
    :param taken_along: those of them that are in it only because they need another one.
    :param left_up: services that are not in it, if they are installed at all, each with what it needs and loses.
    :param measured: seconds that stops and starts took in earlier windows.
    """

    stops: tuple[str, ...]
    needs: Mapping[str, frozenset[str]]
    taken_along: frozenset[str] = frozenset()
    left_up: Mapping[str, frozenset[str]] = field(default_factory=dict)
    measured: Durations = field(default_factory=dict)

    @property
    def starts(self) -> tuple[str, ...]:
        """The services in the order in which they are started."""
        return tuple(reversed(self.stops))

    def duration(self, action: str, service: str) -> timedelta:
        """Return how long a ``stop`` or a ``start`` takes: as measured, or half of the vendor's figure for a restart."""
        minutes = _RESTART_MINUTES.get(service, _UNKNOWN_MINUTES)
        return timedelta(seconds=self.measured.get(service, {}).get(action, minutes * 30))

    def needed_directly(self, service: str) -> list[str]:
        """Return what a service needs of the others, without what it needs only through one of them."""
        needed = self.needs[service]
        return [
            other
            for other in self.stops
            if other in needed and not any(other in self.needs[via] for via in needed)
        ]

    @property
    def way_down(self) -> timedelta:
        """How long all stops take, one after the other."""
        return sum((self.duration("stop", service) for service in self.stops), timedelta())

    @property
    def way_up(self) -> timedelta:
        """How long all starts take, one after the other."""
        return sum((self.duration("start", service) for service in self.starts), timedelta())

    def __str__(self) -> str:
        lines = [
            f"Stop, in this order: {', '.join(self.stops)} (about {_minutes(self.way_down)}).",
            f"Start, in this order: {', '.join(self.starts)} (about {_minutes(self.way_up)}).",
            "Each command is sent with only_self: it reaches no other service.",
        ]
        if self.taken_along:
            lines.append(f"Taken along, where they are installed: {', '.join(sorted(self.taken_along))}.")
        if self.left_up:
            losses = [
                f"{service} ({', '.join(sorted(lost))})" for service, lost in sorted(self.left_up.items())
            ]
            lines.append(f"Left up without what they need, where they are installed: {', '.join(losses)}.")
        return "\n\n".join(lines)


def make_plan(
    services: Sequence[str],
    *,
    needs: Mapping[str, Collection[str]] | None = None,
    keep_order: bool = False,
    with_dependents: bool = False,
) -> Plan:
    """
    Put services into order: what needs another one is stopped before it.

    :param services: the services of the window.
    :param needs: what services need, in place of the table's rows for them: for renamed and added services.
    :param keep_order: stop in the order that was given, whatever needs what.
    :param with_dependents: take along every service that needs one of them, with ``keep_order`` after all others.
    :return: the plan.
    :raises ValueError: for an argument that can't be right: a text for a list, no service or one twice, services that need
        each other in a circle.
    """
    _check_services(services)
    _check_needs(needs)
    check_flag(keep_order, "keep_order")
    check_flag(with_dependents, "with_dependents")
    graph = {**NEEDS, **{service: frozenset(others) for service, others in (needs or {}).items()}}
    closure = {service: _closure(service, graph) for service in {*graph, *services}}
    affected = {service: needed.intersection(services) for service, needed in closure.items()}
    dependents = {service: lost for service, lost in affected.items() if lost and service not in services}
    taken_along = frozenset(dependents) if with_dependents else frozenset[str]()
    if with_dependents:
        services, dependents = [*services, *sorted(dependents)], {}
    within = {service: closure[service].intersection(services) for service in services}
    in_order = _dependents_first(services, within)
    return Plan(tuple(services) if keep_order else in_order, within, taken_along, dependents)


def _check_services(services: object) -> None:
    # A set has another order at each parse of the DAG.
    if not isinstance(services, list | tuple) or not services:
        raise InvalidArgument(
            f"services must be a list of names, such as ['Hive', 'HBase'], not {services!r}."
        )
    for service in services:
        check_service_name(service, "each of services")
    if len(set(services)) < len(services):
        raise InvalidArgument(
            f"services must name each service once, such as ['Hive', 'HBase'], not {services!r}."
        )


def _check_needs(needs: object) -> None:
    # A text would be taken for a collection of its letters.
    if needs is not None and not (
        isinstance(needs, dict)
        and all(isinstance(others, list | tuple | set | frozenset) for others in needs.values())
    ):
        raise InvalidArgument(
            f"needs must be lists of names by service, such as {{'MyHBase': ['HDFS']}}, not {needs!r}."
        )
    for service, others in (needs or {}).items():
        for name in (service, *others):
            check_service_name(name, "each name in needs")


def _closure(service: str, graph: Mapping[str, Iterable[str]]) -> frozenset[str]:
    found: set[str] = set() if service in _NEEDED_BY_ALL else set(_NEEDED_BY_ALL)
    pending = [service]
    while pending:
        for needed in graph.get(pending.pop(), ()):
            if needed not in found:
                found.add(needed)
                pending.append(needed)
    return frozenset(found)


def _dependents_first(services: Sequence[str], needs: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    sorter = TopologicalSorter(
        {service: [other for other in services if service in needs[other]] for service in services}
    )
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        raise InvalidArgument(
            f"needs must not lead in a circle, such as {' -> '.join(error.args[1])} does. Leave one of these needs away."
        ) from None


def _minutes(duration: timedelta) -> str:
    return f"{max(1, round(duration.total_seconds() / 60))} min"
