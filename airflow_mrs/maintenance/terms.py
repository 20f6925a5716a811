"""What all tasks of a window know of it, and how they find out whether it is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypedDict

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

from airflow_mrs.maintenance.state import variables
from airflow_mrs.maintenance.state.record import NOT_MAPPED, Phase, WindowKey, WindowRecord
from airflow_mrs.maintenance.state.runs import is_alive
from airflow_mrs.maintenance.state.store import WindowStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.hours import Hours
    from airflow_mrs.maintenance.plan import Plan
    from airflow_mrs.maintenance.summary import WindowSummary
    from airflow_mrs.manager.settings import Settings

Refusal = Literal["fail", "skip"]
IfBusy = Literal["refuse", "wait"]


class Opening(TypedDict):
    """What the task that opens a window hands to the others: its cluster's store, and its record as it was then."""

    store: str
    record: dict[str, Any]


class Standing(NamedTuple):
    """
    How things stand with a window.

    :param store: the windows of its cluster.
    :param record: what is known of it.
    :param kept: whether that is what the store keeps; False where somebody has deleted or edited the Variable, so that
        this is what the opening has handed over.
    :param in_its_place: the record of the window that has taken the cluster over; None where none has.
    """

    store: WindowStore
    record: WindowRecord
    kept: bool
    in_its_place: WindowRecord | None


class ClusterChanged(AirflowException):
    """The connection of a window leads to another cluster than when the window was opened."""


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

    def holder(self, context: Context) -> WindowKey:
        """
        Return the window of a task's run.

        :param context: that of the task.
        """
        ti: Any = context["ti"]
        return WindowKey(ti.dag_id, ti.run_id, self.group_id, ti.map_index if self.mapped else NOT_MAPPED)

    def pull(self, context: Context, label: str, key: str = "return_value") -> Any:  # noqa: ANN401 - any XCom
        """
        Return what another task of the window has pushed.

        :param context: that of the task that asks.
        :param label: the other one's name within the window.
        :param key: the XCom's key.
        """
        ti: Any = context["ti"]
        return ti.xcom_pull(task_ids=self.task_id(label), key=key, map_indexes=self.holder(context).map_index)

    def standing(self, context: Context) -> Standing:
        """
        Return how things stand with the window.

        What its opening has handed over tells which cluster it has. Where that is gone, the store that knows of the window
        does. Where both are gone, it was never opened.

        :param context: that of any task of the window.
        :raises AirflowFailException: where it was never opened.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        holder = self.holder(context)
        handed_over = self._handed_over(context)
        store = WindowStore.find(holder) if handed_over is None else handed_over[0]
        if store is None:
            handed_over = self._handed_over(context)  # Airflow answers now, which it perhaps did not
            if handed_over is None:
                raise self._not_open(context, "it was never opened")
            store = handed_over[0]
        windows = store.read()
        record, kept = windows.of(holder), True
        if record is None:
            if handed_over is None:
                raise self._not_open(context, "it was never opened")
            record, kept = handed_over[1], False
        if handed_over is not None and handed_over[1].id == record.id:
            record = record.and_also(handed_over[1])  # from one of which somebody may have taken a service
        variables.enlist(store.key(record))
        return Standing(store, record, kept, windows.successor(record))

    def cutoff_at_opening(self, context: Context) -> float | None:
        """
        Return the cutoff as the opening has handed it over; None where that is gone, or there is none.

        :param context: that of any task of the window.
        """
        handed_over = self._handed_over(context)
        return None if handed_over is None else handed_over[1].cutoff

    def _handed_over(self, context: Context) -> tuple[WindowStore, WindowRecord] | None:
        """Return what the opening has handed over; None where that is gone, or of a form that is not ours."""
        opening = self.pull(context, "open")
        try:
            store, record = WindowStore(opening["store"]), WindowRecord.from_dict(opening["record"])
            store.require_own(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return store, record

    def require_open(self, context: Context) -> Standing:
        """
        Return how things stand with the window, if it is open for stops and for work.

        :param context: that of any task of the window.
        :raises AirflowFailException: where it is not, as when a task was cleared on its own.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        standing = self.standing(context)
        if not standing.kept:
            raise self._not_open(context, "its record is gone")
        if standing.in_its_place is not None:
            raise self._not_open(context, f"{standing.in_its_place.holder} has taken the cluster over")
        if standing.record.phase is not Phase.OPEN:
            reason = "it is closed" if standing.record.closed else "services are being started again"
            raise self._not_open(context, reason)
        return standing

    def begin_to_close(self, context: Context) -> Standing:
        """
        Note that from here on it is too late for stops and for work, and return how things stand.

        A record that is gone is kept anew: it says what is down, for the guard too.

        :param context: that of any task of the window.
        :raises AirflowFailException: where the window is closed, or another one has the cluster, which then brings back
            what this one has stopped, or leaves it to the guard.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        standing = self.standing(context)
        if standing.record.closed:
            raise self._not_open(context, "it is closed")
        if standing.kept:
            record = standing.store.update(
                standing.record, lambda kept: kept.begin_to_close().and_also(standing.record)
            )
        else:
            record = standing.record.begin_to_close()
            standing.store.write(record)
        for other in standing.store.read().standing():
            if other.holder != record.holder and is_alive(context, other):
                raise self._not_open(context, f"{other.holder} holds the cluster")
        return standing._replace(record=record)

    def require_same_cluster(self, standing: Standing, settings: Settings, cluster_id: int) -> None:
        """
        Refuse to act on another cluster than that of the window, should somebody have changed the connection.

        :param standing: how things stand with the window.
        :param settings: those of the connection.
        :param cluster_id: the cluster.
        :raises ClusterChanged: where they lead to another cluster.
        """
        now = WindowStore.of(settings, cluster_id)
        if now != standing.store:
            raise ClusterChanged(
                f"{settings}: {standing.record.holder} was opened on another cluster than this connection now leads to "
                f"({standing.store}, not {now}). Nothing was done. Let the connection lead to the first one again, then "
                "clear this task."
            )

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
