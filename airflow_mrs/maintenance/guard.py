"""The second line: a DAG of its own that brings back what a dead window has left down."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, BaseOperator

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.lookup import PatientHook
from airflow_mrs.maintenance.state import rejections, variables
from airflow_mrs.maintenance.state.observations import Observations
from airflow_mrs.maintenance.state.record import WindowKey, WindowRecord, new_id
from airflow_mrs.maintenance.state.runs import (
    is_alive,
    is_at_a_standstill,
    run_states,
    window_states,
)
from airflow_mrs.maintenance.state.store import PREFIX, WindowStore
from airflow_mrs.maintenance.state.variables import VariablesUnreadable
from airflow_mrs.manager.arguments import check_flag, check_seconds, check_text
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import ContactLost, InvalidArgument, LoginRefused, MRSError
from airflow_mrs.manager.model import ServiceState
from airflow_mrs.manager.sending import ask_briefly
from airflow_mrs.manager.waiting import Contact, outlast_refusals
from airflow_mrs.manager.words import listed
from airflow_mrs.operators.base import MRSCommandOperator
from airflow_mrs.operators.service import told_by, undertake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.state.runs import TaskStates
    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.operators.base import Undertaking

FIND, BRING_BACK, REPORT = "find", "bring_back", "report"
_HOLDS_FOR_SECONDS = 4 * 3600.0
_MOST_RUNS = 12
"""Runs of the guard at a time: a cluster that takes an hour keeps none of the others waiting."""

_CLOCKS_DIFFER = 3600.0
_LONGEST_WINDOW = 366 * 86_400.0


class Find(TypedDict):
    """A cluster on which a dead window may have left something down."""

    store: str
    dead: dict[str, str]


class FindDeadWindows(BaseOperator):
    """Looks for windows that were not closed and will not close by themselves, on all clusters."""

    ui_color = "#7a3b69"

    def execute(self, context: Context) -> list[Find]:
        """
        Look at the windows of all clusters.

        :param context: Airflow's context.
        :return: the clusters to look after, each with the dead windows' records and why they count as dead.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        found: list[Find] = []
        problems = self._nobodys()
        observations = Observations.read()
        for store in WindowStore.all():
            try:
                if dead := self._dead_windows(context, store, observations, problems):
                    found.append(Find(store=store.name, dead=dead))
            except VariablesUnreadable:
                raise
            except Exception as error:  # one cluster's trouble must not keep the others down
                self.log.exception("%s", store)
                problems.append(f"The windows of cluster {store} can't be looked after: {error}")
        observations.write()
        ti: Any = context["ti"]
        ti.xcom_push(key="problems", value=problems)
        return found

    def _nobodys(self) -> list[str]:
        """Name what is kept like windows and belongs to no cluster, so that nobody is looked after by it."""
        problems = []
        if strays := WindowStore.strays():
            problems.append(
                f"These Variables are named like those of maintenance windows, and belong to none: {listed(strays)}. Look "
                "whether they were some cluster's, and delete them."
            )
        if damaged := variables.damaged():
            problems.append(
                f"These Variables hold no list of the windows' Variables any more: {listed(damaged)}. So windows may be "
                "missing. Look at the clusters, start what should run, and delete them."
            )
        return problems

    def _dead_windows(
        self, context: Context, store: WindowStore, observations: Observations, problems: list[str]
    ) -> dict[str, str]:
        windows = store.read()
        windows.require_readable()
        dead = {}
        for record in windows.standing():
            states = window_states(context, record.holder)
            reason = self._why_dead(context, record, states, observations)
            self.log.info("%s: %s %s", store, record.holder, reason or "is under way")
            if reason is not None:
                dead[record.id] = reason
            elif doubt := _why_doubtful(record, states):
                problems.append(
                    f"It is not known whether {record.holder} goes on, which holds cluster {store}: {doubt}. Look at the "
                    f"cluster, start what should run, and delete Variable {store.key(record)}."
                )
        return dead

    def _why_dead(
        self, context: Context, record: WindowRecord, states: TaskStates, observations: Observations
    ) -> str | None:
        if record.lapses <= time.time():
            return (
                f"should have been closed by {datetime.fromtimestamp(record.lapses, UTC):%Y-%m-%d %H:%M} UTC"
            )
        if not is_alive(context, record):
            return "is over and was not closed"
        still = observations.still_for(record.id, states) if is_at_a_standstill(states) else 0.0
        if still >= record.still_after:
            return f"has come to a standstill {still / 60:.0f} minutes ago"
        return None


