"""The sensor that waits for a command of MRS Manager."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)

from airflow_mrs.faults import deferral_timed_out, raise_from_event
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.errors import CommandFailed, MRSError, WaitTimedOut
from airflow_mrs.manager.model import NO_COMMAND, CommandState
from airflow_mrs.manager.protocol import check_command_id
from airflow_mrs.manager.waiting import Contact, poll_command
from airflow_mrs.triggers.command import SHORTEST_DEFERRAL, TRIGGER_GRACE, MRSCommandTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg


class MRSCommandSensor(BaseSensorOperator):
    """
    Waits until a command of MRS Manager is over, and fails if the command does.

    It behaves the same in poke, reschedule and deferrable mode. It rides out outages of Manager of up to ten
    minutes. With ``soft_fail``, a failed command and a time-out skip; a broken connection, a wrong password or
    a refused certificate never do. It knows no service, so it takes COMPLETE and FAILED at their word.

    :param command_id: the command, or its text: what an operator returned. -1, by which an operator says that
        there was nothing to wait for, is over at once. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poke_interval: seconds between two polls.
    :param timeout: seconds for the whole wait.
    """

    template_fields: Sequence[str] = ("command_id", "mrs_conn_id")
    ui_color = "#c9b458"

    def __init__(
        self,
        *,
        command_id: int | str | XComArg,
        mrs_conn_id: str = MRSManagerHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float = 5.0,
        timeout: float = 3600.0,
        **kwargs: Any,  # noqa: ANN401 - the arguments of every operator
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.command_id = command_id
        self.mrs_conn_id = mrs_conn_id
        self.deferrable = deferrable
        self._hook: MRSManagerHook | None = None
        self._last = "never polled"
        self._deadline = float("inf")

    def execute(self, context: Context) -> None:
        """
        Wait for the command, in the mode that was asked for.

        :param context: Airflow's context.
        """
        try:
            with self._verdict():
                if _known_command(self.command_id) is None:
                    self.log.info("There is no command to wait for")
                    return
                self._deadline = self._started(context) + self.timeout
                if not self.deferrable:
                    self._poke_to_the_end(context)
                elif not self.poke(context):
                    self._defer()
        finally:
            if self._hook is not None:
                self._hook.close()

    def _poke_to_the_end(self, context: Context) -> None:
        try:
            super().execute(context)
        except AirflowSkipException:
            # So the base class puts it under soft_fail, without a word of the command.
            raise AirflowSensorTimeout from None

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """
        Ask once how far the command is; through an outage of Manager, until there is an answer.

        :param context: Airflow's context.
        :return: whether it is over.
        :raises MRSError: when it failed, or nobody can tell.
        """
        command_id = _known_command(self.command_id)
        if command_id is None:
            return True
        if self._hook is None:
            self._hook = MRSManagerHook(self.mrs_conn_id)
        now = time.time()
        contact = Contact(
            f"{self._hook.settings}: command {command_id}", self.poke_interval, self._deadline, now
        )
        command = self._hook.client.run(poll_command(contact, command_id), self.log)
        progress = f"state {command.word or 'none'}, progress {command.progress}%"
        if progress != self._last:
            self.log.info("%s: %s", contact.name, progress)
        self._last = progress
        return command.state is CommandState.COMPLETE

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """
        Go on after the wait in the triggerer. It makes no request.

        :param context: Airflow's context.
        :param event: see :class:`~airflow_mrs.triggers.command.MRSCommandTrigger`.
        """
        with self._verdict():
            if event["status"] != "success":
                raise_from_event(event)
            self.log.info("Command %s is complete", event["command_id"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        """
        Resume after a deferral, also one that Airflow ended because its time was over.

        The base class of sensors is passed over: with ``soft_fail`` it skips on every error.
        """
        with self._verdict():
            if not deferral_timed_out(next_method, next_kwargs):
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            raise WaitTimedOut(
                f"MRS connection {self.mrs_conn_id!r}: command {self.command_id}: the time for the wait is over, "
                "and no triggerer ended it. The command goes on in Manager."
            )

    def on_kill(self) -> None:
        """Say that the command goes on in Manager, which has no way to cancel it."""
        self.log.warning(
            "MRS connection %r: command %s: no longer waited for. It goes on in Manager.",
            self.mrs_conn_id,
            self.command_id,
        )

    @contextmanager
    def _verdict(self) -> Iterator[None]:
        """Say in Airflow's terms what an error means, the same in all modes."""
        try:
            yield
        except AirflowSensorTimeout:
            self._judge(
                WaitTimedOut(
                    f"MRS connection {self.mrs_conn_id!r}: command {self.command_id}: not over within "
                    f"{self.timeout:.0f} s; {self._last}. The command goes on in Manager."
                )
            )
        except MRSError as error:
            self._judge(error)

    def _judge(self, error: MRSError) -> NoReturn:
        skippable = isinstance(error, CommandFailed | WaitTimedOut)
        if self.never_fail or (self.soft_fail and skippable):
            raise AirflowSkipException(str(error)) from error
        if isinstance(error, WaitTimedOut):
            raise AirflowSensorTimeout(str(error)) from error
        if error.permanent or skippable:
            raise AirflowFailException(str(error)) from error
        raise error

    def _started(self, context: Context) -> float:
        """Return when the wait began, in seconds since the epoch; before this try, if it was rescheduled."""
        task_instance: Any = context.get("ti")
        if self.reschedule and hasattr(task_instance, "get_first_reschedule_date"):
            first = task_instance.get_first_reschedule_date(context)
            if first is not None:
                return float(first.timestamp())
        return time.time()

    def _defer(self) -> NoReturn:
        now = time.time()
        self.defer(
            trigger=MRSCommandTrigger(
                self.mrs_conn_id,
                _known_command(self.command_id),
                self._deadline,
                poll_interval=self.poke_interval,
                not_before=now + SHORTEST_DEFERRAL,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, self._deadline - now) + TRIGGER_GRACE),
        )


def _known_command(command_id: object) -> int | None:
    """
    Return a command id as a number, None for the -1 by which an operator says that there is none.

    :raises InvalidArgument: for anything else, before any request.
    """
    return None if str(command_id).strip() == str(NO_COMMAND) else check_command_id(command_id)
