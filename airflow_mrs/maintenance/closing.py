"""The tasks that end a window: one says what became of it, the other gives the run its colour."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.lookup import PatientHook
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.maintenance.hooks import best_effort
from airflow_mrs.maintenance.state.record import WindowRecord
from airflow_mrs.maintenance.state.runs import is_over, window_states
from airflow_mrs.maintenance.state.store import RecordUnreadable
from airflow_mrs.maintenance.state.variables import VariablesUnreadable
from airflow_mrs.manager import protocol
from airflow_mrs.manager.arguments import check_cluster_id, check_text
from airflow_mrs.manager.errors import RequestRefused
from airflow_mrs.manager.model import NO_COMMAND, ClusterHealth, Service, ServiceState
from airflow_mrs.manager.waiting import LONGEST_LOCKOUT, Contact, outlast_refusals
from airflow_mrs.templates import RendersTexts, check_unless_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.state.store import WindowStore
    from airflow_mrs.maintenance.summary import ServiceSummary, WindowSummary
    from airflow_mrs.maintenance.terms import Standing, Terms
    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.steps import Procedure

_GOOD_STATES = {"success", "skipped", "removed"}


class CloseWindow(RendersTexts, BaseOperator):
    """
    Checks that everything is as before, releases the cluster, and returns the summary.

    It does not fail for what is not as before: that is the verdict's, so that whoever reports the summary comes first.
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
        super().__init__(**kwargs)
        check_unless_template(check_text, mrs_conn_id, "mrs_conn_id", MRSManagerHook.default_conn_name)
        check_unless_template(check_cluster_id, cluster_id)
        self.terms = terms
        self.mrs_conn_id = mrs_conn_id
        self.cluster_id = cluster_id

    def execute(self, context: Context) -> WindowSummary:
        """
        Close the window.

        :param context: Airflow's context.
        :return: the summary.
        """
        standing = self.terms.standing(context)
        if not standing.record.closed:  # by an earlier try
            standing = self.terms.begin_to_close(context)
        store, record = standing.store, standing.record
        with no_retry_of_what_cannot_change(), PatientHook(self.mrs_conn_id) as hook:
            self.terms.require_same_cluster(standing, hook.settings, check_cluster_id(self.cluster_id))
            now = time.time()
            name = f"{hook.settings}: closing {record.holder}"
            deadline = now + self.terms.settles_within.total_seconds()
            settling = _settle(Contact(name, 5.0, deadline, now), self._looks(hook, record), record)
            services, health = hook.client.run(
                outlast_refusals(settling, name, max(deadline, now + LONGEST_LOCKOUT)), self.log
            )
        summary = self._summarise(context, standing, services, health)
        self._remember_durations(context, store)
        if all(_is_up(services, name) for name in record.before):
            store.update(record, WindowRecord.close)
        else:
            self.log.error("The window stays open, since not all services are back")
        best_effort(self.log, self.terms.on_close, context, summary)
        return summary

    def _looks(self, hook: MRSManagerHook, record: WindowRecord) -> list[Call[Service]]:
        """Return the looks at all services that the window has found, and at those that a dead one has left down."""
        return [
            protocol.get_service(
                name, cluster_id=record.cluster_id, status_property=hook.settings.status_property
            )
            for name in dict.fromkeys((*record.before, *record.down))
        ]

    def _summarise(
        self, context: Context, standing: Standing, services: dict[str, Service], health: ClusterHealth
    ) -> WindowSummary:
        record, other = standing.record, standing.in_its_place
        entries = [self._summarise_service(context, record, service) for service in services.values()]
        return {
            "window": str(record.holder),
            "opened": record.opened,
            "closed": time.time(),
            "health": str(health),
            "services": entries,
            "differences": [
                *(line for entry in entries for line in _differences(entry, services[entry["service"]])),
                *(f"{name} was running and can't be found" for name in record.before if name not in services),
                *([] if other is None else [f"{other.holder} had taken the cluster over"]),
                *(
                    []
                    if health is ClusterHealth.GOOD
                    else [f"the health of the cluster is {health}, not GOOD"]
                ),
            ],
        }

    def _summarise_service(self, context: Context, record: WindowRecord, service: Service) -> ServiceSummary:
        def pull(label: str, key: str = "return_value") -> Any:  # noqa: ANN401 - any XCom
            return self.terms.pull(context, f"{label}_{service.name}", key)

        stopped, started = pull("stop", "begun"), pull("start", "ended")
        return {
            "service": service.name,
            "before": "running" if service.name in record.before else "not running",
            "after": service.word or "unknown",
            "stopped": stopped,
            "started": started,
            "stop_command": pull("stop"),
            "start_command": pull("start"),
            "downtime": None if stopped is None or started is None else started - stopped,
            "started_by_others": bool(pull("start", "started_by_others")),
        }

    def _remember_durations(self, context: Context, store: WindowStore) -> None:
        """
        Keep how long stops and starts took that came to their end at their first try. The window does not depend on it.

        What had to be retried says how long a failure took.
        """
        try:
            durations = store.read_durations()
            for service in self.terms.plan.stops:
                for action in ("stop", "start"):
                    label = f"{action}_{service}"
                    begun, ended, retried = (
                        self.terms.pull(context, label, key) for key in ("begun", "ended", "retried")
                    )
                    sent = self.terms.pull(context, label) not in {None, NO_COMMAND}
                    if sent and not retried and None not in {begun, ended}:
                        durations.setdefault(service, {})[action] = ended - begun
            store.write_durations(durations)
        except (RecordUnreadable, VariablesUnreadable) as error:
            self.log.warning("How long stops and starts took is not kept: %s", error)


