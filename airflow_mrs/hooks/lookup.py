"""
Looking a connection up while Airflow may be away for a moment.

Airflow does not tell that from a connection that is not defined: most failures of its API server, of its database and of
a secrets backend come out as ``AirflowNotFoundException``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.errors import ContactLost, MRSError
from airflow_mrs.manager.waiting import LONGEST_BACKOFF, LONGEST_OUTAGE

if TYPE_CHECKING:
    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Logger

PATIENCE = 60.0
"""Seconds for which a worker looks a connection up. Airflow's own client has tried several times by then."""

_CERTAIN = (MRSError, PermissionError)
"""A connection that can't be right, and one that Airflow denies to this task."""


async def look_up(mrs_conn_id: str, name: str, deadline: float, log: Logger) -> Settings:
    """
    Look a connection up in the triggerer, through an outage of Airflow.

    :param mrs_conn_id: the connection.
    :param name: what messages begin with.
    :param deadline: when to give up, in seconds since the epoch; an outage of ten minutes ends it before.
    :param log: where an outage is named when it begins and when it ends.
    :return: its settings.
    :raises InvalidArgument: when the connection can't be right.
    :raises ContactLost: when it is not found for so long.
    """
    outage = _Outage(name, min(LONGEST_OUTAGE, deadline - time.time()), log)
    while True:
        try:
            settings = await MRSManagerHook.get_settings_async(mrs_conn_id)
        except _CERTAIN:
            raise
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises
            pause = outage.pause_after(error)
            if pause is None:
                raise outage.contact_lost() from None
            await asyncio.sleep(pause)
        else:
            outage.end()
            return settings


class PatientHook(MRSManagerHook):
    """
    Looks its connection up for a minute, where a task has few tries and much depends on it.

    It is for connections that were found before: one that was never defined would take that minute, too.
    """

    @cached_property
    def settings(self) -> Settings:
        """
        The settings of the connection.

        :raises InvalidArgument: when the connection can't be right.
        :raises AirflowNotFoundException: when it is not found for a minute.
        """
        outage = _Outage(f"MRS connection {self.mrs_conn_id!r}", PATIENCE, self.log)
        while True:
            try:
                settings = super().settings
            except _CERTAIN:
                raise
            except Exception as error:  # whatever Airflow raises
                pause = outage.pause_after(error)
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                outage.end()
                return settings


class _Outage:
    """For how long a connection was not found, and when to look again."""

    def __init__(self, name: str, longest: float, log: Logger) -> None:
        self._name = name
        self._longest = longest
        self._log = log
        self._begun = time.time()
        self._failures = 0
        self._last = ""

    @property
    def _lasted(self) -> float:
        return time.time() - self._begun

    def pause_after(self, error: Exception) -> float | None:
        """
        Return how long to wait before looking again; None where it has lasted too long.

        :param error: what Airflow has raised. Its text may hold more than a log should.
        """
        self._last = type(error).__name__
        left = self._longest - self._lasted
        if left <= 0:
            return None
        if not self._failures:
            self._log.log(
                logging.WARNING,
                "%s: Airflow does not find the connection, asking on: %s",
                self._name,
                self._last,
            )
        self._failures += 1
        backoff = min(2.0 ** min(self._failures - 1, 16), LONGEST_BACKOFF) * (0.5 + random.random() / 2)  # noqa: S311 - so that not all come back at once
        return min(backoff, left)

    def contact_lost(self) -> ContactLost:
        """Return the error for one that has lasted too long."""
        return ContactLost(
            f"{self._name}: Airflow has not found the connection for {self._lasted:.0f} s, last with {self._last}. It is "
            "not defined, or Airflow's API server, database or secrets backend does not answer. A command that runs goes "
            "on in Manager."
        )

    def end(self) -> None:
        """Say that it is over, if there was one."""
        if self._failures:
            self._log.log(
                logging.INFO,
                "%s: Airflow finds the connection again after %.0f s",
                self._name,
                self._lasted,
            )
