"""An operator's whole life without a scheduler: worker, trigger, worker again, and the notes between two tries."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_mrs.triggers.command import MRSCommandTrigger


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


def die() -> None:
    raise Died


def carry_out(
    operator: BaseOperator,
    store: Store | None = None,
    *,
    clears: int = 0,
    while_deferred: Callable[[], object] = lambda: None,
) -> Any:
    """
    Run one try of an operator, with its deferrals if it defers, and return what it returns.

    :param operator: the operator.
    :param store: what it keeps for the next try.
    :param clears: how often the task was cleared before.
    :param while_deferred: called at each deferral, before its trigger runs.
    """
    context: Any = {"ti": SimpleNamespace(max_tries=clears)}
    if store is not None:
        context["task_state_store"] = store
    go_on: Callable[[], Any] = partial(operator.execute, context)
    while True:
        try:
            return go_on()
        except TaskDeferred as deferral:
            while_deferred()
            trigger: Any = deferral.trigger
            event = asyncio.run(first_event(trigger))
            go_on = partial(operator.resume_execution, deferral.method_name, {"event": event}, context)


async def first_event(trigger: MRSCommandTrigger) -> Any:
    # As the database would hand it over.
    path, arguments = trigger.serialize()
    assert path.endswith(type(trigger).__name__)
    async for event in type(trigger)(**arguments).run():
        return event.payload
    raise AssertionError("a trigger says something before it ends")
