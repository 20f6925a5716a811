"""What all tasks of a window know of it, and how they find out whether it is open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_mrs.maintenance.ledger import Ledger
from airflow_mrs.maintenance.record import NOT_MAPPED, Holder, Phase, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.hours import Hours
    from airflow_mrs.maintenance.plan import Plan
    from airflow_mrs.maintenance.summary import WindowSummary

Refusal = Literal["fail", "skip"]
IfBusy = Literal["refuse", "wait"]


class Opening(TypedDict):
    """What the task that opens a window hands to the others: the Variable with its record, and what was running."""

    ledger: str
    before: list[str]


@dataclass(frozen=True)
class Terms:
    """
    The terms of a window; see :class:`~airflow_mrs.maintenance.window.MaintenanceWindow` for all that is not here.

    :param group_id: its task group.
    :param mapped: whether that stands in a mapped one, so that the index of a task is that of its window.
    :param plan: what is stopped, in which order.
    :param hours: when it may.
    """

    group_id: str
    mapped: bool
    plan: Plan
    hours: Hours
    cutoff: timedelta | None
    cut_work: bool
    cluster_name: str | None
    on_refusal: Refusal
    if_busy: IfBusy
    settles_within: timedelta
    lapses_after: timedelta
    on_open: Callable[[Context], object] | None
    on_close: Callable[[Context, WindowSummary], object] | None

    def task_id(self, label: str) -> str:
        """
        Return the id of a task of the window.

        :param label: its name within the window.
        """
        return f"{self.group_id}.{label}"

    def holder(self, context: Context) -> Holder:
        """
        Return the window of a task's run.

        :param context: that of the task.
        """
        ti: Any = context["ti"]
        return Holder(ti.dag_id, ti.run_id, self.group_id, ti.map_index if self.mapped else NOT_MAPPED)

    def pull(self, context: Context, label: str, key: str = "return_value") -> Any:  # noqa: ANN401 - any XCom
        """
        Return what another task of the window has pushed.

        :param context: that of the task that asks.
        :param label: the other one's name within the window.
        :param key: the XCom's key.
        """
        ti: Any = context["ti"]
        return ti.xcom_pull(task_ids=self.task_id(label), key=key, map_indexes=self.holder(context).map_index)

    def opening(self, context: Context) -> Opening:
        """
        Return what the task that opened the window has handed over.

        :param context: that of any task of the window.
        :raises AirflowFailException: where it was never opened.
        """
        opening: Opening | None = self.pull(context, "open")
        if opening is None:
            raise self._not_open(context, "it was never opened")
        return opening

    def require_open(self, context: Context) -> Record:
        """
        Return the record of the window, if this run has it open for stops and for work.

        :param context: that of any task of the window.
        :raises AirflowFailException: where it has not, as when a task was cleared on its own.
        """
        record = self.require_not_closed(context)
        if record is None:
            raise self._not_open(context, "its record is gone")
        if record.phase is Phase.CLOSING:
            raise self._not_open(context, "services are being started again")
        return record

    def require_not_closed(self, context: Context) -> Record | None:
        """
        Return the record of the window, if this run still has something to bring back.

        :param context: that of any task of the window.
        :return: the record; None where somebody has deleted it, which must not keep a service down.
        :raises AirflowFailException: where the window was closed, or taken over.
        """
        record = self.require_mine(context)
        if record is not None and record.closed:
            raise self._not_open(context, "it is closed")
        return record

    def require_mine(self, context: Context) -> Record | None:
        """
        Return the record of the window, open or closed.

        :param context: that of any task of the window.
        :return: the record; None where somebody has deleted it.
        :raises AirflowFailException: where another window has taken the cluster over.
        """
        record = Ledger(self.opening(context)["ledger"]).read()
        if record is not None and record.holder != self.holder(context):
            raise self._not_open(context, f"{record.holder} holds the cluster")
        return record

    def begin_to_close(self, context: Context, record: Record) -> Record:
        """
        Note that from here on it is too late for stops and for work.

        :param context: that of any task of the window.
        :param record: the record of the window.
        :return: the record as it is now.
        """
        if record.phase is Phase.OPEN:
            record = replace(record, phase=Phase.CLOSING)
            Ledger(self.opening(context)["ledger"]).write(record)
        return record

    def refuse(self, context: Context, reason: str) -> NoReturn:
        """
        Refuse to go on, as a skip or as a failure.

        :param context: that of the task that refuses.
        :param reason: why.
        :raises AirflowSkipException: with ``on_refusal="skip"``.
        :raises AirflowFailException: else.
        """
        kind = AirflowSkipException if self.on_refusal == "skip" else AirflowFailException
        raise kind(f"{self.holder(context)}: refused, {reason}. Nothing was stopped by this task.")

    def _not_open(self, context: Context, reason: str) -> AirflowFailException:
        return AirflowFailException(
            f"This task belongs to {self.holder(context)}, which is not open: {reason}. Nothing was done. Clear the "
            "whole window, not single tasks of it."
        )
