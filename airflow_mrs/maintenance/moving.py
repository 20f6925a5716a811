"""The tasks that stop and start the services of a window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.model import NO_COMMAND, ServiceState
from airflow_mrs.manager.protocol import check_cluster_id
from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.terms import Terms


class StopInWindow(MRSStopServiceOperator):
    """Stops a service that was running when the window was opened, unless it is past the cutoff."""

    custom_operator_name = "MRSStopServiceOperator"

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(**kwargs)
        self.terms = terms

    def execute(self, context: Context) -> int:
        """
        Stop the service, unless it was down before or it is too late.

        :param context: Airflow's context.
        :return: the command's id, -1 where nothing was sent.
        """
        record = self.terms.require_open(context)
        if self.service_name not in record.before:
            self.log.info("%s was not running when the window was opened", self.service_name)
            return NO_COMMAND
        if record.cutoff is not None and time.time() > record.cutoff:
            self.terms.refuse(context, f"it is past the cutoff, so {self.service_name} is left as it is")
        _push(context, "begun", time.time())
        return _ended(context, super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after the wait in the triggerer.

        :param context: Airflow's context.
        :param event: what the trigger says.
        """
        return _ended(context, super().execute_complete(context, event))


class StartInWindow(MRSStartServiceOperator):
    """Starts a service that was running when the window was opened, whatever happened in between."""

    custom_operator_name = "MRSStartServiceOperator"

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(**kwargs)
        self.terms = terms

    def execute(self, context: Context) -> int:
        """
        Start the service, unless it was down before.

        :param context: Airflow's context.
        :return: the command's id, -1 where nothing was sent.
        """
        record = self.terms.require_not_closed(context)
        if record is None:
            self.log.warning("The record of the window is gone; going by what its opening has handed over")
        else:
            self.terms.begin_to_close(context, record)
        before = self.terms.opening(context)["before"] if record is None else record.before
        if self.service_name not in before:
            self.log.info("%s was not running when the window was opened", self.service_name)
            return NO_COMMAND
        self._notice_others(context)
        _push(context, "begun", time.time())
        return _ended(context, super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after the wait in the triggerer.

        :param context: Airflow's context.
        :param event: what the trigger says.
        """
        return _ended(context, super().execute_complete(context, event))

    def _notice_others(self, context: Context) -> None:
        """Say so where this window has stopped the service, and yet it is not down. A further try can't tell."""
        ti: Any = context["ti"]
        if ti.try_number > 1 or self.terms.pull(context, f"stop_{self.service_name}", "ended") is None:
            return
        try:
            with MRSManagerHook(self.mrs_conn_id) as hook:
                service = hook.get_service(self.service_name, cluster_id=check_cluster_id(self.cluster_id))
        except MRSError:
            return  # the start itself says what is wrong
        if service.state in {ServiceState.UP, ServiceState.STARTING}:
            self.log.warning("Something else than this window has started %s", self.service_name)
            _push(context, "started_by_others", value=True)


def _push(context: Context, key: str, value: object) -> None:
    ti: Any = context["ti"]
    ti.xcom_push(key=key, value=value)


def _ended(context: Context, command_id: int) -> int:
    _push(context, "ended", time.time())
    return command_id