class Verdict(BaseOperator):
    """Fails unless everything went well: the run has the colour of its window."""

    ui_color = "#d9e2ec"

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(**kwargs)
        self.terms = terms

    def execute(self, context: Context) -> None:
        """
        Look at all tasks of the window and at its summary.

        :param context: Airflow's context.
        :raises AirflowFailException: naming everything that went wrong.
        """
        holder = self.terms.holder(context)
        states = window_states(context, holder)
        aside = {self.task_id, self.terms.task_id("outcome")}
        if self.terms.cut_work:
            aside.add(self.terms.task_id("end_of_work"))
        wrong = [
            f"{task_id} is {state}" if is_over(state) else f"{task_id} was cut: it is {state or 'not begun'}"
            for task_id, state in sorted(states.items(), key=itemgetter(0))
            if state not in _GOOD_STATES and task_id not in aside
        ]
        summary: WindowSummary | None = self.terms.pull(context, "close")
        if summary is None and states.get(self.terms.task_id("close")) == "success":
            raise AirflowException(f"{holder}: the summary that its close task has returned can't be read.")
        wrong += ["there is no summary"] if summary is None else summary["differences"]
        if wrong:
            raise AirflowFailException(f"{holder} did not go well: {'; '.join(wrong)}")
        self.log.info("%s went well", holder)


class Outcome(BaseOperator):
    """
    Fails if the verdict did.

    Airflow colours a run by its last tasks. Where others follow the verdict, this one stands beside them.
    """

    ui_color = "#d9e2ec"

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(**kwargs)
        self.terms = terms

    def execute(self, context: Context) -> None:
        """
        Look at the verdict.

        :param context: Airflow's context.
        :raises AirflowFailException: if it is no good one.
        """
        holder = self.terms.holder(context)
        state = window_states(context, holder).get(self.terms.task_id("verdict"))
        if state not in _GOOD_STATES:
            raise AirflowFailException(f"{holder} did not go well: its verdict is {state}")


def _settle(
    contact: Contact, looks: list[Call[Service]], record: WindowRecord
) -> Procedure[tuple[dict[str, Service], ClusterHealth]]:
    """
    Look until all is as before, or can't become so any more, or the time is over.

    :return: what was seen last.
    """
    while True:
        services = {}
        for call in looks:
            try:
                service = yield from contact.ask(call)
            except RequestRefused:
                continue
            services[service.name] = service
        health = yield from contact.ask(protocol.get_cluster_health(record.cluster_id))
        as_before = health is ClusterHealth.GOOD and all(_is_up(services, name) for name in record.before)
        hopeless = any(
            services[name].state is ServiceState.DOWN for name in record.before if name in services
        )
        if as_before or hopeless or contact.time_is_over:
            return services, health
        yield from contact.pause()


def _differences(entry: ServiceSummary, service: Service) -> list[str]:
    up, name = service.state is ServiceState.UP, entry["service"]
    differences = []
    if entry["before"] == "running" and not up:
        differences.append(f"{name} was running and is {entry['after']}")
    if entry["before"] != "running" and up:
        differences.append(f"{name} was not running and is {entry['after']}")
    if entry["started_by_others"]:
        differences.append(f"{name} was started by something else while the window was open")
    return differences


def _is_up(services: dict[str, Service], name: str) -> bool:
    return name in services and services[name].state is ServiceState.UP
