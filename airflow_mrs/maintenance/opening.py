"""The task that opens a window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator, PokeReturnValue

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.maintenance.dag_checks import why_unfit
from airflow_mrs.maintenance.hooks import best_effort
from airflow_mrs.maintenance.state.record import Phase, WindowRecord, new_id
from airflow_mrs.maintenance.state.runs import is_alive
from airflow_mrs.maintenance.state.store import RecordUnreadable, WindowStore
from airflow_mrs.maintenance.stillness import longest_stillness
from airflow_mrs.maintenance.terms import Opening
from airflow_mrs.manager.arguments import check_cluster_id, check_text
from airflow_mrs.manager.errors import RequestRefused
from airflow_mrs.manager.model import ClusterHealth, ServiceState
from airflow_mrs.manager.words import listed
from airflow_mrs.templates import RendersTexts, check_unless_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.plan import Plan
    from airflow_mrs.maintenance.state.store import ClusterWindows
    from airflow_mrs.maintenance.terms import Terms
    from airflow_mrs.manager.model import Service

POKE_SECONDS = 30.0
"""How long to wait before looking again, where services are on their way or another window is to be waited for."""


class OpenWindow(RendersTexts, BaseSensorOperator):
    """
    Checks the cluster, takes it for this window, and remembers what is running.

    A window that is cleared and run again keeps what it remembered at first. It hands an
    :class:`~airflow_mrs.maintenance.terms.Opening` to the other tasks.
    """

    template_fields: Sequence[str] = ("mrs_conn_id", "cluster_id")
    ui_color = "#d9e2ec"

    def __init__(
        self,
        *,
        terms: Terms,
        mrs_conn_id: str = MRSManagerHook.default_conn_name,
        cluster_id: int | str = 1,
        **kwargs: Any,  # noqa: ANN401 - those of the base class
    ) -> None:
        super().__init__(
            mode="reschedule",
            poke_interval=POKE_SECONDS,
            timeout=terms.lapses_after.total_seconds(),
            soft_fail=False,
            never_fail=False,
            silent_fail=False,
            **kwargs,
        )
        check_unless_template(check_text, mrs_conn_id, "mrs_conn_id", MRSManagerHook.default_conn_name)
        check_unless_template(check_cluster_id, cluster_id)
        self.terms = terms
        self.mrs_conn_id = mrs_conn_id
        self.cluster_id = cluster_id

    def resolve_template_files(self) -> None:
        """
        Look at the DAG: Airflow calls this when it has read all of its file, and before policies.

        :raises ValueError: where the DAG might leave services down.
        """
        super().resolve_template_files()
        if reason := why_unfit(self.dag, self.terms):
            raise ValueError(reason)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look at the DAG again, as policies have made it, and open the window, if it can be opened now.

        :param context: Airflow's context.
        :return: whether it is open; False where services are on their way, or another window is to be waited for.
        :raises AirflowFailException: where the DAG might leave services down.
        """
        if reason := why_unfit(self.dag, self.terms, context.get("logical_date")):
            raise AirflowFailException(f"{reason} Nothing was stopped.")
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            store = WindowStore.of(hook.settings, check_cluster_id(self.cluster_id))
            windows = store.read()
            windows.require_readable()
            wanted = self._wanted(context, hook, store, windows)
            record = None if wanted is None else store.claim(wanted, partial(is_alive, context))
        if record is None:
            self.log.info("Looking again in %.0f s", self.poke_interval)
            return False
        if record.holder != self.terms.holder(context):
            self._refuse_or_wait(context, record, store)
            return False
        self.log.info(
            "%s is open. To be brought back: %s", record.holder, ", ".join(record.before) or "nothing"
        )
        best_effort(self.log, self.terms.on_open, context)
        return PokeReturnValue(is_done=True, xcom_value=Opening(store=store.name, record=record.to_dict()))

    def _wanted(
        self, context: Context, hook: MRSManagerHook, store: WindowStore, windows: ClusterWindows
    ) -> WindowRecord | None:
        """Return the record with which the cluster is to be claimed; None where it is to be tried later."""
        own = windows.of(self.terms.holder(context))
        if own is not None and own in windows.standing():
            return self._anew(own, self._plan(store))
        for other in windows.standing():
            if is_alive(context, other):
                self._refuse_or_wait(context, other, store)
                return None
        return self._afresh(context, hook, self._plan(store), windows.standing())

    def _anew(self, own: WindowRecord, plan: Plan) -> WindowRecord:
        """Begin anew with what was running at first. Too late for stops, it still brings everything back."""
        now = datetime.now(UTC)
        record = replace(own, id=new_id(), phase=Phase.CLAIMING, took_over=())
        if self._why_not_now(now, plan) is None:
            record = replace(record, cutoff=self._cutoff_after(now, plan), lapses=self._lapses(now, plan))
        return record

    def _afresh(
        self, context: Context, hook: MRSManagerHook, plan: Plan, dead: list[WindowRecord]
    ) -> WindowRecord | None:
        now = datetime.now(UTC)
        if reason := self._why_not_now(now, plan):
            self.terms.refuse(context, reason)
        services = self._look(context, hook)
        if moving := [name for name, service in services.items() if not service.state.settled]:
            self.log.info("On their way, to be settled first: %s", ", ".join(moving))
            return None
        self._check_cluster(context, hook)
        if not dead:
            self._check_health(context, hook)
        for other in dead:
            self.log.warning(
                "%s is over and was never closed; what it left down is brought back", other.holder
            )
        self.log.info("%s", plan)
        return WindowRecord(
            id=new_id(),
            holder=self.terms.holder(context),
            mrs_conn_id=self.mrs_conn_id,
            cluster_id=check_cluster_id(self.cluster_id),
            before=tuple(name for name, service in services.items() if service.state is ServiceState.UP),
            down=tuple(name for name, service in services.items() if service.state is not ServiceState.UP),
            opened=now.timestamp(),
            cutoff=self._cutoff_after(now, plan),
            lapses=self._lapses(now, plan),
            still_after=longest_stillness(self.dag, self.terms.group_id),
        )

    def _plan(self, store: WindowStore) -> Plan:
        try:
            measured = store.read_durations()
        except RecordUnreadable as error:
            self.log.warning("%s Going by the vendor's figures", error)
            measured = {}
        return replace(self.terms.plan, measured=measured)

    def _why_not_now(self, now: datetime, plan: Plan) -> str | None:
        """Say why the window can't open at this moment; None where it can."""
        hours = self.terms.hours
        end = hours.end_after(now)
        if end is None:
            return None
        opening = hours.opening_before(end)
        if now < opening:
            return f"it is {hours.clock(now)}, and the window is open from {hours.clock(opening)} to {hours.clock(end)}"
        if now + plan.way_down >= end - self._cutoff(plan):
            return (
                f"it is {hours.clock(now)}, and the window ends at {hours.clock(end)}: too late to stop everything by "
                f"{hours.clock(end - self._cutoff(plan))}"
            )
        return None

    def _cutoff(self, plan: Plan) -> timedelta:
        return plan.way_up if self.terms.cutoff is None else self.terms.cutoff

    def _cutoff_after(self, now: datetime, plan: Plan) -> float | None:
        """Return until when services may be stopped."""
        end = self.terms.hours.end_after(now)
        return None if end is None else (end - self._cutoff(plan)).timestamp()

    def _lapses(self, now: datetime, plan: Plan) -> float:
        """Return when the window counts as dead."""
        end = self.terms.hours.end_after(now)
        lapses = now + self.terms.lapses_after
        if end is not None and self.terms.cut_work:
            lapses = end + plan.way_up + self.terms.settles_within
        return lapses.timestamp()

    def _look(self, context: Context, hook: MRSManagerHook) -> dict[str, Service]:
        """Return the services that the cluster has, in the order in which they are started."""
        services = {}
        for name in self.terms.plan.starts:
            try:
                service = hook.get_service(name, cluster_id=check_cluster_id(self.cluster_id))
            except RequestRefused as error:
                if name in self.terms.plan.taken_along:
                    self.log.info("%s, which would be taken along, is not there: %s", name, error)
                    continue
                self.terms.refuse(context, f"the cluster does not show {name}: {error}")
            if service.state is ServiceState.UNKNOWN:
                self.terms.refuse(context, f"the state of {name} is {service.word or 'missing'!r}")
            services[name] = service
        return services

    def _check_cluster(self, context: Context, hook: MRSManagerHook) -> None:
        cluster_id = check_cluster_id(self.cluster_id)
        clusters = {cluster.id: cluster for cluster in hook.list_clusters()}
        cluster = clusters.get(cluster_id)
        if cluster is None:
            known = listed([f"{other.id} ({other.name})" for other in clusters.values()])
            self.terms.refuse(context, f"there is no cluster {cluster_id}, only {known or 'none'}")
        if self.terms.cluster_name not in {None, cluster.name}:
            self.terms.refuse(
                context, f"cluster {cluster.id} is {cluster.name!r}, not {self.terms.cluster_name!r}"
            )
        if cluster.installing_patch:
            self.terms.refuse(context, f"a patch is being installed on {cluster.name!r}")

    def _check_health(self, context: Context, hook: MRSManagerHook) -> None:
        health = hook.get_cluster_health(check_cluster_id(self.cluster_id))
        if health is not ClusterHealth.GOOD:
            self.terms.refuse(context, f"the health of the cluster is {health}, not GOOD")

    def _refuse_or_wait(self, context: Context, held: WindowRecord, store: WindowStore) -> None:
        lapses = datetime.fromtimestamp(held.lapses, UTC)
        reason = f"{held.holder} holds the cluster until it is closed, or until {lapses:%Y-%m-%d %H:%M} UTC"
        if self.terms.if_busy == "refuse":
            self.terms.refuse(context, f"{reason} (Variable {store.key(held)})")
        self.log.info("Waiting: %s", reason)
