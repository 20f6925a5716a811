"""What of a DAG would leave the services of a window down, or stop them at the wrong time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import __version__
from airflow.providers.common.compat.sdk import TriggerRule, conf

from airflow_mrs.maintenance.admission import why_no_work
from airflow_mrs.maintenance.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from airflow.providers.common.compat.sdk import DAG, BaseOperator, MappedOperator

    from airflow_mrs.maintenance.terms import Terms

    AnyOperator = BaseOperator | MappedOperator

_IS_3_0 = __version__.startswith("3.0.")


def why_unfit(dag: DAG, terms: Terms, logical_date: datetime | None = None) -> str | None:
    """
    Say why a window must not be opened in its DAG; None where it may.

    A DAG can be changed after the block of its window: below it, and by cluster policies, which Airflow applies when the
    file has been read. So this is to be asked when the DAG is complete, and again at run time.

    :param dag: the DAG, as Airflow has read it from its file.
    :param terms: the terms of the window.
    :param logical_date: that of the run, if there is one.
    """
    return next(_reasons(dag, terms, logical_date), None)


def why_it_freezes(dag: DAG) -> str | None:
    """
    Say why Airflow might end or pause a run of a DAG in the middle, with services down; None where it does not.

    :param dag: any DAG.
    """
    if dag.dagrun_timeout is not None:
        return (
            f"DAG {dag.dag_id!r} has a dagrun_timeout. When that passes, Airflow skips every task that is not "
            "over, the starts of a maintenance window too, and leaves its services down. Give the window an end and "
            "cut_work, or give its tasks an execution_timeout; a DeadlineAlert tells of a run that takes too long."
        )
    if dag.max_consecutive_failed_dag_runs > 0:
        return (
            f"DAG {dag.dag_id!r} has max_consecutive_failed_dag_runs={dag.max_consecutive_failed_dag_runs}: of its own, by "
            "[core] max_consecutive_failed_dag_runs_per_dag, or by a policy. When so many runs have failed, Airflow pauses "
            "the DAG, also while another run has a maintenance window open, and leaves its services down. Set "
            "dag.max_consecutive_failed_dag_runs = 0 before the window."
        )
    if _IS_3_0 and (most := conf.getint("core", "max_consecutive_failed_dag_runs_per_dag")) > 0:
        return (
            f"[core] max_consecutive_failed_dag_runs_per_dag is {most}, and no DAG of Airflow 3.0 can say otherwise: where one "
            f"says 0, the scheduler reads {most}. When so many runs of DAG {dag.dag_id!r} have failed, Airflow pauses it, also "
            "while another run has a maintenance window open, and leaves its services down. Set that option to 0, or take "
            "Airflow 3.1."
        )
    return None


def _reasons(dag: DAG, terms: Terms, logical_date: datetime | None) -> Iterator[str]:
    if reason := why_it_freezes(dag):
        yield reason
    tasks = {task.task_id: task for task in dag.task_group.get_task_group_dict()[terms.group_id]}
    verdict = tasks.get(terms.task_id("verdict"))
    if verdict is None or not verdict.is_teardown:
        yield (
            f"Maintenance window {terms.group_id!r} of DAG {dag.dag_id!r} has no block of work that came to its end. Write "
            "`with` before the window, and put the work into that block."
        )
        return
    ends = {
        terms.task_id(label)
        for label in ("close", "verdict", "outcome", *(f"start_{service}" for service in terms.plan.starts))
    }
    own = {
        *ends,
        *(terms.task_id(label) for label in ("open", *(f"stop_{service}" for service in terms.plan.stops))),
    }
    if terms.cut_work:
        ends.add(terms.task_id("until_cutoff"))
        own |= {terms.task_id("until_cutoff"), terms.task_id("end_of_work")}
    for task_id, task in tasks.items():
        reason = _why_not_as_made(task, is_end=task_id in ends) if task_id in own else why_no_work(task)
        if reason:
            yield reason
        if logical_date is not None and _never_runs(task, logical_date):
            yield (
                f"{task_id} has a start_date or an end_date by which Airflow never runs it in a run of {logical_date}: "
                "the services of its maintenance window would stay down. Give such dates to the DAG alone."
            )
    yield from _edges_past_the_opening(tasks, own, terms)
    if terms.cut_work:
        yield from _what_can_not_be_cut(tasks, own, ends, terms)


def _why_not_as_made(task: AnyOperator, *, is_end: bool) -> str | None:
    """Say what has been changed of a window's own task, so that a start might not come."""
    if task.depends_on_past or task.wait_for_downstream:
        return (
            f"{task.task_id} has been made to wait for an earlier run (depends_on_past or wait_for_downstream). Should that "
            "have failed, it would wait for ever, with services down. Leave the tasks of a maintenance window as they are."
        )
    if is_end and not (task.is_teardown and task.trigger_rule == TriggerRule.ALL_DONE_SETUP_SUCCESS):
        return (
            f"{task.task_id} has been given the trigger rule {task.trigger_rule!s}, by which it might not come, with "
            "services down. Leave the tasks of a maintenance window as they are."
        )
    for before in task.upstream_list if is_end else ():
        if Joint.is_needed_behind(before):
            return (
                f"{before.task_id} is drawn to {task.task_id} by hand. It may skip what comes right after it, and services "
                "would stay down. Draw it to the maintenance window, or put it into its block."
            )
    return None


def _edges_past_the_opening(tasks: Mapping[str, AnyOperator], own: set[str], terms: Terms) -> Iterator[str]:
    """Yield what would keep services down while something is waited for that may come before the window."""
    opening = tasks[terms.task_id("open")]
    waited_for = {*tasks, *opening.get_flat_relative_ids(upstream=True)}
    for task_id, task in tasks.items():
        if task_id not in own and task.trigger_rule != TriggerRule.ALL_SUCCESS:
            continue
        for before in task.upstream_list:
            if before.task_id in waited_for or not before.get_flat_relative_ids(upstream=True).isdisjoint(
                tasks
            ):
                continue
            yield (
                f"{task_id} waits for {before.task_id}, which maintenance window {terms.group_id!r} does not wait for: "
                "services would be down meanwhile. Draw this edge inside of the window's block, or draw "
                f"{before.task_id} to the window itself."
            )


def _what_can_not_be_cut(
    tasks: Mapping[str, AnyOperator], own: set[str], ends: set[str], terms: Terms
) -> Iterator[str]:
    """Yield what would let a start wait for work beyond the cutoff, or come before that though work goes on."""
    work = tasks.keys() - own
    for task_id in sorted(ends & tasks.keys()):
        for before in sorted(work & tasks[task_id].get_flat_relative_ids(upstream=True)):
            yield (
                f"{before} leads to {task_id}, which would wait for it beyond the cutoff of maintenance window "
                f"{terms.group_id!r}, in spite of cut_work. Leave this edge out."
            )
    for task_id in sorted(work) if not terms.mapped else ():
        name, _, index = task_id.rpartition("_")
        if index.isdecimal() and name in work and _is_mapped(tasks[name]):
            yield (
                f"{task_id} has the name under which Airflow gives the state of {name}[{index}], so that nobody can tell "
                "whether both are over when work is cut. Give one of them another name."
            )


def _is_mapped(task: AnyOperator) -> bool:
    return hasattr(task, "partial_kwargs") or next(task.iter_mapped_task_groups(), None) is not None


def _never_runs(task: AnyOperator, logical_date: datetime) -> bool:
    return bool(
        (task.start_date and logical_date < task.start_date)
        or (task.end_date and logical_date > task.end_date)
    )
