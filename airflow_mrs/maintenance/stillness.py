"""For how long nothing of a window may move though all is well: its tasks may be waiting for their next try."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG

SHORTEST = timedelta(minutes=10)
"""Longer than a scheduler takes, as a rule, to begin a task whose turn has come."""

_A_DAY = timedelta(days=1)  # the longest delay of Airflow's own, where a task names none


def longest_stillness(dag: DAG, group_id: str) -> float:
    """
    Return how long a window can stand still while nobody has given it up.

    :param dag: its DAG, with all of its tasks.
    :param group_id: its task group.
    :return: seconds.
    """
    tasks: list[Any] = [task for task in dag.tasks if task.task_id.startswith(f"{group_id}.")]
    delays = map(_until_the_next_try, tasks)
    return (SHORTEST + max(delays, default=timedelta())).total_seconds()


def _until_the_next_try(task: Any) -> timedelta:  # noqa: ANN401 - mapped or not, of two Airflows
    if not task.retries:
        return timedelta()
    delay: timedelta = task.retry_delay
    if task.retry_exponential_backoff:
        delay *= 2 ** min(task.retries, 20)
        return min(delay, task.max_retry_delay or _A_DAY)
    return delay
