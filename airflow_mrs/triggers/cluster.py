"""The trigger that waits for the health of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mrs.manager.arguments import check_cluster_id
from airflow_mrs.manager.waiting import poll_health
from airflow_mrs.triggers.base import MRSTrigger

if TYPE_CHECKING:
    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact, Reading


class MRSClusterHealthTrigger(MRSTrigger):
    """
    Waits until the health of a cluster is GOOD.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``.
    :param cluster_id: the cluster.
    :param deadline: when the wait ends, in seconds since the epoch.
    :param poll_interval: seconds between two polls.
    :param not_before: the event does not come before this moment, in seconds since the epoch.
    :param task_instance_id: the id of the task instance that waits; it comes back in the event.
    """

    def __init__(
        self,
        mrs_conn_id: str,
        cluster_id: int | str,
        deadline: float,
        *,
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
        self.cluster_id = check_cluster_id(cluster_id)

    def particulars(self) -> dict[str, Any]:
        """Return the cluster."""
        return {"cluster_id": self.cluster_id}

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        return f"cluster {self.cluster_id} to be GOOD"

    def poll(self, contact: Contact, settings: Settings) -> Procedure[Reading]:  # noqa: ARG002
        """Return one look at the cluster."""
        return poll_health(contact, self.cluster_id)
