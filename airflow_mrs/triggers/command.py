"""The trigger that waits for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mrs.manager.arguments import (
    check_choice,
    check_cluster_id,
    check_command_id,
    check_flag,
    check_service_name,
)
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.waiting import (
    outlast_refusals,
    poll_command,
    wait_for_change,
    wait_for_command,
)
from airflow_mrs.triggers.base import MRSTrigger

if TYPE_CHECKING:
    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact, Reading


class MRSCommandTrigger(MRSTrigger):
    """
    Waits until a command of MRS Manager is over, and checks the service that it was about.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``.
    :param command_id: the command; None waits by the state of the service alone.
    :param deadline: when the wait ends, in seconds since the epoch.
    :param action: what the command does to the service: ``stop`` or ``start``; without a service, any words for
        messages.
    :param service_name: the service whose state is checked; None takes the command at its word.
    :param cluster_id: the service's cluster.
    :param poll_interval: seconds between two polls.
    :param not_before: the event does not come before this moment, in seconds since the epoch.
    :param task_instance_id: the id of the task instance that waits; it comes back in the event.
    :param outlasts_refusals: whether a login that is refused for a while is waited for, as that of a locked account.

    The event carries ``command_id``, ``action``, ``service_name`` and ``cluster_id`` as well.
    """

    def __init__(  # noqa: PLR0913 - what Airflow keeps of it
        self,
        mrs_conn_id: str,
        command_id: int | str | None,
        deadline: float,
        *,
        action: str | None = None,
        service_name: str | None = None,
        cluster_id: int = 1,
        poll_interval: float = 5.0,
        not_before: float = 0.0,
        task_instance_id: str | None = None,
        outlasts_refusals: bool = False,
    ) -> None:
        super().__init__(
            mrs_conn_id,
            deadline,
            poll_interval=poll_interval,
            not_before=not_before,
            task_instance_id=task_instance_id,
        )
        if command_id is None and service_name is None:
            raise InvalidArgument(
                "command_id must be the number of a command, such as 1, where no service_name says what to wait for. "
                "Nothing was sent."
            )
        if service_name is not None:
            check_service_name(service_name)
            check_choice(action, "action", Action)
        self.command_id = None if command_id is None else check_command_id(command_id)
        self.action = action
        self.service_name = service_name
        self.cluster_id = check_cluster_id(cluster_id)
        self.outlasts_refusals = check_flag(outlasts_refusals, "outlasts_refusals")

    def particulars(self) -> dict[str, Any]:
        """Return the command and what it does."""
        return {
            "command_id": self.command_id,
            "action": self.action,
            "service_name": self.service_name,
            "cluster_id": self.cluster_id,
            "outlasts_refusals": self.outlasts_refusals,
        }

    @property
    def subject(self) -> str:
        """What is waited for, in words."""
        parts = []
        if self.action is not None:
            parts.append(f"{self.action} of {self.service_name}" if self.service_name else self.action)
        if self.command_id is not None:
            parts.append(f"command {self.command_id}")
        return ", ".join(parts)

    def poll(self, contact: Contact, settings: Settings) -> Procedure[Reading]:  # noqa: ARG002
        """Return one look at the command."""
        return poll_command(contact, check_command_id(self.command_id))

    def procedure(self, contact: Contact, settings: Settings) -> Procedure[object]:
        """Return the wait, which ends with a look at the service where there is one."""
        wait = self._wait_for_command(contact, settings)
        return outlast_refusals(wait, contact.name, contact.deadline) if self.outlasts_refusals else wait

    def _wait_for_command(self, contact: Contact, settings: Settings) -> Procedure[object]:
        if self.service_name is None:
            return wait_for_command(contact, check_command_id(self.command_id))
        change = ServiceChange(
            Action(str(self.action)),
            self.service_name,
            self.cluster_id,
            status_property=settings.status_property,
        )
        return wait_for_change(contact, change, self.command_id)
