"""The sensor that waits for a command of MRS Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_mrs.manager.arguments import check_command_id
from airflow_mrs.manager.model import NO_COMMAND
from airflow_mrs.sensors.base import MRSSensor
from airflow_mrs.templates import check_unless_template
from airflow_mrs.triggers.command import MRSCommandTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg


class MRSCommandSensor(MRSSensor):
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
    :param poke_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    """

    template_fields: Sequence[str] = ("command_id", "mrs_conn_id")
    what_goes_on = " The command goes on in Manager."

    def __init__(self, *, command_id: int | str | XComArg, **kwargs: Any) -> None:  # noqa: ANN401 - those of every sensor
        super().__init__(**kwargs)
        check_unless_template(_check, command_id)
        self.command_id = command_id

    def execute(self, context: Context) -> None:
        """
        Wait for the command, in the mode that was asked for.

        :param context: Airflow's context.
        """
        if self._there_is_none:
            self.log.info("There is no command to wait for")
        else:
            super().execute(context)

    def poke(self, context: Context) -> bool:
        """
        Ask once how far the command is; through an outage of Manager, until there is an answer.

        :param context: Airflow's context.
        :return: whether it is over.
        :raises MRSError: when it failed, or nobody can tell.
        """
        return self._there_is_none or super().poke(context)

    def trigger(self, deadline: float, not_before: float = 0.0) -> MRSCommandTrigger:
        """Return the trigger that waits for the command."""
        return MRSCommandTrigger(
            self.mrs_conn_id,
            cast("int | str", self.command_id),  # an XComArg is rendered by now
            deadline,
            poll_interval=self.poke_interval,
            not_before=not_before,
        )

    @property
    def _there_is_none(self) -> bool:
        return _is_none(self.command_id)


def _check(command_id: object) -> None:
    if not _is_none(command_id):
        check_command_id(command_id)


def _is_none(command_id: object) -> bool:
    return str(command_id).strip() == str(NO_COMMAND)
