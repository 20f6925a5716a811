"""The trigger that waits for a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mrs.manager import protocol
from airflow_mrs.manager.arguments import check_choice, check_cluster_id, check_service_name
from airflow_mrs.manager.model import ServiceState
from airflow_mrs.manager.waiting import poll_service
from airflow_mrs.triggers.base import MRSTrigger

if TYPE_CHECKING:
    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact, Reading


STATES = (str(ServiceState.UP), str(ServiceState.DOWN))
"""The states that can be waited for."""


class MRSServiceTrigger(MRSTrigger):
    """
    Waits until a service is up, or down.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``.
    :param service_name: the service.
    :param state: ``up`` or ``down``.
    :param deadline: when the wait ends, in seconds since the epoch.
    :param cluster_id: the service's cluster.
    :param poll_interval: seconds between two polls.
    :param not_before: the event does not come before this moment, in seconds since the epoch.
    :param task_instance_id: the id of the task instance that waits; it comes back in the event.
    """

    def __init__(
        self,
        mrs_conn_id: str,
        service_name: str,
        state: str,
        deadline: float,
        *,
        cluster_id: int | str = 1,
        poll_interval: float = 5.0,
        not_before: float = 0.0,
        task_instance_id: str | None = None,
    ) -> None:
        super().__init__(
            mrs_conn_id,
            deadline,
            poll_interval=poll_interval,
            not_before=not_before,
            task_instance_id=task_instance_id,
        )
        self.service_name = check_service_name(service_name)
        self.state = check_choice(state, "state", STATES)
        self.cluster_id = check_cluster_id(cluster_id)

    def particulars(self) -> dict[str, Any]:
        """Return the service and its state."""
        return {"service_name": self.service_name, "state": self.state, "cluster_id": self.cluster_id}

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"{self.service_name} to be {self.state}"

    def poll(self, contact: Contact, settings: Settings) -> Procedure[Reading]:
        """Return one look at the service."""
        call = protocol.get_service(
            self.service_name,
            cluster_id=self.cluster_id,
            status_property=settings.status_property,
        )
        return poll_service(contact, call, ServiceState(self.state))
