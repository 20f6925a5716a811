"""What all operators have in common that send a command: once, and then a wait in the worker or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_mrs.faults import deferral_timed_out, no_retry_of_what_cannot_change, raise_from_event
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.arguments import check_cluster_id, check_flag, check_seconds, check_text
from airflow_mrs.manager.errors import WaitTimedOut
from airflow_mrs.manager.model import NO_COMMAND
from airflow_mrs.manager.note import Note
from airflow_mrs.manager.steps import OutOfPatience
from airflow_mrs.manager.waiting import Contact
from airflow_mrs.notes import NoteKeeper
from airflow_mrs.templates import RendersTexts, check_unless_template
from airflow_mrs.tries import is_of_an_earlier_try, note_deferral, task_instance_id
from airflow_mrs.triggers.base import SHORTEST_DEFERRAL, deferral_timeout
from airflow_mrs.triggers.command import MRSCommandTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.manager.note import Submitted
    from airflow_mrs.manager.steps import Procedure

PATIENCE = 4.0
"""Seconds that a worker polls before it defers: many a command is over at once."""


@dataclass(frozen=True)
class Undertaking:
    """
    A request that becomes a command, and the wait for it.

    :param name: what it is, in words.
    :param submit: sends the request, or finds out that there is no need to.
    :param wait: waits for the command, or without one by other means.
    :param trigger: what the trigger that waits instead has to know beside the command.
    """

    name: str
    submit: Callable[[Contact, Mapping[str, object] | None], Procedure[Submitted]]
    wait: Callable[[Contact, int | None], Procedure[object]]
    trigger: Mapping[str, Any]


class MRSCommandOperator(RendersTexts, BaseOperator):
    """
    Sends a command to MRS Manager and waits for it.

    :param cluster_id: the cluster, 1 as a rule. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the command is over. Where a command runs whose id nobody
        knows, the operator waits all the same.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    :raises ValueError: for an argument that can't be right, when the DAG is parsed; see :mod:`airflow_mrs.templates`.
    """

    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        cluster_id: int | str = 1,
        mrs_conn_id: str = MRSManagerHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,  # noqa: ANN401 - the arguments of every operator
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.mrs_conn_id = mrs_conn_id
        check_unless_template(check_cluster_id, cluster_id)
        check_unless_template(check_text, mrs_conn_id, "mrs_conn_id", MRSManagerHook.default_conn_name)
        self.wait_for_completion = check_flag(wait_for_completion, "wait_for_completion")
        self.deferrable = check_flag(deferrable, "deferrable")
        self.poll_interval = check_seconds(poll_interval, "poll_interval")
        self.timeout = check_seconds(timeout, "timeout", 3600)
        self._running = ""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is done, in words."""

    @abstractmethod
    def resumed(self, context: Context, event: Mapping[str, Any]) -> Undertaking:
        """Return the undertaking that a trigger's event speaks of."""

    def carry_out(
        self,
        context: Context,
        hook: MRSManagerHook,
        undertaking: Undertaking,
        deadline: float,
        *,
        must_wait: bool = False,
    ) -> int:
        """
        Send the request, unless there is no need to, and wait.

        :param context: Airflow's context.
        :param hook: the session with Manager.
        :param undertaking: what to do.
        :param deadline: when the wait ends, in seconds since the epoch.
        :param must_wait: whether to wait even without ``wait_for_completion``.
        :return: the command's id; -1 when there was nothing to wait for, or none is known.
        """
        keeper = NoteKeeper(context, self.log)
        self._running = f"{hook.settings}: {undertaking.name}"
        command_id = None
        try:
            contact = Contact(self._running, self.poll_interval, deadline, time.time())
            submitted = hook.client.run(
                undertaking.submit(contact, keeper.kept()),
                self.log,
                remember=partial(self._keep, context, keeper),
            )
            command_id = submitted.command_id
            if command_id is not None:
                self._running += f", command {command_id}"
                if not (submitted.over or self.wait_for_completion or must_wait):
                    return command_id
            if not submitted.over:
                contact = Contact(self._running, self.poll_interval, deadline, time.time())
                until = time.time() + PATIENCE if self.deferrable else float("inf")
                hook.client.run(undertaking.wait(contact, command_id), self.log, until=until)
        except OutOfPatience:
            self._defer(context, undertaking, hook.mrs_conn_id, command_id, deadline)
        keeper.keep(Note.done())
        return NO_COMMAND if command_id is None else command_id

    def before_sending(self, context: Context) -> None:
        """
        Look once more whether the request may be sent, each time right before it is.

        :param context: Airflow's context.
        :raises Exception: where it may not.
        """

    def _keep(self, context: Context, keeper: NoteKeeper, note: Mapping[str, str | int]) -> None:
        if note["phase"] == "submitting":
            self.before_sending(context)
        keeper.keep(note)

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
        undertaking = self.resumed(context, event)
        NoteKeeper(context, self.log).keep(Note.done())
        self.log.info("%s is done", undertaking.name)
        return NO_COMMAND if event["command_id"] is None else int(event["command_id"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        """
        Resume after a deferral, also one that Airflow ended because its time was over; after an earlier try's, begin anew.

        :raises WaitTimedOut: when its time was over, naming the command where a note of it was kept.
        """
        if is_of_an_earlier_try(context, next_kwargs):
            self.log.info("What an earlier try waited for counts for nothing; this one begins anew")
            return self.execute(context)
        return self._go_on(next_method, next_kwargs, context)

    def _go_on(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        if not deferral_timed_out(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        earlier = Note({}).read(NoteKeeper(context, self.log).kept())
        command = "its command" if earlier.command_id is None else f"command {earlier.command_id}"
        raise WaitTimedOut(
            f"MRS connection {self.mrs_conn_id!r}: {self.subject}: Airflow ended the wait, whose time is over; "
            f"{command} goes on in Manager."
        )

    def on_kill(self) -> None:
        """Say that the command goes on in Manager, which has no way to cancel it."""
        if self._running:
            self.log.warning("%s: no longer waited for. What runs in Manager goes on.", self._running)

    def _defer(
        self,
        context: Context,
        undertaking: Undertaking,
        mrs_conn_id: str,
        command_id: int | None,
        deadline: float,
    ) -> NoReturn:
        note_deferral(context)
        self.defer(
            trigger=MRSCommandTrigger(
                mrs_conn_id,
                command_id,
                deadline,
                poll_interval=self.poll_interval,
                not_before=time.time() + SHORTEST_DEFERRAL,
                task_instance_id=task_instance_id(context),
                **undertaking.trigger,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(deadline),
        )
