"""The trigger: waits for a command in the triggerer, without a worker."""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import InvalidArgument, MRSError
from airflow_mrs.manager.waiting import Contact, wait_for_change, wait_for_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure

SHORTEST_DEFERRAL = 10.0
"""Seconds before which no trigger should fire: Airflow can fail a task whose deferral is shorter than five or so."""

TRIGGER_GRACE = 120.0
"""
Seconds after its deadline in which a trigger is to speak. Airflow's own time-out of the deferral comes only then, for
the time when no triggerer runs.
"""


class MRSCommandTrigger(BaseTrigger):
    """
    Waits until a command of MRS Manager is over, and checks the service that it was about.

    All triggers of a triggerer that use the same connection share one session, and those that wait for the
    same command share its polls. The event says all that the task needs to go on, so that the worker makes no
    request: ``status`` is ``success`` or ``error``; ``command_id`` is the command, -1 where none is known;
    ``error`` and ``message`` are the class and the text of what went wrong.

    :param mrs_conn_id: the Airflow connection, of type ``mrs``.
    :param command_id: the command; None waits by the state of the service alone.
    :param deadline: when the wait ends, in seconds since the epoch. It is absolute, so that a restart of the
        triggerer does not lengthen the wait.
    :param action: what the command does to the service: ``stop`` or ``start``.
    :param service_name: the service whose state is checked; None takes the command at its word.
    :param cluster_id: the service's cluster.
    :param poll_interval: seconds between two polls.
    :param not_before: the event does not come before this moment, in seconds since the epoch; see
        ``SHORTEST_DEFERRAL``.
    """

    def __init__(
        self,
        mrs_conn_id: str,
        command_id: int | None,
        deadline: float,
        *,
        action: str | None = None,
        service_name: str | None = None,
        cluster_id: int = 1,
        poll_interval: float = 5.0,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mrs_conn_id = mrs_conn_id
        self.command_id = command_id
        self.deadline = deadline
        self.action = action
        self.service_name = service_name
        self.cluster_id = cluster_id
        self.poll_interval = poll_interval
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and the arguments to make it again: no secret is among them."""
        return (
            "airflow_mrs.triggers.command.MRSCommandTrigger",
            {
                "mrs_conn_id": self.mrs_conn_id,
                "command_id": self.command_id,
                "deadline": self.deadline,
                "action": self.action,
                "service_name": self.service_name,
                "cluster_id": self.cluster_id,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then say in one event how it went."""
        event: dict[str, str | int] = {"status": "success"}
        try:
            await self._wait()
        except MRSError as error:
            event = {"status": "error", "error": type(error).__name__, "message": str(error)}
        event["command_id"] = -1 if self.command_id is None else self.command_id
        await asyncio.sleep(max(0.0, self.not_before - time.time()))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """
        Say that the command goes on in Manager, which has no way to cancel it.

        Airflow calls this too where another triggerer has taken the wait over, so nothing may be done here.
        """
        self.log.warning("%s: no longer waited for. What runs in Manager goes on.", self._subject)

    async def _wait(self) -> None:
        settings = await MRSManagerHook.get_settings_async(self.mrs_conn_id)
        aio = await asyncio.to_thread(_import_driver)
        now = time.time()
        contact = Contact(f"{settings}: {self._subject}", self.poll_interval, self.deadline, now)
        async with aio.shared_client(settings) as client:
            await client.run(self._procedure(contact, settings), self.log, max_age=self.poll_interval / 2)

    def _procedure(self, contact: Contact, settings: Settings) -> Procedure[Any]:
        if self.service_name is not None and self.action is not None:
            change = ServiceChange(
                Action(self.action),
                self.service_name,
                self.cluster_id,
                status_property=settings.status_property,
            )
            return wait_for_change(contact, change, self.command_id)
        if self.command_id is None:
            raise InvalidArgument(f"{settings}: neither a command nor a service to wait for.")
        return wait_for_command(contact, self.command_id)

    @property
    def _subject(self) -> str:
        """What is waited for, in words."""
        parts = []
        if self.service_name is not None:
            parts.append(f"{self.action} of {self.service_name}")
        if self.command_id is not None:
            parts.append(f"command {self.command_id}")
        return ", ".join(parts)


def _import_driver() -> ModuleType:
    """Import aiohttp off the event loop, which its import would block for a moment."""
    return importlib.import_module("airflow_mrs.manager.aio")
