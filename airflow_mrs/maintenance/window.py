"""A maintenance window as one block of a DAG."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, get_args

from airflow.providers.common.compat.sdk import TaskGroup, TriggerRule

from airflow_mrs.maintenance.admission import Admission
from airflow_mrs.maintenance.closing import CloseWindow, Outcome, Verdict
from airflow_mrs.maintenance.dag_checks import why_it_freezes
from airflow_mrs.maintenance.hooks import check_hook
from airflow_mrs.maintenance.hours import Hours
from airflow_mrs.maintenance.joint import Joint
from airflow_mrs.maintenance.moving import StartInWindow, StopInWindow
from airflow_mrs.maintenance.opening import OpenWindow
from airflow_mrs.maintenance.plan import make_plan
from airflow_mrs.maintenance.terms import IfBusy, Refusal, Terms
from airflow_mrs.maintenance.until_cutoff import UntilCutoff
from airflow_mrs.manager.arguments import check_choice, check_flag, check_seconds, check_text
from airflow_mrs.manager.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import (
        BaseOperator,
        Context,
        EdgeModifier,
        MappedOperator,
    )
    from airflow.sdk.definitions._internal.mixins import DependencyMixin
    from airflow.sdk.definitions._internal.node import DAGNode

    from airflow_mrs.maintenance.plan import Plan
    from airflow_mrs.maintenance.summary import WindowSummary

    AnyOperator = BaseOperator | MappedOperator

# A default of the author's for all tasks must not keep a start from coming.
_NEVER_INHERITED: dict[str, Any] = {
    "trigger_rule": "all_success",
    "execution_timeout": None,
    "depends_on_past": False,
    "wait_for_downstream": False,
    "do_xcom_push": True,
    "multiple_outputs": False,
    "pre_execute": None,
    "post_execute": None,
}
_LONGEST = timedelta(days=366)
_TRIES_UNTIL_CUTOFF = (
    10  # it does nothing but look, and services come back under the work's hands when it is given up
)
_UNLESS_GIVEN: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=30)}


class MaintenanceWindow(TaskGroup):
    """
    A task group around the work of a maintenance window. What is defined inside it is the work.

    It checks the cluster and takes it for itself, stops the services, lets the work run, starts again what was running
    before, however all that went, checks again, and fails the run unless everything went well. Only services that were
    running are stopped and started.

    .. code-block:: python

        with maintenance_window(["Hive", "HBase"], ends="02:30", timezone="Europe/Berlin") as window:
            back_up()
        report(window.summary)

    :param services: the services to stop.
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. By default as ``default_args`` say, else ``mrs_default``.
        (templated)
    :param cluster_id: the cluster. By default as ``default_args`` say, else 1. (templated)
    :param cluster_name: the name that the cluster must have; any, where None.
    :param ends: the time of day at which everything is to be up again, such as ``02:30``; no end, where None.
    :param opens: the time of day from which the window may open; by default six hours before its end.
    :param timezone: whose time that is.
    :param cutoff: how long before the end the last service may be stopped, as seconds or a timedelta; by default as long
        as the starts take.
    :param cut_work: whether the work, too, ends at the cutoff. By default it goes on. Starts are never cut.
    :param needs: what services need to run, in place of the built-in table's rows for them: for services that were
        renamed or added. A service is stopped before what it needs, and started after it.
    :param keep_order: whether to stop the services in the order in which they are given, whatever needs what.
    :param with_dependents: whether to take along every service that needs one of the given ones.
    :param side_by_side: whether services that don't need each other are stopped and started at a time. By default it is
        one command after the other: what Manager does with several is not documented.
    :param on_refusal: whether a window that can't be opened, or a stop after the cutoff, fails or is skipped.
    :param if_busy: whether a window refuses to open, or waits, while another one holds the cluster.
    :param settles_within: how long the cluster may take after the starts until its health is GOOD, as seconds or a
        timedelta; by default ten minutes.
    :param lapses_after: when a window that was never closed counts as dead, from its opening on, so that another one
        may take the cluster over, or the guard bring it back; as seconds or a timedelta, by default twelve hours. With
        ``cut_work`` it is at the end of the window.
    :param on_open: called with Airflow's context when the window is open, before the first stop, for instance to silence
        alerts. It may be called again, by a retry. If it fails, the window goes on.
    :param on_close: called with Airflow's context and the summary when the services have been started again. If it
        fails, the window goes on.
    :param deferrable: whether to wait for commands in the triggerer instead of a worker. By default as ``default_args``
        say, else as ``[operators] default_deferrable`` does.
    :param poll_interval: seconds between two polls of a command, or a timedelta. By default as ``default_args`` say, else 5.
    :param timeout: seconds for the wait for one command, or a timedelta, whatever ``default_args`` say.
    :param group_id: the id of the task group.
    :param kwargs: what else a task group takes.
    :raises ValueError: for an argument that can't be right, when the DAG is parsed: it is named, and a right one shown.
    """

    def __init__(  # noqa: PLR0913 - each with a default
        self,
        services: Sequence[str],
        *,
        mrs_conn_id: str | None = None,
        cluster_id: int | str | None = None,
        cluster_name: str | None = None,
        ends: str | None = None,
        opens: str | None = None,
        timezone: str = "UTC",
        cutoff: float | timedelta | None = None,
        cut_work: bool = False,
        needs: Mapping[str, Collection[str]] | None = None,
        keep_order: bool = False,
        with_dependents: bool = False,
        side_by_side: bool = False,
        on_refusal: Refusal = "fail",
        if_busy: IfBusy = "refuse",
        settles_within: float | timedelta = timedelta(minutes=10),
        lapses_after: float | timedelta = timedelta(hours=12),
        on_open: Callable[[Context], object] | None = None,
        on_close: Callable[[Context, WindowSummary], object] | None = None,
        deferrable: bool | None = None,
        poll_interval: float | timedelta | None = None,
        timeout: float | timedelta = 3600.0,
        group_id: str = "maintenance",
        **kwargs: Any,  # noqa: ANN401 - the arguments of every task group
    ) -> None:
        plan = make_plan(services, needs=needs, keep_order=keep_order, with_dependents=with_dependents)
        hours = Hours(ends, opens, timezone)
        check_flag(side_by_side, "side_by_side")
        if keep_order and side_by_side:
            raise InvalidArgument(
                "keep_order must be False with side_by_side, which goes by what needs what alone."
            )
        if check_flag(cut_work, "cut_work") and ends is None:
            raise InvalidArgument(
                "ends must be given, such as '02:30', where cut_work is: there is no end to cut at."
            )
        check_choice(on_refusal, "on_refusal", get_args(Refusal))
        check_choice(if_busy, "if_busy", get_args(IfBusy))
        check_hook(on_open, "on_open", "context")
        check_hook(on_close, "on_close", "context", "summary")
        if cluster_name is not None:
            check_text(cluster_name, "cluster_name", "mrs_analysis")
        check_text(group_id, "group_id", "maintenance")
        if kwargs.get("prefix_group_id", True) is not True:
            raise InvalidArgument(
                "prefix_group_id must be True: the tasks of a maintenance window carry the name of their group."
            )
        if not isinstance(kwargs.get("default_args", {}), dict):
            raise InvalidArgument(
                f"default_args must be a dict, such as {{'retries': 3}}, not {kwargs['default_args']!r}."
            )
        super().__init__(group_id=group_id, **kwargs)
        self._side_by_side = side_by_side
        self._is_wired = False
        self._outcome: Outcome | None = None
        self._terms = Terms(
            group_id=str(self.group_id),
            mapped=next(self.iter_mapped_task_groups(), None) is not None,
            plan=plan,
            hours=hours,
            cutoff=None if cutoff is None else _read_cutoff(cutoff, hours),
            cut_work=cut_work,
            cluster_name=cluster_name,
            on_refusal=on_refusal,
            if_busy=if_busy,
            settles_within=_read_length(settles_within, "settles_within"),
            lapses_after=_read_lapse(lapses_after, plan),
            on_open=on_open,
            on_close=on_close,
        )
        # Made here, not with the block: a window without a block is then found to be one.
        self._make_tasks(
            cluster=_given(mrs_conn_id=mrs_conn_id, cluster_id=cluster_id),
            waiting=_given(deferrable=deferrable, poll_interval=poll_interval, timeout=timeout),
        )

    @property
    def plan(self) -> Plan:
        """What would be stopped in which order, and how long that takes. Its text is for people."""
        return self._terms.plan

    @property
    def summary(self) -> Any:  # noqa: ANN401 - it stands for its value, so that a typed task takes it
        """The XCom of what the window did: a :class:`~airflow_mrs.maintenance.summary.WindowSummary` for a task after it."""
        return self._close.output

    def __enter__(self) -> Self:
        """
        Begin the block.

        :raises ValueError: in a DAG that Airflow may end or pause in mid-window, and for a second block.
        """
        if self._is_wired:
            raise ValueError(f"Maintenance window {self.group_id!r} had its block already.")
        if reason := why_it_freezes(self.dag):
            raise ValueError(reason)
        super().__enter__()
        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        """End the block: put what was defined in it between the stops and the starts."""
        try:
            if error_type is None:
                self._wire()
                self._is_wired = True
        finally:
            super().__exit__(error_type, *error)  # type: ignore[no-untyped-call]

    def add(self, task: DAGNode) -> DAGNode:
        """
        Take a task in.

        :param task: a task, or a group of tasks.
        :raises ValueError: after the block: nothing would put it between the stops and the starts.
        """
        if self._is_wired:
            raise ValueError(
                f"{task.node_id} can't become a part of maintenance window {self.group_id!r}, whose block has ended."
            )
        return super().add(task)

    def update_relative(
        self, other: DependencyMixin, upstream: bool = True, edge_modifier: EdgeModifier | None = None
    ) -> None:
        """Note what comes before or after the window; with something after it, its colour needs a task of its own."""
        super().update_relative(other, upstream, edge_modifier)
        if not upstream and self._outcome is None:
            self._add_outcome()

    def get_roots(self) -> Generator[BaseOperator, None, None]:
        """Yield the task that what comes before the window leads to."""
        yield self._open

    def get_leaves(self) -> Generator[BaseOperator, None, None]:
        """Yield the task that what comes after the window waits for: not the work, as with other teardowns."""
        yield self._verdict

    def _make_tasks(self, cluster: dict[str, Any], waiting: dict[str, Any]) -> None:
        ours = {"terms": self._terms, **self._arguments()}
        moving = {**cluster, **waiting, **ours, "only_self": True, "wait_for_completion": True}
        self._open = OpenWindow(task_id="open", **cluster, **ours)
        self._stops = {
            service: StopInWindow(task_id=f"stop_{service}", service_name=service, **moving)
            for service in self.plan.stops
        }
        self._starts = {
            service: StartInWindow(task_id=f"start_{service}", service_name=service, **moving)
            for service in self.plan.starts
        }
        self._until_cutoff: UntilCutoff | None = None
        if self._terms.cut_work:
            persistent = {
                "retries": _TRIES_UNTIL_CUTOFF,
                "retry_delay": timedelta(seconds=10),
                "retry_exponential_backoff": False,
            }
            self._until_cutoff = UntilCutoff(task_id="until_cutoff", **{**ours, **persistent})
        self._close = CloseWindow(task_id="close", **cluster, **ours)
        self._verdict = Verdict(task_id="verdict", **ours)

    def _arguments(self) -> dict[str, Any]:
        """Return what all tasks of the window, other than the work, are made with."""
        defaults = {**self.dag.default_args, **self.default_args}
        unless_given = {name: value for name, value in _UNLESS_GIVEN.items() if name not in defaults}
        return {**_NEVER_INHERITED, **unless_given, "task_group": self, "dag": self.dag}

    def _wire(self) -> None:
        work = self._work()
        ids = {task.task_id for task in work}
        begin = [task for task in work if ids.isdisjoint(task.upstream_task_ids)]
        if self._until_cutoff is None:
            end = [self._behind(task) for task in work if _may_outlast_what_follows(task, ids)]
        else:
            self._cut_off(self._until_cutoff, work)
            end = [self._until_cutoff]
        self._open_only_after_what_the_work_waits_for(work)
        order = self._order()
        stopped_first = [service for service in self.plan.stops if all(then != service for _, then in order)]
        stopped_last = [service for service in self.plan.stops if all(first != service for first, _ in order)]
        for first, then in order:
            self._stops[first].set_downstream(self._stops[then])
            self._starts[then].set_downstream(self._starts[first])
        for service in stopped_first:
            self._open.set_downstream(self._stops[service])
            self._starts[service].set_downstream(self._close)
        started_first = [self._starts[service] for service in stopped_last]
        for service in stopped_last:
            self._stops[service].set_downstream(begin or started_first)
            if self._until_cutoff is not None:
                self._stops[service].set_downstream(self._until_cutoff)
        for start in started_first:
            start.set_upstream(end)
        self._close.set_downstream(self._verdict)
        self._make_teardowns()

    def _work(self) -> list[AnyOperator]:
        """Return the author's own tasks, each of which runs only while the window is open."""
        ours = {self._open, *self._stops.values(), *self._starts.values(), self._close, self._verdict}
        work = [task for task in self if task not in {*ours, self._outcome, self._until_cutoff}]
        for task in work:
            Admission.require(self._terms, task)
        return work

    def _cut_off(self, until_cutoff: UntilCutoff, work: list[AnyOperator]) -> None:
        """
        Let no way lead from the work to a start.

        In place of that, a task that does nothing ends what the stops have begun: by it Airflow knows that the work needs them.
        It clears them with the work, and calls what would come in any case upstream_failed where one of them has failed.
        """
        ids = {task.task_id for task in work}
        until_cutoff.work = sorted(ids)
        until_cutoff.as_teardown(setups=self._open)
        end = Joint(task_id="end_of_work", **self._arguments())
        end.set_upstream([task for task in work if _may_outlast_what_follows(task, ids)])
        end.as_teardown(setups=[self._open, *self._stops.values()])

    def _behind(self, task: AnyOperator) -> AnyOperator:
        """Return what a start can wait for in place of a task: often that task itself."""
        if not Joint.is_needed_behind(task):
            return task
        name = task.task_id.removeprefix(f"{self.group_id}.").replace(".", "_")
        joint = Joint(task_id=f"after_{name}", **{**self._arguments(), "trigger_rule": "all_done"})
        joint.set_upstream(task)
        return joint

    def _open_only_after_what_the_work_waits_for(self, work: list[AnyOperator]) -> None:
        """Nothing is to be down while work waits for a task before the window, or when that task fails."""
        ours = {task.task_id for task in self}
        for task in work:
            if task.trigger_rule != TriggerRule.ALL_SUCCESS:
                continue
            for before in task.upstream_list:
                if ours.isdisjoint({before.task_id, *before.get_flat_relative_ids(upstream=True)}):
                    self._open.set_upstream(before)

    def _order(self) -> list[tuple[str, str]]:
        """Return pairs of services of which one is stopped before the other, and started after it."""
        stops = self.plan.stops
        if not self._side_by_side:
            return list(pairwise(stops))
        return [(service, needed) for service in stops for needed in self.plan.needed_directly(service)]

    def _make_teardowns(self) -> None:
        """
        Let everything from the first start on run however the tasks before it ended.

        A teardown needs one setup that succeeded. A stop that failed half-way did not, and yet its service may be down: so
        the opening is a setup of each.
        """
        for service, start in self._starts.items():
            start.as_teardown(setups=[self._open, self._stops[service]], on_failure_fail_dagrun=True)
        for task in (self._close, self._verdict):
            task.as_teardown(setups=self._open, on_failure_fail_dagrun=True)

    def _add_outcome(self) -> None:
        """Keep the run red where the verdict is not its last task any more."""
        wired, self._is_wired = self._is_wired, False
        self._outcome = Outcome(task_id="outcome", terms=self._terms, **self._arguments())
        self._is_wired = wired
        self._verdict.set_downstream(self._outcome)
        self._outcome.as_teardown(setups=self._open, on_failure_fail_dagrun=True)


