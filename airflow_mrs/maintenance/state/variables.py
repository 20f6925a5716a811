"""
Airflow's Variables, read so that what is unreadable is never taken for absent.

``Variable.get(key, default)`` is of no use for that. In Airflow 3 it returns the default for every failure of the API
server but 401 and 403, and that server answers 404 for any error of its database. In Airflow 2 it passes over errors of
secrets backends. Here an absence must be confirmed, and what can't be confirmed is asked again and then is an error.
"""

from __future__ import annotations

import json
import logging
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds for which Airflow is asked again before an error is raised. Airflow's own client has tried several times by then."""

MOST_INDEXED = 30
"""Records of one cluster that an index lists. Many fewer are kept."""

_PAUSE = 2.0


class VariablesUnreadable(AirflowException):
    """Airflow does not tell what is in a Variable, or whether there is one. Nothing was decided; a retry may help."""


def read(key: str) -> str | None:
    """
    Return the content of a Variable.

    :param key: its key.
    :return: its content; None where there surely is no such Variable.
    :raises VariablesUnreadable: where Airflow does not tell for a minute.
    """
    return _firmly(f"Variable {key!r} can't be read", lambda: _access().read(key))


def keys(prefix: str) -> list[str]:
    """
    List Variables.

    :param prefix: what their keys begin with.
    :return: the keys, sorted.
    :raises VariablesUnreadable: where Airflow does not tell for a minute.
    """
    return _firmly(f"Variables {prefix}... can't be listed", lambda: sorted(_access().keys(prefix)))


def write(key: str, text: str, description: str) -> None:
    """
    Set a Variable.

    :param key: its key.
    :param text: its content.
    :param description: what it is, for people who look through Airflow's Variables.
    :raises VariablesUnreadable: where Airflow does not confirm it for a minute. It may have been set, or may yet be.
    """
    _firmly(f"Variable {key!r} can't be written", lambda: Variable.set(key, text, description))


def delete(key: str) -> None:
    """
    Delete a Variable, if it is there.

    :param key: its key.
    :raises VariablesUnreadable: where Airflow does not confirm it for a minute.
    """
    _firmly(f"Variable {key!r} can't be deleted", lambda: Variable.delete(key))


def enlist(*keys: str) -> None:
    """
    See to it that :func:`keys` lists Variables, where Airflow itself lists none.

    :param keys: their keys.
    :raises VariablesUnreadable: where Airflow does not confirm it for a minute.
    """
    _firmly(f"Variable {keys[0]!r} can't be enlisted", lambda: _access().enlist(keys))


def damaged() -> list[str]:
    """
    Name the Variables by which Airflow's are listed, where it lists none itself, and which somebody has edited.

    :raises VariablesUnreadable: where Airflow does not tell for a minute.
    """
    return _firmly("The index of windows can't be read", lambda: list(_access().damaged()))


