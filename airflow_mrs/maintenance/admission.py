"""The author's own tasks run only while their window is open."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_mrs.maintenance.joint import Joint
from airflow_mrs.maintenance.terms import Terms
from airflow_mrs.notes import NoteKeeper
from airflow_mrs.operators.service import MRSRestartServiceOperator, MRSStartServiceOperator
from airflow_mrs.tries import is_first_try

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context, MappedOperator

    Hook = Callable[[Context], object]

_AIRFLOW_2 = BaseOperator.__module__ == "airflow.models.baseoperator"


def why_no_work(task: BaseOperator | MappedOperator) -> str | None:
    """
    Say why a task can't be work of a window; None where it can.

    :param task: a task of the author's.
    """
    partial_kwargs: dict[str, Any] = getattr(task, "partial_kwargs", {})
    if partial_kwargs.get("start_from_trigger", getattr(task, "start_from_trigger", False)):
        return (
            f"{task.task_id} starts in the triggerer, so that nothing would keep it from running while its window is "
            "not open. Leave start_from_trigger off in a maintenance window."
        )
    operator: Any = getattr(task, "operator_class", type(task))
    if _AIRFLOW_2 and operator.pre_execute is not BaseOperator.pre_execute:
        return (
            f"{task.task_id} has a pre_execute of its own, by which Airflow 2 would pass over the question whether its "
            "window is open. Leave that to its execute, or take Airflow 3."
        )
    if task.depends_on_past or task.wait_for_downstream:
        return (
            f"{task.task_id} waits for an earlier run (depends_on_past or wait_for_downstream). Should that have failed, "
            "it would wait for ever, with the services of its maintenance window down. Let a task before the window "
            "wait."
        )
    return None


class Admission:
    """
    Stands in a task's ``pre_execute``, and lets it run only while the window of its run is open.

    What brings back what the work itself has taken down is never kept from it: the starts of a window inside this one,
    which have a record of their own, and operators that start a service. Teardowns are not cut.

    :param terms: the terms of the window.
    :param then: the task's own ``pre_execute``, if it has one.
    """

    def __init__(self, terms: Terms, then: Hook | None) -> None:
        self._terms = terms
        self._then = then

    @classmethod
    def require(cls, terms: Terms, task: BaseOperator | MappedOperator) -> None:
        """
        Put an admission before a task.

        :param terms: the terms of the window.
        :param task: a task of the author's.
        :raises ValueError: for a task that begins in the triggerer, where nobody would ask, for one that does not ask on
            Airflow 2, and for one that waits for an earlier run, with services down.
        """
        if reason := why_no_work(task):
            raise ValueError(reason)
        # As Airflow's own decorators run_if and skip_if do it.
        if hasattr(task, "partial_kwargs"):
            task.partial_kwargs["pre_execute"] = cls(terms, task.partial_kwargs.get("pre_execute"))
        else:
            task._pre_execute_hook = cls(terms, task._pre_execute_hook)  # noqa: SLF001

    def __call__(self, context: Context) -> None:
        """
        Check, before the task does anything.

        :param context: that of the task.
        :raises AirflowFailException: where the window is not open, or its work is cut.
        """
        task: Any = context["task"]
        if not _brings_back(task, context) and not self._undoes_what_was_cut(context):
            record = self._terms.require_open(context).record
            if self._terms.cut_work and record.cutoff is not None and not task.is_teardown:
                self._cut(context, record.cutoff)
        if self._then is not None:
            self._then(context)

    def _undoes_what_was_cut(self, context: Context) -> bool:
        """Tell whether a teardown comes after the cutoff, when the starts may not have waited for it."""
        task: Any = context["task"]
        if not (self._terms.cut_work and task.is_teardown):
            return False
        standing, now = self._terms.standing(context), time.time()
        cutoff = standing.record.cutoff
        # Once it has lapsed, whoever clears the task means another time.
        return standing.in_its_place is None and cutoff is not None and cutoff <= now < standing.record.lapses

    def _cut(self, context: Context, cutoff: float) -> None:
        """Bound what the task does now, and what it may yet wait for in the triggerer."""
        task: Any = context["task"]
        left = timedelta(seconds=cutoff - time.time())
        if left <= timedelta():
            raise AirflowFailException(
                f"{self._terms.holder(context)}: it is past the cutoff, so the work is cut."
            )
        if isinstance(task, MRSRestartServiceOperator):
            return  # cut in the middle, it would leave its service down
        left_of_try = left + _elapsed_of_try(context)
        own = task.execution_timeout
        task.execution_timeout = left_of_try if own is None else min(own, left_of_try)
        own = getattr(task, "response_timeout", 0)  # that of a task which asks a person
        if own is None or isinstance(own, timedelta):
            task.response_timeout = left if own is None else min(own, left)
        defer = task.defer

        def defer_until_the_cutoff(*, timeout: timedelta | float | None = None, **arguments: Any) -> None:  # noqa: ANN401 - those of defer
            left = timedelta(seconds=max(0.0, cutoff - time.time()))
            if isinstance(timeout, int | float):
                timeout = timedelta(seconds=timeout)
            defer(timeout=left if timeout is None else min(timeout, left), **arguments)

        task.defer = defer_until_the_cutoff


def _elapsed_of_try(context: Context) -> timedelta:
    """Return what of ``execution_timeout`` is over already: Airflow 2 counts it from the first start of a task that resumes."""
    if not _AIRFLOW_2:
        return timedelta()
    ti: Any = context["ti"]
    if ti.next_method is None or ti.start_date is None:
        return timedelta()
    started: datetime = ti.start_date
    return datetime.now(UTC) - started


def _brings_back(task: Any, context: Context) -> bool:  # noqa: ANN401 - any operator
    """Tell whether a task of the work only undoes what was done before it, or does nothing at all."""
    if isinstance(task, MRSRestartServiceOperator):
        return _has_begun(task, context)
    ends_a_window_inside = task.is_teardown and isinstance(getattr(task, "terms", None), Terms)
    return ends_a_window_inside or isinstance(task, MRSStartServiceOperator | Joint)


def _has_begun(task: Any, context: Context) -> bool:  # noqa: ANN401 - any operator
    """Tell whether a try of a task goes on after a deferral, or after another try since the task was cleared."""
    ti: Any = context["ti"]
    of_airflow_3 = getattr(ti, "_ti_context_from_server", None)
    if getattr(ti if of_airflow_3 is None else of_airflow_3, "next_method", None) is not None:
        return True
    if is_first_try(context, task.retries):
        return False
    keeper = NoteKeeper(context, task.log)
    if not keeper.there_is_a_store:
        return True
    kept = keeper.kept()  # by nobody, where the first try was not admitted, or never came to its request
    return kept is not None and not kept["cleared"]
