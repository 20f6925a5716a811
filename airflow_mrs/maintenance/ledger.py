"""Where the windows of a cluster are kept: in Airflow Variables, which outlive tasks, tries, runs and DAGs."""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import Variable

from airflow_mrs.maintenance.record import Record

if TYPE_CHECKING:
    from airflow_mrs.maintenance.plan import Durations
    from airflow_mrs.manager.settings import Settings

_INDEX = "mrs_windows"
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_.-]+")

SETTLING_SECONDS = 3.0
"""Longer than anybody takes from finding the lock free to having written into it; who takes longer backs off."""

_LOCK_LAPSES_AFTER = 60.0


@dataclass(frozen=True)
class Ledger:
    """
    The record of one cluster's window: of the one that is open, or of the last one.

    :param name: the Variable it is kept in.
    """

    name: str

    @classmethod
    def of(cls, settings: Settings, cluster_id: int) -> Ledger:
        """
        Return the ledger of a cluster, the same for every connection to its host and port.

        :param settings: those of the connection.
        :param cluster_id: the cluster.
        """
        return cls(f"mrs_window_{_NOT_IN_A_KEY.sub('_', settings.host.lower())}_{settings.port}_{cluster_id}")

    @classmethod
    def all(cls) -> list[Ledger]:
        """Return the ledgers of all clusters that ever had a window."""
        return [cls(name) for name in _registered()]

    def read(self) -> Record | None:
        """Return the record; None where there never was a window, or somebody has deleted the Variable."""
        text = Variable.get(self.name, None)
        return Record.from_json(text) if text else None

    def write(self, record: Record) -> None:
        """
        Replace the record.

        :param record: what is known now.
        """
        Variable.set(self.name, record.to_json(), "The maintenance window of an MRS cluster")

    def rewrite(self, record: Record) -> bool:
        """
        Replace the record of a window, unless another one has taken the cluster over meanwhile.

        :param record: what is known now.
        :return: whether it was replaced.
        """
        held = self.read()
        if held is not None and held.holder != record.holder:
            return False
        self.write(record)
        return True

    def claim(self, wanted: Record, dead: Record | None) -> Record | None:
        """
        Take the cluster for a window, unless another one holds it.

        What a dead window has left down is remembered: its services are not to be lost.

        :param wanted: the record of the window that wants the cluster.
        :param dead: the record of a window that was never closed, and never will be by itself.
        :return: the record that holds the cluster now, which is the caller's if its holder is; None where
            somebody else is just claiming it.
        """
        self._register()
        with _Lock(f"{self.name}_lock") as locked:
            if not locked:
                return None
            self._register()  # two clusters at once may have overwritten each other's entry
            held = self.read()
            if held is not None and not held.closed:
                if held != dead:
                    return held
                wanted = replace(wanted, before=_merged(held.before, wanted.before))
            self.write(wanted)
        return wanted

    def _register(self) -> None:
        names = _registered()
        if self.name not in names:
            Variable.set(
                _INDEX, json.dumps([*names, self.name]), "The Variables with maintenance windows of MRS"
            )

    def read_durations(self) -> Durations:
        """Return how long stops and starts took in earlier windows."""
        durations: Durations = json.loads(Variable.get(self._durations, None) or "{}")
        return durations

    def write_durations(self, durations: Durations) -> None:
        """
        Keep how long stops and starts took.

        :param durations: seconds, by service and action.
        """
        Variable.set(self._durations, json.dumps(durations), "How long services of an MRS cluster take")

    @property
    def _durations(self) -> str:
        return self.name.replace("mrs_window_", "mrs_durations_", 1)


class _Lock:
    """
    A lock for a moment, made of a Variable, which can be read and written but not compared and set.

    It is Fischer's: find it free, write yourself into it, wait longer than anybody takes between the two, and
    look whether you still stand there. Who notices that he took too long has not got it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._me = uuid.uuid4().hex

    def __enter__(self) -> bool:
        begun = time.monotonic()
        if self._taken_by() is not None:
            return False
        self._write({"by": self._me, "until": time.time() + _LOCK_LAPSES_AFTER})
        if time.monotonic() - begun > SETTLING_SECONDS / 2:
            return False
        time.sleep(SETTLING_SECONDS)
        return self._taken_by() == self._me

    def __exit__(self, *_: object) -> None:
        if self._taken_by() == self._me:
            self._write({})

    def _taken_by(self) -> str | None:
        content = json.loads(Variable.get(self._name, None) or "{}")
        return content["by"] if content and content["until"] > time.time() else None

    def _write(self, content: dict[str, str | float]) -> None:
        Variable.set(
            self._name, json.dumps(content), "Who is just claiming an MRS cluster for a maintenance window"
        )


def _registered() -> list[str]:
    names: list[str] = json.loads(Variable.get(_INDEX, None) or "[]")
    return names


def _merged(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return (*left, *(service for service in right if service not in left))