def _why_doubtful(record: WindowRecord, states: TaskStates) -> str | None:
    """Tell why a window that seems to go on may have been made up; None where nothing speaks for that."""
    now = time.time()
    if not states:
        return "its run has no such tasks"
    if record.opened > now + _CLOCKS_DIFFER:
        return "it is said to have been opened in the future"
    if max(record.lapses - now, record.still_after) > _LONGEST_WINDOW:
        return "it is said to go on for more than a year"
    return None


class BringBack(MRSCommandOperator):
    """
    Starts again what dead windows have left down on one cluster.

    It never touches a service that no window has stopped.

    :param store: the cluster.
    :param dead: the records of the dead windows, each with the reason why it counts as dead.
    """

    ui_color = "#7a3b69"

    def __init__(self, *, store: str, dead: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - the arguments of every operator
        super().__init__(**kwargs)
        self.store = store
        self.dead = dead

    @property
    def subject(self) -> str:
        """What is done, in words."""
        return f"bringing back the services of {self.store.removeprefix('mrs_window_')}"

    def execute(self, context: Context) -> str:
        """
        Take the cluster, and start its services.

        :param context: Airflow's context.
        :return: what was done, in words; empty where nothing had to be.
        """
        with _telling_the_report(context):
            record = self._claim(context)
            if record is None:
                return ""
            if record.holder != self._key(context):
                self.log.info("The cluster is taken care of by %s", record.holder)
                return ""
            with self._manager(record) as hook:
                down = tuple(dict.fromkeys((*record.down, *self._not_up(hook, record, record.before))))
            record = WindowStore(self.store).update(
                record, lambda kept: replace(kept.begin_to_close(), down=down)
            )
            return self._start(context, record, down)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:  # type: ignore[override] # a text, no id
        """
        Go on after the wait in the triggerer, with the services that are left.

        :param context: Airflow's context.
        :param event: what the trigger says.
        """
        name = event["service_name"]
        try:
            super().execute_complete(context, event)
        except (AirflowFailException, MRSError) as error:
            self._keep_error(context, name, error)
        with _telling_the_report(context):
            record = self._own(context)
            return self._start(context, record, record.down[record.down.index(name) + 1 :])

    def resumed(self, context: Context, event: Mapping[str, Any]) -> Undertaking:  # noqa: ARG002 - the event tells all
        """Return the undertaking that a trigger's event speaks of."""
        return undertake(told_by(event))

    def before_sending(self, context: Context) -> None:
        """
        Look once more whether the cluster is still the guard's.

        :param context: Airflow's context.
        """
        self._own(context)

    def _key(self, context: Context) -> WindowKey:
        ti: Any = context["ti"]
        return WindowKey(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)

    def _own(self, context: Context) -> WindowRecord:
        windows = WindowStore(self.store).read()
        record = windows.of(self._key(context))
        if record is None or record not in windows.standing():
            raise AirflowFailException(f"{self.store}: somebody else has taken the cluster over.")
        return record

    def _claim(self, context: Context) -> WindowRecord | None:
        store, me = WindowStore(self.store), self._key(context)
        windows = store.read()
        windows.require_readable()
        own = windows.of(me)
        if own is not None and own in windows.standing():
            self.log.info("Going on with what an earlier try has begun")
            return own
        dead = [record for record in windows.standing() if record.id in self.dead]
        if not dead:
            self.log.info("Somebody else has closed what was found dead")
            return None
        for record in dead:
            self._require_let_in(self._require_same_cluster(record))
        now = time.time()
        wanted = WindowRecord(
            id=new_id(),
            holder=me,
            mrs_conn_id=dead[-1].mrs_conn_id,
            cluster_id=dead[-1].cluster_id,
            before=(),
            opened=now,
            cutoff=None,
            lapses=now + _HOLDS_FOR_SECONDS,
        )
        claimed = store.claim(wanted, lambda other: self._is_alive(context, other))
        if claimed is None:
            raise AirflowException(
                f"{store}: somebody else is just claiming the cluster. The next run looks again."
            )
        if claimed.holder == me:
            # One run after the other may fail. What those before have known is in this one's record, so theirs would only
            # pile up.
            store.forget(
                record
                for record in windows.records
                if record.id in claimed.took_over
                and (record.holder.dag_id, record.holder.group_id) == (me.dag_id, me.group_id)
            )
        return claimed

    def _is_alive(self, context: Context, record: WindowRecord) -> bool:
        """
        Tell whether a window goes on; one that was found at a standstill, only if it has moved on since.

        One that does not is about to be taken over, so its record has to lead to this cluster.
        """
        if is_alive(context, record) and not (
            record.id in self.dead and is_at_a_standstill(window_states(context, record.holder))
        ):
            return True
        if record.has_the_cluster:
            self._require_same_cluster(record)
        return False

    def _require_same_cluster(self, record: WindowRecord) -> Settings:
        """Let nobody who writes a Variable lead the guard to another cluster."""
        with no_retry_of_what_cannot_change():
            settings = PatientHook(record.mrs_conn_id).settings
            leads_to = WindowStore.of(settings, record.cluster_id)
        if leads_to.name != self.store:
            raise AirflowFailException(
                f"{settings}: {record.holder} was opened on {WindowStore(self.store)}, and this connection leads to "
                f"{leads_to}. Nothing was started. Let it lead there again, or start the services by hand and delete the "
                f"window's Variable, {WindowStore(self.store).key(record)}."
            )
        return settings

    @contextmanager
    def _manager(self, record: WindowRecord) -> Iterator[PatientHook]:
        """Begin a session with the Manager of this cluster, and keep in mind for the next runs if it is not let in."""
        settings = self._require_same_cluster(record)
        self._require_let_in(settings)
        try:
            with PatientHook(record.mrs_conn_id) as hook:
                yield hook
        except LoginRefused as refusal:
            rejections.keep(self._rejection, settings, str(refusal))
            raise AirflowFailException(str(refusal)) from refusal
        else:
            rejections.forget(self._rejection)

    def _require_let_in(self, settings: Settings) -> None:
        """Spare an account whose password was rejected: each run of the guard would be one more attempt."""
        if reason := rejections.known(self._rejection, settings):
            raise AirflowFailException(
                f"{reason} So says the last try. The guard tries again when the connection has changed, or an hour after "
                f"that; at once if you delete Variable {self._rejection}."
            )

    @property
    def _rejection(self) -> str:
        return self.store.replace(PREFIX, "mrs_rejected_", 1)

    def _start(self, context: Context, record: WindowRecord, names: Sequence[str]) -> str:
        """Try each start, also after one that failed, and say what came of all."""
        with self._manager(record) as hook:
            for name in names:
                self.log.warning("%s was running before, and is not", name)
                undertaking = undertake(self._change(hook, record, name), outlasts_refusals=True)
                try:
                    self.carry_out(context, hook, undertaking, time.time() + self.timeout)
                except MRSError as error:
                    self._keep_error(context, name, error)
            failed = self._not_up(hook, record, record.down)
        errors = self._errors(context)
        if not failed:
            WindowStore(self.store).update(record, WindowRecord.close)
        why = "; ".join(self.dead.values())
        if not record.down:
            self.log.info("The window %s, and all is up; it is closed now", why)
            return ""
        started = ", ".join(name for name in record.down if name not in failed) or "none"
        not_started = "; ".join(f"{name} ({errors.get(name, words)})" for name, words in failed.items())
        text = f"{WindowStore(self.store)}: a window {why}, and services were down: started {started}"
        return f"{text}; NOT started: {not_started}." if failed else f"{text}."

    def _change(self, hook: PatientHook, record: WindowRecord, name: str) -> ServiceChange:
        return ServiceChange(
            Action.START, name, record.cluster_id, status_property=hook.settings.status_property
        )

    def _not_up(self, hook: PatientHook, record: WindowRecord, names: Iterable[str]) -> dict[str, str]:
        """
        Return those services that are not up, as far as Manager tells, each with its state in words.

        :raises LoginRefused: where Manager does not let the guard in.
        :raises ContactLost: where it has not done so all the time for which the guard waits.
        """
        not_up, now = {}, time.time()
        contact = Contact(f"{hook.settings}: {self.subject}", self.poll_interval, now + self.timeout, now)
        for name in names:
            looking = ask_briefly(contact, self._change(hook, record, name).look())
            try:
                service = hook.client.run(outlast_refusals(looking, contact.name, contact.deadline), self.log)
            except (LoginRefused, ContactLost):
                raise
            except MRSError as error:
                not_up[name] = str(error)
            else:
                if service.state is not ServiceState.UP:
                    not_up[name] = f"its state is {service.word or 'unknown'!r}"
        return not_up

    def _keep_error(self, context: Context, name: str, error: Exception) -> None:
        """Keep why a start failed, for the end, which may come after a deferral."""
        self.log.error("%s could not be started: %s", name, error)
        ti: Any = context["ti"]
        ti.xcom_push(key="errors", value={**self._errors(context), name: str(error)})

    def _errors(self, context: Context) -> dict[str, str]:
        ti: Any = context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key="errors", map_indexes=ti.map_index) or {}


