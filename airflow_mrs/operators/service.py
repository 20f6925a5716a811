"""The operators that stop, start and restart a service of a cluster."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.lookup import PatientHook
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.arguments import check_cluster_id, check_flag, check_service_name
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import RequestRefused
from airflow_mrs.manager.model import ServiceState
from airflow_mrs.manager.note import Note
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import outlast_refusals, wait_for_change
from airflow_mrs.notes import NoteKeeper
from airflow_mrs.operators.base import MRSCommandOperator, Undertaking
from airflow_mrs.templates import check_unless_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.manager.note import Kept
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact

T = TypeVar("T")


def undertake(change: ServiceChange, *, outlasts_refusals: bool = False) -> Undertaking:
    """
    Return what there is to do for a change of a service.

    :param change: the stop or the start.
    :param outlasts_refusals: whether a login that is refused for a while is waited for, as that of a locked account.
    """

    def outlast(contact: Contact, procedure: Procedure[T]) -> Procedure[T]:
        return outlast_refusals(procedure, contact.name, contact.deadline) if outlasts_refusals else procedure

    return Undertaking(
        name=str(change),
        submit=lambda contact, kept: outlast(contact, submit(contact, change, kept)),
        wait=lambda contact, command_id: outlast(contact, wait_for_change(contact, change, command_id)),
        trigger={
            "action": str(change.action),
            "service_name": change.service_name,
            "cluster_id": change.cluster_id,
            "outlasts_refusals": outlasts_refusals,
        },
    )


class _ServiceOperator(MRSCommandOperator):
    """
    Stops or starts a service.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param only_self: see the operators.
    """

    template_fields: Sequence[str] = ("service_name", "cluster_id", "mrs_conn_id")
    action: ClassVar[Action]
    outlasts_refusals: ClassVar[bool] = False

    def __init__(self, *, service_name: str, only_self: bool = True, **kwargs: Any) -> None:  # noqa: ANN401 - those of every operator that sends a command
        super().__init__(**kwargs)
        check_unless_template(check_service_name, service_name)
        self.service_name = service_name
        self.only_self = check_flag(only_self, "only_self")

    @property
    def subject(self) -> str:
        """What is done, in words."""
        return f"{self.action} of {self.service_name}"

    def execute(self, context: Context) -> int:
        """
        Send the request, unless there is no need to, and wait.

        :return: the command's id; -1 when the service is in the target state and there is nothing to wait for.
        """
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            return self._move(context, hook)

    def _move(self, context: Context, hook: MRSManagerHook) -> int:
        change = self._change(self.action, hook.settings.status_property)
        undertaking = undertake(change, outlasts_refusals=self.outlasts_refusals)
        return self.carry_out(context, hook, undertaking, time.time() + self.timeout)

    def resumed(self, context: Context, event: Mapping[str, Any]) -> Undertaking:  # noqa: ARG002 - the event tells all
        """Return the undertaking that a trigger's event speaks of."""
        return undertake(told_by(event))

    def _change(self, action: Action, status_property: str | None = None) -> ServiceChange:
        return ServiceChange(
            action, self.service_name, check_cluster_id(self.cluster_id), self.only_self, status_property
        )


def told_by(event: Mapping[str, Any]) -> ServiceChange:
    """
    Return the change that was waited for; what the operator's templates say may have changed since.

    :param event: what a trigger says.
    """
    return ServiceChange(Action(event["action"]), event["service_name"], event["cluster_id"])


class MRSStopServiceOperator(_ServiceOperator):
    """
    Stops a service of an MRS cluster, and waits until it is down.

    A service that is already stopped is left alone; one that is stopping is waited for; one that is starting
    may settle first. A retry finds the command of the try before it and waits for that one.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param cluster_id: the cluster it belongs to, 1 as a rule. (templated)
    :param only_self: True stops this service alone. False also stops the services that depend on it, which a
        start of this one does not bring back.
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the service is down. Where a command runs whose id nobody
        knows, the operator waits all the same.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    :return: the command's id; -1 when the service is stopped and there is nothing to wait for.
    """

    ui_color = "#b04632"
    action = Action.STOP


