"""The second line: a DAG of its own that brings back what a dead window has left down."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.maintenance.ledger import Ledger
from airflow_mrs.maintenance.record import Holder, Phase
from airflow_mrs.maintenance.runs import is_under_way
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.model import ServiceState
from airflow_mrs.operators.base import MRSCommandOperator
from airflow_mrs.operators.service import undertake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.record import Record
    from airflow_mrs.operators.base import Undertaking

_TASK_ID = "bring_back"
_HOLDS_FOR_SECONDS = 4 * 3600.0


class BringBack(MRSCommandOperator):
    """
    Starts again what windows have left down whose run is over, or which are overdue. It fails when it had to.

    It never touches a service that no window has stopped.
    """

    custom_operator_name = "MRSMaintenanceGuard"
    ui_color = "#7a3b69"

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the arguments of every operator
        super().__init__(deferrable=False, **kwargs)

    @property
    def subject(self) -> str:
        """What is done, in words."""
        return "bringing services back"

    def resumed(self, context: Context, event: Mapping[str, Any]) -> Undertaking:  # noqa: ARG002
        """Never needed: it does not defer."""
        raise TypeError(f"nothing was deferred that {event!r} could speak of")

    def execute(self, context: Context) -> None:
        """
        Look at the windows of all clusters.

        :param context: Airflow's context.
        :raises AirflowFailException: when services had to be started, or could not be, naming them.
        """
        reports = []
        for ledger in Ledger.all():
            try:
                reports += self._look_after(context, ledger)
            except Exception as error:  # one cluster's trouble must not keep the others down
                self.log.exception("Variable %s", ledger.name)
                reports.append(
                    f"The window in Variable {ledger.name} can't be looked after: {error} If its cluster is gone, "
                    "delete the Variable."
                )
        if reports:
            raise AirflowFailException(" ".join(reports))
        self.log.info("No window has left anything down")

    def _look_after(self, context: Context, ledger: Ledger) -> list[str]:
        record = ledger.read()
        if record is None or record.closed:
            return []
        ti: Any = context["ti"]
        me = Holder(ti.dag_id, ti.run_id, ledger.name)
        reason = self._why_dead(context, record, me)
        if reason is None:
            self.log.info("%s is under way", record.holder)
            return []
        mine = replace(
            record,
            holder=me,
            phase=Phase.CLOSING,
            lapses=time.time() + _HOLDS_FOR_SECONDS,
        )
        claimed = ledger.claim(mine, record)
        if claimed is None or claimed.holder != me:
            self.log.info("%s is taken care of by somebody else", record.holder)
            return []
        started, failed = self._bring_back(context, mine)
        if not failed:
            ledger.rewrite(replace(mine, phase=Phase.CLOSED))
        if not started and not failed:
            self.log.info("%s %s, and all is up; it is closed now", record.holder, reason)
            return []
        return [
            f"{record.holder} {reason}, and services were down: started {', '.join(started) or 'none'}"
            + (f"; NOT started: {'; '.join(failed)}." if failed else ".")
        ]

    def _why_dead(self, context: Context, record: Record, me: Holder) -> str | None:
        if record.holder == me:
            return "has brought back only a part, in a try before this one"
        if record.lapses <= time.time():
            return (
                f"should have been closed by {datetime.fromtimestamp(record.lapses, UTC):%Y-%m-%d %H:%M} UTC"
            )
        if not is_under_way(context, record.holder):
            return "is over and was not closed"
        return None

    def _bring_back(self, context: Context, record: Record) -> tuple[list[str], list[str]]:
        """Try each start, also after one that failed; return what was started and what was not, with its error."""
        started, failed = [], []
        with MRSManagerHook(record.mrs_conn_id) as hook:
            for name in record.before:
                try:
                    if hook.get_service(name, cluster_id=record.cluster_id).state is ServiceState.UP:
                        continue
                    self.log.warning("%s was running before %s, and is not", name, record.holder)
                    change = ServiceChange(
                        Action.START, name, record.cluster_id, status_property=hook.settings.status_property
                    )
                    self.carry_out(context, hook, undertake(change), time.time() + self.timeout)
                    started.append(name)
                except MRSError as error:
                    failed.append(f"{name} ({error})")
        return started, failed


def maintenance_guard_dag(
    dag_id: str = "mrs_maintenance_guard",
    *,
    schedule: Any = "*/5 * * * *",  # noqa: ANN401 - whatever a DAG takes
    default_args: dict[str, Any] | None = None,
    **kwargs: Any,  # noqa: ANN401 - the arguments of every DAG
) -> DAG:
    """
    Return a DAG that brings back what maintenance windows have left down.

    A window starts its services again by itself, whatever its tasks do. But a run can be deleted, a DAG paused or removed, a
    start marked failed by hand, or Airflow itself be gone at the wrong time. The guard knows all windows of all clusters. It
    starts again what was running before one whose run is over or which is overdue, and then fails, so that somebody hears of
    it. Deploy it once, in a file of its own:

    .. code-block:: python

        from airflow_mrs.maintenance import maintenance_guard_dag

        dag = maintenance_guard_dag()

    :param dag_id: the id of the DAG.
    :param schedule: how often it looks; every five minutes by default.
    :param default_args: arguments of its one task, such as ``on_failure_callback``.
    :param kwargs: what else a DAG takes.
    :return: the DAG. It is not paused when Airflow first sees it.
    """
    arguments: dict[str, Any] = {
        "description": "Brings back services that a maintenance window has left down",
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "is_paused_upon_creation": False,
        "tags": ["mrs"],
        **kwargs,
    }
    with DAG(
        dag_id, schedule=schedule, default_args={"retries": 0, **(default_args or {})}, **arguments
    ) as dag:
        BringBack(task_id=_TASK_ID)
    return dag