@contextmanager
def _telling_the_report(context: Context) -> Iterator[None]:
    """Hand the reason of a failure on to the task that reports it."""
    try:
        yield
    except Exception as error:
        ti: Any = context["ti"]
        ti.xcom_push(key="why", value=str(error))
        raise


class Report(BaseOperator):
    """Fails when services had to be started, or could not be, or it is not known whether they had to."""

    ui_color = "#7a3b69"

    def execute(self, context: Context) -> None:
        """
        Put together what was found and done on all clusters.

        :param context: Airflow's context.
        :raises AirflowFailException: naming all of it, if it is anything.
        """
        ti: Any = context["ti"]
        states = run_states(context, WindowKey(ti.dag_id, ti.run_id, BRING_BACK))
        found: list[Find] | None = ti.xcom_pull(task_ids=FIND)
        problems: list[str] | None = ti.xcom_pull(task_ids=FIND, key="problems")
        if states.get(FIND) != "success" or found is None or problems is None:
            raise AirflowFailException(
                f"It is not known whether a window has left anything down: task {FIND!r} is {states.get(FIND)}. The next "
                "run looks again."
            )
        reports = [*problems, *(self._became(ti, states, index, find) for index, find in enumerate(found))]
        if any(reports):
            raise AirflowFailException(" ".join(filter(None, reports)))
        self.log.info("No window has left anything down")

    def _became(self, ti: Any, states: TaskStates, index: int, find: Find) -> str:  # noqa: ANN401 - of two Airflows
        """Return what became of one cluster, in words; empty where nothing had to be done."""
        state = states.get(f"{BRING_BACK}_{index}")
        report: str | None = None
        if state == "success":
            report = ti.xcom_pull(task_ids=BRING_BACK, map_indexes=index)
        if report is None:
            store = WindowStore(find["store"])
            why = ti.xcom_pull(task_ids=BRING_BACK, key="why", map_indexes=index) or "Its log says why."
            report = (
                f"The windows of cluster {store} could not be looked after: task {BRING_BACK!r} [{index}] is {state}. {why} If "
                "the cluster is gone, delete the Variables of its windows."
            )
        return report