def _read_length(given: object, argument: str) -> timedelta:
    """Return a length of time that the calendar can hold."""
    seconds = check_seconds(given, argument, 600)
    if seconds > _LONGEST.total_seconds():
        raise InvalidArgument(
            f"{argument} must be at most a year, such as timedelta(minutes=10), not {given!r}."
        )
    return timedelta(seconds=seconds)


def _read_cutoff(given: object, hours: Hours) -> timedelta:
    cutoff = _read_length(given, "cutoff")
    if hours.ends is None:
        raise InvalidArgument(
            "ends must be given, such as '02:30', where cutoff is: it is a time before the end."
        )
    if cutoff >= hours.length:
        raise InvalidArgument(
            f"cutoff must be shorter than the {hours.length} for which the window may be open, such as "
            f"timedelta(minutes=10), not {given!r}: it could never open."
        )
    return cutoff


def _read_lapse(given: object, plan: Plan) -> timedelta:
    lapse, needed = _read_length(given, "lapses_after"), plan.way_down + plan.way_up
    if lapse <= needed:
        raise InvalidArgument(
            f"lapses_after must be longer than the {needed} that stops and starts take, such as timedelta(hours=12), not "
            f"{given!r}: the window would count as dead before its time."
        )
    return lapse


def _given(**arguments: object) -> dict[str, Any]:
    """Return those arguments that were given; for the others, the operators look into ``default_args``."""
    return {name: value for name, value in arguments.items() if value is not None}


def _may_outlast_what_follows(task: AnyOperator, work: Collection[str]) -> bool:
    """
    Tell whether a task of the work can still run when all of the work that follows it is over.

    That can what nothing follows, and what leads to a task with several before it: when one of those fails, Airflow calls
    that task failed too, and does not wait for the others.
    """
    after = [other for other in task.downstream_list if other.task_id in work]
    return not after or any(len(other.upstream_task_ids) > 1 for other in after)
