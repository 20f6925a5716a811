"""What all sensors have in common: the same verdict in poke, reschedule and deferrable mode."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)

from airflow_mrs.faults import deferral_timed_out, raise_from_event
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.arguments import check_flag, check_seconds, check_text
from airflow_mrs.manager.errors import CommandFailed, MRSError, WaitTimedOut
from airflow_mrs.manager.waiting import Contact, poll_once
from airflow_mrs.templates import RendersTexts, check_unless_template
from airflow_mrs.tries import is_of_an_earlier_try, note_deferral, task_instance_id
from airflow_mrs.triggers.base import SHORTEST_DEFERRAL, deferral_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.triggers.base import MRSTrigger


class MRSSensor(RendersTexts, BaseSensorOperator):
    """
    Waits for something that Manager tells.

    It behaves the same in poke, reschedule and deferrable mode. It rides out outages of Manager of up to ten
    minutes. With ``soft_fail``, a failed command and a time-out skip; a broken connection, a wrong password or
    a refused certificate never do. With ``never_fail`` they do, too. ``silent_fail`` changes nothing: an outage
    passes without it, and nothing else is to be asked again.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poke_interval: seconds between two polls, or a timedelta; in reschedule mode at least ten.
    :param timeout: seconds for the whole wait, or a timedelta.
    """

    ui_color = "#c9b458"

    what_goes_on: ClassVar[str] = ""
    """What a message about the end of the wait adds."""

    def __init__(
        self,
        *,
        mrs_conn_id: str = MRSManagerHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,  # noqa: ANN401 - the arguments of every operator
    ) -> None:
        super().__init__(
            poke_interval=check_seconds(poke_interval, "poke_interval"),
            timeout=check_seconds(timeout, "timeout", 3600),
            **kwargs,
        )
        for policy in ("soft_fail", "never_fail", "silent_fail", "exponential_backoff"):
            check_flag(getattr(self, policy), policy)
        check_unless_template(check_text, mrs_conn_id, "mrs_conn_id", MRSManagerHook.default_conn_name)
        if self.reschedule:
            self.poke_interval = max(self.poke_interval, SHORTEST_DEFERRAL)
        # It would swallow every error of a poke in two of the modes, a wrong password too, and poke on.
        self.silent_fail = False
        self.mrs_conn_id = mrs_conn_id
        self.deferrable = check_flag(deferrable, "deferrable")
        self._hook: MRSManagerHook | None = None
        self._contact: Contact | None = None
        self._last = "never polled"
        self._deadline = float("inf")

    @abstractmethod
    def trigger(self, deadline: float, not_before: float = 0.0) -> MRSTrigger:
        """Return the trigger that waits for it; in the other modes, its polls are the sensor's pokes."""

    def execute(self, context: Context) -> None:
        """
        Wait, in the mode that was asked for.

        :param context: Airflow's context.
        """
        try:
            with self._verdict():
                self._deadline = self._started(context) + self.timeout
                if not self.deferrable:
                    self._poke_to_the_end(context)
                elif not self.poke(context):
                    self._defer(context)
        finally:
            if self._hook is not None:
                self._hook.close()

    def _poke_to_the_end(self, context: Context) -> None:
        try:
            super().execute(context)
        except AirflowSkipException as skip:
            # So the base class puts what it has caught under soft_fail and never_fail, and its own time-out.
            raise skip.__cause__ or AirflowSensorTimeout from None

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """
        Ask once; through an outage of Manager, until there is an answer.

        :param context: Airflow's context.
        :return: whether the wait is over.
        :raises MRSError: when it failed, or nobody can tell.
        """
        if self._hook is None:
            self._hook = MRSManagerHook(self.mrs_conn_id)
        settings, trigger = self._hook.settings, self.trigger(self._deadline)
        if self._contact is None:  # one for all pokes: it knows what the log has been told
            name = f"{settings}: {trigger.subject}"
            self._contact = Contact(name, self.poke_interval, self._deadline, time.time())
        self._contact.now = time.time()
        poll = poll_once(self._contact, lambda contact: trigger.poll(contact, settings))
        reading = self._hook.client.run(poll, self.log)
        self._last = reading.words
        return reading.over

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """
        Go on after the wait in the triggerer. It makes no request.

        :param context: Airflow's context.
        :param event: see :class:`~airflow_mrs.triggers.base.MRSTrigger`.
        """
        with self._verdict():
            if event["status"] != "success":
                raise_from_event(event)
            self.log.info("No longer to be waited for: %s", self._name)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        """
        Resume after a deferral, also one that Airflow ended because its time was over; after an earlier try's, begin anew.

        The base class of sensors is passed over: with ``soft_fail`` it skips on every error.
        """
        if is_of_an_earlier_try(context, next_kwargs):
            self.log.info("What an earlier try waited for counts for nothing; this one begins anew")
            return self.execute(context)
        with self._verdict():
            if not deferral_timed_out(next_method, next_kwargs):
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            raise self._out_of_time("Airflow ended the wait, whose time is over")

    def on_kill(self) -> None:
        """Say that the wait is over, and what runs in Manager is not: it has no way to cancel a command."""
        self.log.warning("%s: no longer waited for. What runs in Manager goes on.", self._name)

    @property
    def _name(self) -> str:
        return f"MRS connection {self.mrs_conn_id!r}: {self.trigger(self._deadline).subject}"

    def _out_of_time(self, how: str) -> WaitTimedOut:
        return WaitTimedOut(f"{self._name}: {how}.{self.what_goes_on}")

    @contextmanager
    def _verdict(self) -> Iterator[None]:
        """Say in Airflow's terms what an error means, the same in all modes."""
        try:
            yield
        except AirflowSensorTimeout:
            self._judge(self._out_of_time(f"not over within {self.timeout:.0f} s; {self._last}"))
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

    def _defer(self, context: Context) -> NoReturn:
        note_deferral(context)
        trigger = self.trigger(self._deadline, time.time() + SHORTEST_DEFERRAL)
        trigger.task_instance_id = task_instance_id(context)
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=deferral_timeout(self._deadline),
        )
