"""Stopping or starting a service: which call does it, and where it leaves the service."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from airflow_mrs.manager import protocol
from airflow_mrs.manager.arguments import check_cluster_id, check_service_name
from airflow_mrs.manager.model import Command, Service, ServiceState

if TYPE_CHECKING:
    from airflow_mrs.manager.protocol import Call


class Action(StrEnum):
    """What can be done to a service."""

    STOP = "stop"
    START = "start"


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """
    A stop or a start of a service. Its text is for messages.

    :param action: which of the two.
    :param service_name: the service.
    :param cluster_id: its cluster.
    :param only_self: False takes along what depends on it (stop) or what it depends on (start).
    :param status_property: the entry of ``key_property`` that carries the service's state.
    :raises InvalidArgument: for a name or an id that can't stand in a path.
    """

    action: Action
    service_name: str
    cluster_id: int = 1
    only_self: bool = True
    status_property: str | None = None

    def __post_init__(self) -> None:
        check_service_name(self.service_name)
        check_cluster_id(self.cluster_id)

    def __str__(self) -> str:
        return f"{self.action} of {self.service_name}"

    @property
    def identity(self) -> dict[str, str | int]:
        """What tells it from other changes."""
        return {
            "action": str(self.action),
            "service_name": self.service_name,
            "cluster_id": self.cluster_id,
        }

    @property
    def target(self) -> ServiceState:
        """The state it leads to."""
        return ServiceState.DOWN if self.action is Action.STOP else ServiceState.UP

    @property
    def on_the_way(self) -> ServiceState:
        """The state between."""
        return ServiceState.STOPPING if self.action is Action.STOP else ServiceState.STARTING

    def send(self) -> Call[Command]:
        """Return the call that begins it."""
        call = protocol.stop_service if self.action is Action.STOP else protocol.start_service
        return call(self.service_name, cluster_id=self.cluster_id, only_self=self.only_self)

    def look(self) -> Call[Service]:
        """Return the call that reads the service's state."""
        return protocol.get_service(
            self.service_name, cluster_id=self.cluster_id, status_property=self.status_property
        )
