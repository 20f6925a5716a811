"""The tasks that stop and start the services of a window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.lookup import PatientHook
from airflow_mrs.manager.arguments import check_cluster_id
from airflow_mrs.manager.model import NO_COMMAND, ServiceState
from airflow_mrs.manager.waiting import Contact, look, outlast_refusals
from airflow_mrs.notes import BEGINNING, NoteKeeper
from airflow_mrs.operators.base import MRSCommandOperator
from airflow_mrs.operators.service import MRSStartServiceOperator, MRSStopServiceOperator
from airflow_mrs.tries import is_first_try

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.terms import Standing, Terms
    from airflow_mrs.manager.settings import Settings


class _InWindow(MRSCommandOperator):
    """Stops or starts a service for a window, on the cluster on which that was opened."""

    terms: Terms
    cluster_id: int | str

    def _require_same_cluster(self, standing: Standing, settings: Settings) -> None:
        self.terms.require_same_cluster(standing, settings, check_cluster_id(self.cluster_id))

    def _note_beginning(self, context: Context) -> None:
        """
        Push when the first try began, for the summary and for what is measured. Airflow takes it away from each further one.

        Below 3.3, those don't know it: a time that is too short would let the next window stop too late.
        """
        keeper = NoteKeeper(context, self.log, BEGINNING)
        first = is_first_try(context, self.retries)
        if first:
            begun: object = time.time()
            keeper.keep({"phase": "begun", "at": int(time.time())})
        else:
            begun = (keeper.kept() or {}).get("at")
        _push(context, "begun", begun)
        _push(context, "retried", not first)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after the wait in the triggerer.

        :param context: Airflow's context.
        :param event: what the trigger says.
        """
        with no_retry_of_what_cannot_change():
            settings = PatientHook(self.mrs_conn_id).settings
        self._require_same_cluster(self.terms.standing(context), settings)
        return _ended(context, super().execute_complete(context, event))


class StopInWindow(_InWindow, MRSStopServiceOperator):
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
        standing = self.terms.require_open(context)
        record = standing.record
        if self.service_name not in record.before:
            self.log.info("%s was not running when the window was opened", self.service_name)
            return NO_COMMAND
        self._refuse_after(context, record.cutoff)
        with no_retry_of_what_cannot_change(), PatientHook(self.mrs_conn_id) as hook:
            self._require_same_cluster(standing, hook.settings)
            self._note_beginning(context)
            return _ended(context, self._move(context, hook))

    def before_sending(self, context: Context) -> None:
        """
        Look once more whether the service may be stopped: much can happen while one waits for Manager, or stands still.

        :param context: Airflow's context.
        """
        self._refuse_after(context, self.terms.require_open(context).record.cutoff)

    def _refuse_after(self, context: Context, cutoff: float | None) -> None:
        if cutoff is not None and time.time() > cutoff:
            self.terms.refuse(context, f"it is past the cutoff, so {self.service_name} is left as it is")


class StartInWindow(_InWindow, MRSStartServiceOperator):
    """Starts a service that was running when the window was opened, whatever happened in between."""

    custom_operator_name = "MRSStartServiceOperator"
    outlasts_refusals = True

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(**kwargs)
        self.terms = terms

    def execute(self, context: Context) -> int:
        """
        Start the service, unless it was down before.

        :param context: Airflow's context.
        :return: the command's id, -1 where nothing was sent.
        """
        standing = self.terms.begin_to_close(context)
        if not standing.kept:
            self.log.warning("The record of the window was gone; going by what its opening has handed over")
        if self.service_name not in standing.record.before:
            self.log.info("%s was not running when the window was opened", self.service_name)
            return NO_COMMAND
        with no_retry_of_what_cannot_change(), PatientHook(self.mrs_conn_id) as hook:
            self._require_same_cluster(standing, hook.settings)
            self._wait_for_manager(context, hook)
            self._note_beginning(context)
            return _ended(context, self._move(context, hook))

    def before_sending(self, context: Context) -> None:
        """
        Look once more whether the window still has the cluster.

        :param context: Airflow's context.
        """
        self.terms.begin_to_close(context)

    def _wait_for_manager(self, context: Context, hook: PatientHook) -> None:
        """
        Let an outage of Manager pass, or a lockout, which would use up the tries of a start.

        A service that this window has stopped and that is not down now was started by something else. A further try can't
        tell, since the first one may have.
        """
        now = time.time()
        contact = Contact(f"{hook.settings}: {self.subject}", self.poll_interval, now + self.timeout, now)
        change = self._change(self.action, hook.settings.status_property)
        looking = outlast_refusals(look(contact, change), contact.name, contact.deadline)
        service = hook.client.run(looking, self.log)
        stopped = self.terms.pull(context, f"stop_{self.service_name}", "ended") is not None
        up = service is not None and service.state in {ServiceState.UP, ServiceState.STARTING}
        started_by_others = is_first_try(context, self.retries) and stopped and up
        if started_by_others:
            self.log.warning("Something else than this window has started %s", self.service_name)
        _push(context, "started_by_others", started_by_others)


def _push(context: Context, key: str, value: object) -> None:
    ti: Any = context["ti"]
    ti.xcom_push(key=key, value=value)


def _ended(context: Context, command_id: int) -> int:
    _push(context, "ended", time.time())
    return command_id
