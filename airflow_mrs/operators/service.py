"""The operators that stop and start a service of a cluster."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator, conf

from airflow_mrs.faults import deferral_timed_out, no_retry_of_what_cannot_change, raise_from_event
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import InvalidArgument, WaitTimedOut
from airflow_mrs.manager.model import NO_COMMAND
from airflow_mrs.manager.protocol import check_cluster_id
from airflow_mrs.manager.steps import OutOfPatience
from airflow_mrs.manager.submission import Note, submit
from airflow_mrs.manager.waiting import Contact, wait_for_change
from airflow_mrs.notes import NoteKeeper
from airflow_mrs.triggers.command import SHORTEST_DEFERRAL, TRIGGER_GRACE, MRSCommandTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

PATIENCE = 4.0
"""Seconds that a worker polls before it defers: many a command is over at once."""


class _ServiceOperator(BaseOperator):
    """
    What stopping and starting have in common: everything but the direction.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param cluster_id: the cluster it belongs to, 1 as a rule. (templated)
    :param only_self: see the operators.
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the service is where it should be. Where a command runs
        whose id nobody knows, the operator waits all the same.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds for the whole wait.
    """

    template_fields: Sequence[str] = ("service_name", "cluster_id", "mrs_conn_id")
    ui_fgcolor = "#ffffff"
    action: ClassVar[Action]

    def __init__(
        self,
        *,
        service_name: str,
        cluster_id: int | str = 1,
        only_self: bool = True,
        mrs_conn_id: str = MRSManagerHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 5.0,
        timeout: float = 3600.0,
        **kwargs: Any,  # noqa: ANN401 - the arguments of every operator
    ) -> None:
        super().__init__(**kwargs)
        self.service_name = service_name
        self.cluster_id = cluster_id
        self.only_self = only_self
        self.mrs_conn_id = mrs_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self._running = ""

    def execute(self, context: Context) -> int:
        """
        Send the request, unless there is no need to, and wait.

        :return: the command's id; -1 when the service is in the target state and there is nothing to wait for.
        """
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            change = self._change(hook.settings.status_property)
            note, keeper = Note(change), NoteKeeper(context, self.log)
            deadline = time.time() + self.timeout
            name = f"{hook.settings}: {change}"
            try:
                self._running = name
                contact = Contact(name, self.poll_interval, deadline, time.time())
                submitted = hook.client.run(
                    submit(contact, change, keeper.kept()), self.log, remember=keeper.keep
                )
                command_id = submitted.command_id
                if command_id is not None:
                    name += f", command {command_id}"
                    self._running = name
                    if not (submitted.over or self.wait_for_completion):
                        return command_id
                if not submitted.over:
                    contact = Contact(name, self.poll_interval, deadline, time.time())
                    until = time.time() + PATIENCE if self.deferrable else float("inf")
                    hook.client.run(wait_for_change(contact, change, command_id), self.log, until=until)
            except OutOfPatience:
                self._defer(change, command_id, deadline)
            except AirflowTaskTimeout:
                self.on_kill()
                raise
            keeper.keep(note.done())
            return NO_COMMAND if command_id is None else command_id

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after the wait in the triggerer. It makes no request.

        :param context: Airflow's context.
        :param event: see :class:`~airflow_mrs.triggers.command.MRSCommandTrigger`.
        :return: the command's id, or -1 where none is known.
        """
        with no_retry_of_what_cannot_change():
            if event["status"] != "success":
                raise_from_event(event)
            change = self._change()
            NoteKeeper(context, self.log).keep(Note(change).done())
            self.log.info("%s is done", change)
            return int(event["command_id"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        """
        Resume after a deferral, also one that Airflow ended because its time was over.

        :raises WaitTimedOut: in that case, naming the command where a note of it was kept.
        """
        if not deferral_timed_out(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        change = self._change()
        _, command_id = Note(change).read(NoteKeeper(context, self.log).kept())
        command = "its command" if command_id is None else f"command {command_id}"
        raise WaitTimedOut(
            f"MRS connection {self.mrs_conn_id!r}: {change}: the time for the wait is over, and no triggerer "
            f"ended it; {command} goes on in Manager."
        )

    def on_kill(self) -> None:
        """Say that the command goes on in Manager, which has no way to cancel it."""
        if self._running:
            self.log.warning("%s: no longer waited for. What runs in Manager goes on.", self._running)

    def _change(self, status_property: str | None = None) -> ServiceChange:
        if not isinstance(self.only_self, bool):
            raise InvalidArgument(
                f"only_self must be True or False, not {self.only_self!r}. Nothing was sent."
            )
        return ServiceChange(
            self.action,
            self.service_name,
            check_cluster_id(self.cluster_id),
            self.only_self,
            status_property,
        )

    def _defer(self, change: ServiceChange, command_id: int | None, deadline: float) -> NoReturn:
        now = time.time()
        self.defer(
            trigger=MRSCommandTrigger(
                self.mrs_conn_id,
                command_id,
                deadline,
                action=str(change.action),
                service_name=change.service_name,
                cluster_id=change.cluster_id,
                poll_interval=self.poll_interval,
                not_before=now + SHORTEST_DEFERRAL,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, deadline - now) + TRIGGER_GRACE),
        )


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
    :param poll_interval: seconds between two polls.
    :param timeout: seconds for the whole wait.
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
    :param poll_interval: seconds between two polls.
    :param timeout: seconds for the whole wait.
    :return: the command's id; -1 when the service is started and there is nothing to wait for.
    """

    ui_color = "#2f7d4f"
    action = Action.START
