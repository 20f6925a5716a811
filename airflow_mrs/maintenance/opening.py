"""The task that opens a window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.maintenance.hooks import best_effort
from airflow_mrs.maintenance.ledger import Ledger
from airflow_mrs.maintenance.record import Phase, Record
from airflow_mrs.maintenance.runs import is_under_way
from airflow_mrs.maintenance.terms import Opening
from airflow_mrs.manager.errors import RequestRefused
from airflow_mrs.manager.model import ClusterHealth, ServiceState
from airflow_mrs.manager.protocol import check_cluster_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.plan import Plan
    from airflow_mrs.maintenance.terms import Terms
    from airflow_mrs.manager.model import Service

POKE_SECONDS = 30.0
"""How long to wait before looking again, where services are on their way or another window is to be waited for."""


class OpenWindow(BaseSensorOperator):
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
        self.terms = terms
        self.mrs_conn_id = mrs_conn_id
        self.cluster_id = cluster_id

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Open the window, if it can be opened now.

        :param context: Airflow's context.
        :return: whether it is open; False where services are on their way, or another window is to be waited for.
        """
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            ledger = Ledger.of(hook.settings, check_cluster_id(self.cluster_id))
            held = ledger.read()
            if held is None or held.closed:
                record = self._open(context, hook, ledger, dead=None)
            elif held.holder == self.terms.holder(context):
                record = self._reopen(held, ledger)
            elif self._is_dead(context, held):
                record = self._open(context, hook, ledger, dead=held)
            else:
                self._refuse_or_wait(context, held, ledger)
                record = None
        if record is None:
            return False
        self.log.info("To be brought back: %s", ", ".join(record.before) or "nothing")
        best_effort(self.log, self.terms.on_open, context)
        return PokeReturnValue(is_done=True, xcom_value=Opening(ledger=ledger.name, before=[*record.before]))

    def _reopen(self, held: Record, ledger: Ledger) -> Record:
        """Begin anew with what was running at first. Too late for stops, it still brings everything back."""
        now = datetime.now(UTC)
        plan = self._plan(ledger)
        record = replace(held, phase=Phase.OPEN)
        if self._why_not_now(now, plan) is None:
            record = replace(record, cutoff=self._cutoff_after(now, plan), lapses=self._lapses(now, plan))
        ledger.write(record)
        self.log.info("%s is open again", record.holder)
        return record

    def _open(
        self, context: Context, hook: MRSManagerHook, ledger: Ledger, dead: Record | None
    ) -> Record | None:
        plan, now = self._plan(ledger), datetime.now(UTC)
        if reason := self._why_not_now(now, plan):
            self.terms.refuse(context, reason)
        services = self._look(context, hook)
        if moving := [name for name, service in services.items() if not service.state.settled]:
            self.log.info("On their way, to be settled first: %s", ", ".join(moving))
            return None
        self._check_cluster(context, hook)
        if dead is None:
            self._check_health(context, hook)
        else:
            self.log.warning(
                "%s is over and was never closed; what it left down is brought back", dead.holder
            )
        holder = self.terms.holder(context)
        wanted = Record(
            holder=holder,
            mrs_conn_id=self.mrs_conn_id,
            cluster_id=check_cluster_id(self.cluster_id),
            before=tuple(name for name, service in services.items() if service.state is ServiceState.UP),
            opened=now.timestamp(),
            cutoff=self._cutoff_after(now, plan),
            lapses=self._lapses(now, plan),
        )
        record = ledger.claim(wanted, dead)
        if record is None:
            self.log.info("Somebody else is just claiming the cluster")
            return None
        if record.holder != holder:
            self._refuse_or_wait(context, record, ledger)
            return None
        self.log.info("%s is open.\n%s", holder, plan)
        return record

    def _plan(self, ledger: Ledger) -> Plan:
        return replace(self.terms.plan, measured=ledger.read_durations())

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
            known = ", ".join(f"{other.id} ({other.name})" for other in clusters.values())
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

    def _is_dead(self, context: Context, held: Record) -> bool:
        return held.lapses <= datetime.now(UTC).timestamp() or not is_under_way(context, held.holder)

    def _refuse_or_wait(self, context: Context, held: Record, ledger: Ledger) -> None:
        lapses = datetime.fromtimestamp(held.lapses, UTC)
        reason = f"{held.holder} holds the cluster until it is closed, or until {lapses:%Y-%m-%d %H:%M} UTC"
        if self.terms.if_busy == "refuse":
            self.terms.refuse(context, f"{reason} (Variable {ledger.name})")
        self.log.info("Waiting: %s", reason)