def _check_default_args(given: object) -> None:
    """Check what nobody does at parse: Airflow makes a mapped task only when it runs."""
    if given is not None and not isinstance(given, dict):
        raise InvalidArgument(f"default_args must be a dict, such as {{'retries': 0}}, not {given!r}.")
    for argument, value in (given or {}).items():
        if argument in {"poll_interval", "timeout"}:
            check_seconds(value, argument)
        if argument == "deferrable":
            check_flag(value, argument)


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
    starts again what was running before one whose run is over, which is overdue, or which has come to a standstill, cluster
    beside cluster, and then fails, so that somebody hears of it. Deploy it once, in a file of its own:

    .. code-block:: python

        from airflow_mrs.maintenance import maintenance_guard_dag

        dag = maintenance_guard_dag()

    :param dag_id: the id of the DAG.
    :param schedule: how often it looks; every five minutes by default.
    :param default_args: arguments of its tasks, such as ``on_failure_callback``.
    :param kwargs: what else a DAG takes.
    :return: the DAG. It is not paused when Airflow first sees it.
    :raises ValueError: for an argument that can't be right.
    """
    check_text(dag_id, "dag_id", "mrs_maintenance_guard")
    _check_default_args(default_args)
    if kwargs.get("dagrun_timeout") is not None:
        raise InvalidArgument(
            "dagrun_timeout must be None: when it passes, Airflow ends the guard's tasks, and starts would go unwatched."
        )
    arguments: dict[str, Any] = {
        "description": "Brings back services that a maintenance window has left down",
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": _MOST_RUNS,
        "is_paused_upon_creation": False,
        "tags": ["mrs"],
        **kwargs,
    }
    with DAG(
        dag_id, schedule=schedule, default_args={"retries": 0, **(default_args or {})}, **arguments
    ) as dag:
        find = FindDeadWindows(task_id=FIND)
        bring_back = BringBack.partial(
            task_id=BRING_BACK, map_index_template="{{ task.store }}"
        ).expand_kwargs(find.output)
        bring_back >> Report(task_id=REPORT, trigger_rule="all_done")
    try:
        dag.timetable.validate()
    except AirflowException as error:
        raise InvalidArgument(
            f"schedule must be one that a DAG takes, such as '*/5 * * * *', not {schedule!r}: {error}"
        ) from None
    if "max_consecutive_failed_dag_runs" not in kwargs:
        # [core] may pause what fails again and again, as the guard does while a service can't be started.
        dag.max_consecutive_failed_dag_runs = 0
    return dag
