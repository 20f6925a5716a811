"""An operator's whole life without a scheduler: worker, trigger, worker again, and the notes between two tries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from airflow.providers.common.compat.sdk import TaskDeferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_mrs.triggers.base import MRSTrigger


class Died(BaseException):
    """The worker is gone, as by SIGKILL: nothing of the task's code runs after it."""


class Store:
    """Stands in for Airflow's ``task_state_store``, which needs an API server; what it holds outlives a try."""

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}
        self.on_set: dict[str, Callable[[], object]] = {}

    def get(self, key: str) -> Any:
        return self._rows.get(key)

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a row; ``on_set`` may let something happen right after, at the phase that the note tells of."""
        if before := self.on_set.pop(f"before {value['phase']}", None):
            before()
        self._rows[key] = value
        if after := self.on_set.pop(value["phase"], None):
            after()


@dataclass
class Instance:
    """Stands in for a task instance; given to one try after the other, for that of Airflow 3.0, which forgets nothing."""

    max_tries: int = 0
    try_number: int = 0
    id: UUID | None = None
    resumption: tuple[str, dict[str, Any]] | None = None
    task_id: str = "task"
    map_index: int = -1
    xcoms: dict[tuple[str, int, str], Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, self.map_index, key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.xcoms.get((task_ids, map_indexes, key))


def die() -> None:
    raise Died


def carry_out(
    operator: BaseOperator,
    store: Store | None = None,
    *,
    clears: int = 0,
    while_deferred: Callable[[], object] = lambda: None,
    instance: Instance | None = None,
) -> Any:
    """
    Run one try of an operator, with its deferrals if it defers, and return what it returns.

    :param operator: the operator.
    :param store: what it keeps for the next try.
    :param clears: how often the task was cleared before.
    :param while_deferred: called at each deferral, before its trigger runs.
    :param instance: that of the try before, where it is still known.
    """
    instance = instance or Instance(max_tries=clears)
    instance.try_number += 1
    instance.id = uuid4()
    while True:
        try:
            return start(operator, instance, store)
        except TaskDeferred as deferral:
            while_deferred()
            trigger: Any = deferral.trigger
            instance.resumption = (deferral.method_name, {"event": asyncio.run(first_event(trigger))})


def start(operator: BaseOperator, instance: Instance, store: Store | None = None) -> Any:
    """Let a worker begin with a task, or go on with it."""
    context: Any = {"ti": instance}
    if store is not None:
        context["task_state_store"] = store
    if instance.resumption is None:
        return operator.execute(context)
    return operator.resume_execution(*instance.resumption, context)


async def first_event(trigger: MRSTrigger) -> Any:
    # As the database would hand it over.
    path, arguments = trigger.serialize()
    assert path.endswith(type(trigger).__name__)
    async for event in type(trigger)(**arguments).run():
        return event.payload
    raise AssertionError("a trigger says something before it ends")