def _firmly(failed: str, ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except VariablesUnreadable:
            raise
        except Exception as error:  # whatever Airflow raises
            if time.monotonic() + _PAUSE >= deadline:
                raise VariablesUnreadable(
                    f"{failed}: Airflow has not answered for {PATIENCE:.0f} s, last with {type(error).__name__}. Nothing "
                    "was decided by that. Try again when Airflow's API server and database answer."
                ) from error
            log.warning("%s, asking again: %s", failed, type(error).__name__)
            time.sleep(_PAUSE)


class _Access(Protocol):
    """How Variables are read and listed. Each error is one of Airflow's."""

    def read(self, key: str) -> str | None: ...
    def keys(self, prefix: str) -> Iterable[str]: ...
    def enlist(self, keys: Iterable[str]) -> None: ...
    def damaged(self) -> Iterable[str]: ...


@cache
def _access() -> _Access:
    if not Variable.__module__.startswith("airflow.sdk"):
        return _Database()
    return _Listed() if hasattr(Variable, "keys") else Indexed()


class _Database:
    """Airflow 2, where tasks reach the database."""

    def read(self, key: str) -> str | None:
        from airflow.utils.session import create_session  # noqa: PLC0415 - imports the database's models

        rows: Any = Variable
        with create_session() as session:
            row = session.query(rows).filter(rows.key == key).one_or_none()
            if row is None:
                return None
            if row.val is None:  # it can't be decrypted
                raise LookupError(key)
            return str(row.val)

    def keys(self, prefix: str) -> Iterable[str]:
        from airflow.utils.session import create_session  # noqa: PLC0415 - imports the database's models

        rows: Any = Variable
        with create_session() as session:
            return [
                key for (key,) in session.query(rows.key).filter(rows.key.startswith(prefix, autoescape=True))
            ]

    def enlist(self, keys: Iterable[str]) -> None:
        """Do nothing: every Variable is listed."""

    def damaged(self) -> Iterable[str]:
        """Return nothing: there is no index."""
        return ()


class _Listed:
    """Airflow 3.3 and later, whose list of keys fails where it can't be read."""

    def read(self, key: str) -> str | None:
        text: str | None = Variable.get(key, None)
        if text is None and key in self.keys(key):
            raise LookupError(key)
        return text

    def keys(self, prefix: str) -> Iterable[str]:
        return list(Variable.keys(prefix=prefix))

    def enlist(self, keys: Iterable[str]) -> None:
        """Do nothing: every Variable is listed."""

    def damaged(self) -> Iterable[str]:
        """Return nothing: there is no index."""
        return ()


class Indexed:
    """
    Airflow 3.0 to 3.2, which list no Variables.

    A Variable is absent only if another one, which is surely there, can be read right after it. Keys are listed in an
    index. Several tasks may write that at a time, or a write may arrive late, so that an entry can get lost. So there are
    copies of it, each written on its own; what one of them lists is listed. Who adds an entry looks a while later whether
    it is still there, and each later task of a window looks once more. A copy that somebody has edited into something else is
    left as it is: it says that entries may be missing.
    """

    copies = ("mrs_windows", "mrs_windows_2", "mrs_windows_3")
    witness = "mrs_windows_witness"
    settling_seconds = 1.0
    rounds = 10

    def read(self, key: str) -> str | None:
        """Return the content of a Variable; None where there surely is none."""
        text: str | None = Variable.get(key, None)
        if text is not None:
            return text
        if Variable.get(self.witness, None) is None:
            # Its content never changes, so that writing it can do no harm.
            Variable.set(self.witness, "If this can be read, what can't be read is not there.")
        text = Variable.get(key, None)
        if text is None and Variable.get(self.witness, None) is None:
            raise LookupError(key)
        return text

    def keys(self, prefix: str) -> Iterable[str]:
        """List the Variables of the index."""
        copies = {copy: self._entries(copy) for copy in self.copies}
        damaged = [copy for copy, entries in copies.items() if entries is None]
        if damaged and not any(copies.values()):
            raise VariablesUnreadable(
                f"Variables {', '.join(damaged)} hold no list of Variables any more: somebody has edited them. So it is not "
                "known which windows there are. Look at the clusters, start what should run, and delete them."
            )
        return {key for entries in copies.values() for key in entries or () if key.startswith(prefix)}

    def enlist(self, keys: Iterable[str]) -> None:
        """Add Variables to each copy of the index where they are not there."""
        for _ in range(self.rounds):
            copies = {copy: self._entries(copy) for copy in self.copies}
            incomplete = [
                copy
                for copy, entries in copies.items()
                if entries is not None and not entries.issuperset(keys)
            ]
            if not incomplete:
                return
            for copy in incomplete:
                entries = self._entries(copy)
                if entries is not None:
                    Variable.set(copy, json.dumps(_newest(entries.union(keys))), "Maintenance windows of MRS")
            time.sleep(self.settling_seconds * (1 + random.random()))  # noqa: S311 - so that no two keep step
        raise LookupError(*keys)

    def damaged(self) -> Iterable[str]:
        """Name the copies of the index that somebody has edited."""
        return [copy for copy in self.copies if self._entries(copy) is None]

    def _entries(self, copy: str) -> set[str] | None:
        """Return what a copy lists; None where it is no list of keys."""
        text = self.read(copy)
        if text is None:
            return set()
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            return None
        return set(entries)


def _newest(entries: Iterable[str]) -> list[str]:
    """Leave out entries of records that are long gone: those of a cluster differ in what follows the last underscore."""
    clusters: dict[str, list[str]] = {}
    for entry in sorted(entries):
        clusters.setdefault(entry.rpartition("_")[0], []).append(entry)
    return [entry for of_one in clusters.values() for entry in of_one[-MOST_INDEXED:]]