class MRSStartServiceOperator(_ServiceOperator):
    """
    Starts a service of an MRS cluster, and waits until it is up.

    A service that is already started is left alone; one that is starting is waited for; one that is stopping
    may settle first. A retry finds the command of the try before it and waits for that one.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param cluster_id: the cluster it belongs to, 1 as a rule. (templated)
    :param only_self: True starts this service alone. False also starts the services that it depends on.
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the service is up. Where a command runs whose id nobody
        knows, the operator waits all the same.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    :return: the command's id; -1 when the service is started and there is nothing to wait for.
    """

    ui_color = "#2f7d4f"
    action = Action.START


class MRSRestartServiceOperator(_ServiceOperator):
    """
    Stops a service of an MRS cluster, and starts it again.

    Manager has no command for that, so these are two. A service that is already stopped is only started. It acts on
    this service alone: a stop reaches other services than a start does, so that what depends on this one would not come
    back. A retry goes on where the try before it ended (Airflow 3.3 and later); a stop that failed is tried again, and
    nothing is started after it. A task that is cleared waits for the start, if that still runs, and else restarts again.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param cluster_id: the cluster it belongs to, 1 as a rule. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the service is up again. It always waits until it is down.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for both waits together, or a timedelta.
    :return: the id of the command that starts the service; -1 where none is known.
    """

    ui_color = "#8a6d1f"

    def __init__(self, *, service_name: str, **kwargs: Any) -> None:  # noqa: ANN401 - those of every operator that sends a command
        if "only_self" in kwargs:
            raise TypeError("MRSRestartServiceOperator takes no only_self: it restarts this service alone.")
        super().__init__(service_name=service_name, only_self=True, **kwargs)

    @property
    def subject(self) -> str:
        """What is done, in words."""
        return f"restart of {self.service_name}"

    def execute(self, context: Context) -> int:
        """
        Stop the service, unless an earlier try has come further, and start it.

        :return: the id of the command that starts it; -1 where none is known.
        """
        deadline = time.time() + self.timeout
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            start = self._change(Action.START, hook.settings.status_property)
            note, keeper = Note(start.identity), NoteKeeper(context, self.log)
            earlier = note.read(keeper.kept())
            if not _is_under_way(hook, start, earlier):
                stop = self._change(Action.STOP, hook.settings.status_property)
                self.carry_out(context, hook, undertake(stop), deadline, must_wait=True)
            elif earlier.cleared:  # once is enough: a retry of this try is to wait on
                keeper.keep(
                    note.submitting() if earlier.command_id is None else note.submitted(earlier.command_id)
                )
            return self.carry_out(context, hook, undertake(start), deadline)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after a wait in the triggerer: after that for the stop with the start.

        :param context: Airflow's context.
        :param event: see :class:`~airflow_mrs.triggers.command.MRSCommandTrigger`.
        :return: the id of the command that starts it; -1 where none is known.
        """
        command_id = super().execute_complete(context, event)
        if event["action"] != Action.STOP:
            return command_id
        with no_retry_of_what_cannot_change(), PatientHook(event["mrs_conn_id"]) as hook:
            start = replace(
                told_by(event), action=Action.START, status_property=hook.settings.status_property
            )
            return self.carry_out(context, hook, undertake(start), event["deadline"])


def _is_under_way(hook: MRSManagerHook, start: ServiceChange, earlier: Kept) -> bool:
    """Tell whether an earlier try has come as far as the start; one that was cleared since counts only while it runs."""
    if earlier.phase not in {"submitting", "submitted"}:
        return False
    if not earlier.cleared:
        return True
    try:
        if earlier.command_id is not None:
            return not hook.get_command(earlier.command_id).is_over
        # Nobody knows whether its request got through. While the service is down, its start may yet show.
        return hook.client.call(start.look()).state in {ServiceState.STARTING, ServiceState.DOWN}
    except RequestRefused:
        return False
