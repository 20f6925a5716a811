"""How a service's state is put into words, which differs between the versions of MRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_mrs.simulator.cluster import State

if TYPE_CHECKING:
    from airflow_mrs.simulator.cluster import Service

States = Literal["2x", "3x"]

_OPERATING_STATUS = {
    State.STARTED: "STARTED",
    State.STOPPED: "STOPPED",
    # 2.x has no words for a service on its way: it still is what it was.
    State.STARTING: "STOPPED",
    State.STOPPING: "STARTED",
    State.FAILED_TO_START: "FAILED_TO_START",
    State.FAILED_TO_STOP: "FAILED_TO_STOP",
    State.UNKNOWN: "UNKNOWN",
}

_RUNNING_STATUS = {
    State.STARTED: "Normal",
    State.STOPPED: "Not started",
    State.STARTING: "Starting",
    State.STOPPING: "Stopping",
    State.FAILED_TO_START: "Failed to start",
    State.FAILED_TO_STOP: "Failed to stop",
    State.UNKNOWN: "Unknown",
}


def key_properties(service: Service, *, healthy: bool, states: States) -> list[dict[str, Any]]:
    """Return the properties of a service as the API lists them."""
    common: list[dict[str, Any]] = [
        {"name": "Version", "value": "1.0", "type": "TEXT"},
        {"name": "Instances", "value": 3, "type": "TEXT"},
    ]
    if states == "3x":
        running = (
            "Faulty" if service.state is State.STARTED and not healthy else _RUNNING_STATUS[service.state]
        )
        return [
            {"name": "Running Status", "value": running, "type": "STATUS"},
            {"name": "Configuration Status", "value": "Synchronized", "type": "STATUS"},
            *common,
        ]
    health = ("GOOD" if healthy else "BAD") if service.state is State.STARTED else "UNKNOWN"
    return [
        {"name": "Health Status", "value": health, "type": "STATUS"},
        {"name": "Operating Status", "value": _OPERATING_STATUS[service.state], "type": "STATUS"},
        *common,
    ]
