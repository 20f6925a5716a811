"""What all waits in the triggerer have in common."""

from __future__ import annotations

import asyncio
import importlib
import time
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mrs.hooks.lookup import look_up
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.arguments import check_moment, check_seconds, check_text
from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.waiting import Contact, wait_until_over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Reading

SHORTEST_DEFERRAL = 10.0
"""
Seconds before which no trigger should fire, and no sensor be rescheduled: Airflow can fail a task that comes back within
five or so. Its process has not ended by then, and that end is taken for the new one's.
"""

TRIGGER_GRACE = 120.0
"""
Seconds after its deadline in which a trigger is to speak. Airflow's own time-out of the deferral comes only then, for
the time when no triggerer runs.
"""

_LONGEST_DEFERRAL = 100 * 365 * 86_400.0  # whoever wants no end must not get a date that no calendar has


def deferral_timeout(deadline: float) -> timedelta:
    """
    Return how long Airflow is to let a deferral last whose trigger has a deadline.

    :param deadline: in seconds since the epoch.
    """
    left = max(0.0, deadline - time.time())
    return timedelta(seconds=min(left, _LONGEST_DEFERRAL) + TRIGGER_GRACE)


class MRSTrigger(BaseTrigger):
    """
    Waits in the triggerer, and says in one event how it went.

    All triggers of a triggerer that use the same connection share one session, and those that ask the same
    question share the answer. The event says all that the task needs to go on, so that the worker makes no
    request: ``status`` is ``success`` or ``error``; ``error`` and ``message`` are the class and the text of
    what went wrong; ``mrs_conn_id``, ``deadline`` and ``task_instance_id`` are the trigger's own.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``.
    :param deadline: when the wait ends, in seconds since the epoch. It is absolute, so that a restart of the
        triggerer does not lengthen the wait.
    :param poll_interval: seconds between two polls.
    :param not_before: the event does not come before this moment, in seconds since the epoch; see
        ``SHORTEST_DEFERRAL``.
    :param task_instance_id: the id of the task instance that waits, of which each try has its own.
    :raises ValueError: for an argument that can't be right.
    """

    def __init__(
        self,
        mrs_conn_id: str,
        deadline: float,
        *,
        poll_interval: float = 5.0,
        not_before: float = 0.0,
        task_instance_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mrs_conn_id = check_text(mrs_conn_id, "mrs_conn_id", MRSManagerHook.default_conn_name)
        self.deadline = check_moment(deadline, "deadline")
        self.poll_interval = check_seconds(poll_interval, "poll_interval")
        self.not_before = check_moment(not_before, "not_before")
        self.task_instance_id = task_instance_id

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, in words."""

    @abstractmethod
    def poll(self, contact: Contact, settings: Settings) -> Procedure[Reading]:
        """Return one look at it."""

    def procedure(self, contact: Contact, settings: Settings) -> Procedure[object]:
        """Return the wait."""
        return wait_until_over(contact, lambda contact: self.poll(contact, settings))

    def particulars(self) -> dict[str, Any]:
        """Return the arguments that only this kind of trigger has."""
        return {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and the arguments to make it again: no secret is among them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mrs_conn_id": self.mrs_conn_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
                "task_instance_id": self.task_instance_id,
                **self.particulars(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then say in one event how it went."""
        event: dict[str, Any] = {"status": "success"}
        try:
            await self._wait()
        except MRSError as error:
            event = {"status": "error", "error": type(error).__name__, "message": str(error)}
        event |= {
            "mrs_conn_id": self.mrs_conn_id,
            "deadline": self.deadline,
            "task_instance_id": self.task_instance_id,
            **self.particulars(),
        }
        await asyncio.sleep(max(0.0, self.not_before - time.time()))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Say that the wait is over, and what runs in Manager is not: it has no way to cancel a command.

        Airflow calls this too where another triggerer has taken the wait over, so nothing may be done here.
        """
        self.log.warning(
            "MRS connection %r: %s: no longer waited for. What runs in Manager goes on.",
            self.mrs_conn_id,
            self.subject,
        )

    async def _wait(self) -> None:
        name = f"MRS connection {self.mrs_conn_id!r}: {self.subject}"
        settings = await look_up(self.mrs_conn_id, name, self.deadline, self.log)
        aio = await asyncio.to_thread(_import_driver)
        now = time.time()
        contact = Contact(name, self.poll_interval, self.deadline, now)
        async with aio.shared_client(settings) as client:
            await client.run(self.procedure(contact, settings), self.log, max_age=self.poll_interval / 2)


def _import_driver() -> ModuleType:
    """Import aiohttp off the event loop, which its import would block for a moment."""
    return importlib.import_module("airflow_mrs.manager.aio")
