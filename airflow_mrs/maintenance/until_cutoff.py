"""The task that lets the starts come at the cutoff, whatever the work is doing."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator

from airflow_mrs.maintenance.state.record import Phase
from airflow_mrs.maintenance.state.runs import is_over, window_states
from airflow_mrs.operators.service import MRSRestartServiceOperator, MRSStartServiceOperator
from airflow_mrs.triggers.base import SHORTEST_DEFERRAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.maintenance.state.record import WindowRecord
    from airflow_mrs.maintenance.state.runs import TaskStates
    from airflow_mrs.maintenance.terms import Terms

LONGEST = 30.0
"""
Seconds between two looks at most. It is a tenth of the time that the window has been open, and at least as long as a
deferral has to be.
"""

GRACE = 30.0
"""Seconds after the cutoff in which a task that is just being cut may clean up, before services start under its hands."""

_UNDER_WAY = {"running", "restarting", "deferred"}
_NEVER_CUT = (MRSStartServiceOperator, MRSRestartServiceOperator)


class UntilCutoff(BaseSensorOperator):
    """
    Waits until the work is over, or is cut: the starts wait for this task, and for none of the work.

    A task of the work can be unfinished in ways that nobody ends from outside: deferred, waiting for its next try or look,
    for a slot, for another run, or for a person. On Airflow 3.2 and later, a start as a teardown would wait for all of it.

    :param terms: the terms of the window.
    """

    ui_color = "#d9e2ec"

    def __init__(self, *, terms: Terms, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(
            mode="reschedule",
            poke_interval=LONGEST,
            timeout=timedelta(
                days=366
            ).total_seconds(),  # it ends by the cutoff, or the guard ends the window
            exponential_backoff=False,
            soft_fail=False,
            never_fail=False,
            silent_fail=False,
            **kwargs,
        )
        self.terms = terms
        self.work: Sequence[str] = ()
        """The ids of the work's tasks."""

    def poke(self, context: Context) -> bool:
        """
        Look once whether the work is over, or is to be.

        What can't be read leads to another look: it is no end of the work. It does not keep services down past the cutoff.

        :param context: Airflow's context.
        :return: whether the starts may come.
        """
        self.poke_interval = LONGEST
        try:
            record, states = self._look(context)
            left = _left(record)
            if 0 < left <= SHORTEST_DEFERRAL and self._unfinished(states):
                time.sleep(left)
                record, states = self._look(context)
        except AirflowFailException:  # the window was never opened
            raise
        except Exception:
            self.log.exception("It is not known whether the work is over")
            return self._is_past_the_cutoff(context)
        if record.phase is not Phase.OPEN:
            self.log.info("The window is being closed already")
            return True
        return self._is_over_or_cut(record, states)

    def _is_past_the_cutoff(self, context: Context) -> bool:
        """Tell so by what the opening has handed over, where the record can't be read."""
        try:
            cutoff = self.terms.cutoff_at_opening(context)
        except Exception:
            self.log.exception("Nor when the cutoff is")
            return False
        return cutoff is not None and time.time() >= cutoff + GRACE

    def _look(self, context: Context) -> tuple[WindowRecord, TaskStates]:
        return self.terms.standing(context).record, window_states(context, self.terms.holder(context))

    def _unfinished(self, states: TaskStates) -> TaskStates:
        return {name: state for task_id in self.work for name, state in _unfinished(task_id, states).items()}

    def _is_over_or_cut(self, record: WindowRecord, states: TaskStates) -> bool:
        unfinished, left = self._unfinished(states), _left(record)
        if not unfinished:
            self.log.info("The work is over")
            return True
        if left <= 0 and not self._is_to_be_left(unfinished, states, left):
            self.log.warning("It is past the cutoff, and the work is cut: %s", _in_words(unfinished))
            return True
        self.log.info("Not over: %s", _in_words(unfinished))
        self.poke_interval = max(SHORTEST_DEFERRAL, min(LONGEST, (time.time() - record.opened) / 10))
        if left > 0:  # in time to sleep until the cutoff
            self.poke_interval = min(self.poke_interval, max(SHORTEST_DEFERRAL, left - SHORTEST_DEFERRAL / 2))
        return False

    def _is_to_be_left(self, unfinished: TaskStates, states: TaskStates, left: float) -> bool:
        """Tell whether something may go on beyond the cutoff: cleaning up for a moment, and what brings back, once it does."""
        bringing_back = [task_id for task_id in self.work if self._brings_back_now(task_id, states)]
        if left > -GRACE:
            return bool(bringing_back) or "running" in unfinished.values()
        return any(
            state in _UNDER_WAY
            for task_id in bringing_back
            for state in _unfinished(task_id, states).values()
        )

    def _brings_back_now(self, task_id: str, states: TaskStates) -> bool:
        """Tell whether a task is never cut, not over, and waits for no other one: not for work that is cut."""
        task: Any = self.dag.get_task(task_id)
        if not (task.is_teardown or issubclass(getattr(task, "operator_class", type(task)), _NEVER_CUT)):
            return False
        return bool(_unfinished(task_id, states)) and not any(
            _unfinished(before, states) for before in task.upstream_task_ids if before in self.work
        )


def _left(record: WindowRecord) -> float:
    return float("inf") if record.cutoff is None else record.cutoff - time.time()


def _unfinished(task_id: str, states: TaskStates) -> TaskStates:
    """Return those of a task's instances that are not over. One that Airflow does not list is not."""
    instances = {
        name: state
        for name, state in states.items()
        if name == task_id or name.removeprefix(f"{task_id}_").isdecimal()
    }
    return {name: state for name, state in (instances or {task_id: None}).items() if not is_over(state)}


def _in_words(states: TaskStates) -> str:
    return ", ".join(f"{task_id} is {state or 'not begun'}" for task_id, state in states.items())
