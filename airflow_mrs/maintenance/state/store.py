"""
Where the windows of a cluster are kept: in Airflow Variables, which outlive tasks, tries, runs and DAGs.

Variables can be read and written, not compared and set, and a write that was given up can still arrive much later. So each
opening of a window has a Variable of its own, which nobody else writes: a late write can only say of a window what it has
been. Who holds the cluster follows from all its records together.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException

from airflow_mrs.maintenance.state import variables
from airflow_mrs.maintenance.state.record import Phase, WindowRecord
from airflow_mrs.manager.words import clean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_mrs.maintenance.plan import Durations
    from airflow_mrs.maintenance.state.record import WindowKey
    from airflow_mrs.manager.settings import Settings

PREFIX = "mrs_window_"
_KEY = re.compile(
    rf"({PREFIX}[A-Za-z0-9_.-]+_[0-9]+_[0-9]+)(?:_([0-9]{{8}}T[0-9]{{12}}-[0-9a-f]{{8}})(-claim)?)?"
)
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_.-]+")
_DESCRIPTION = "A maintenance window of an MRS cluster"

KEPT = 5
"""Closed windows of a cluster that are kept."""

LEASE_SECONDS = 60.0
"""How long a claim may take. A worker that stood still for longer may have been taken for dead, and begins again."""

_LONGEST_DURATION = 7 * 86_400.0  # of a stop or a start

_LOOKS = 20
_LOOK_SECONDS = 0.5


class RecordUnreadable(AirflowException):
    """A Variable holds something else than it should. Somebody has edited it."""


@dataclass(frozen=True)
class ClusterWindows:
    """
    All windows of a cluster that are known.

    :param records: the records of those that have had the cluster, the oldest first.
    :param claims: the records of those that want it.
    :param unreadable: what is wrong with those that can't be read, by Variable.
    """

    records: tuple[WindowRecord, ...]
    claims: tuple[WindowRecord, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def of(self, holder: WindowKey) -> WindowRecord | None:
        """
        Return the record of a window: that of its last opening.

        :param holder: the window.
        """
        own = [record for record in self.records if record.holder == holder]
        replaced = {id_ for record in own for id_ in record.took_over}
        return max(
            (record for record in own if record.id not in replaced),
            key=lambda record: record.id,
            default=None,
        )

    def successor(self, record: WindowRecord) -> WindowRecord | None:
        """
        Return the record of the window that has taken the cluster over from another one.

        :param record: the other one.
        """
        return next((other for other in self.records if record.id in other.took_over), None)

    def taken_over_by(self, record: WindowRecord) -> list[WindowRecord]:
        """
        Return the records that another one stands for, directly or by one in between, the oldest first.

        :param record: the other one.
        """
        kept, found = {other.id: other for other in self.records}, dict[str, WindowRecord]()
        pending = [*record.took_over]
        while pending:
            id_ = pending.pop()
            if id_ in kept and id_ not in found:
                found[id_] = kept[id_]
                pending += kept[id_].took_over
        return sorted(found.values(), key=lambda other: other.id)

    def standing(self) -> list[WindowRecord]:
        """Return the records of windows that were neither closed nor taken over."""
        return [record for record in self.records if not record.closed and self.successor(record) is None]

    def require_readable(self) -> None:
        """
        Refuse to go on where it is not known who holds the cluster.

        :raises RecordUnreadable: naming the Variables.
        """
        if self.unreadable:
            wrong = listed([f"{key} ({reason})" for key, reason in self.unreadable.items()])
            raise RecordUnreadable(
                f"These Variables hold no record of a maintenance window: {wrong}. So it is not known what is down "
                "because of it. Look at the cluster, start what should run, and delete them."
            )


@dataclass(frozen=True)
class WindowStore:
    """
    The windows of one cluster.

    :param name: what tells the cluster from others, and what the keys of its Variables begin with.
    """

    name: str

    def __str__(self) -> str:
        return self.name.removeprefix(PREFIX)

    @classmethod
    def of(cls, settings: Settings, cluster_id: int) -> WindowStore:
        """
        Return the store of a cluster, the same for every connection to its host and port.

        :param settings: those of the connection.
        :param cluster_id: the cluster.
        """
        return cls(f"{PREFIX}{_NOT_IN_A_KEY.sub('_', settings.host.lower())}_{settings.port}_{cluster_id}")

    @classmethod
    def all(cls) -> list[WindowStore]:
        """
        Return the stores of all clusters whose windows are known.

        :raises VariablesUnreadable: where Airflow does not tell.
        """
        matches = map(_KEY.fullmatch, variables.keys(PREFIX))
        return [cls(name) for name in sorted({match[1] for match in matches if match})]

    @staticmethod
    def strays() -> list[str]:
        """
        Return the Variables that look as if they were a window's, and belong to no cluster.

        :raises VariablesUnreadable: where Airflow does not tell.
        """
        return [key for key in variables.keys(PREFIX) if not _KEY.fullmatch(key)]

    @classmethod
    def find(cls, holder: WindowKey) -> WindowStore | None:
        """
        Return the store in which a window is known, whichever cluster it holds.

        :param holder: the window.
        :return: its store; None where no cluster knows of it.
        :raises RecordUnreadable: where none does, and one has a record that can't be read.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        known = [(store, store.read()) for store in cls.all()]
        for store, windows in known:
            if windows.of(holder) is not None:
                return store
        for _, windows in known:
            windows.require_readable()
        return None

    def key(self, record: WindowRecord) -> str:
        """
        Return the Variable of a record. Versions before 0.1 had one for each cluster.

        A claim has one of its own: should it be written again, late, it is not to hide that the window has opened.

        :param record: the record.
        """
        if not record.id:
            return self.name
        return f"{self.name}_{record.id}" + ("-claim" if record.phase is Phase.CLAIMING else "")

    def read(self) -> ClusterWindows:
        """
        Return all windows of the cluster that are known.

        :raises VariablesUnreadable: where Airflow does not tell.
        """
        records, unreadable = [], dict[str, str]()
        for key in variables.keys(self.name):
            match = _KEY.fullmatch(key)
            if match is None or match[1] != self.name:
                continue
            text = variables.read(key)
            if text is None:  # deleted since it was listed
                continue
            try:
                records.append(self._read(key, text))
            except ValueError as error:
                unreadable[key] = clean(str(error))
        for record in _taken_over_in_a_circle([one for one in records if one.phase is not Phase.CLAIMING]):
            records.remove(record)
            unreadable[self.key(record)] = (
                "it is said to have been taken over by what it has taken over itself"
            )
        return ClusterWindows(
            tuple(record for record in records if record.phase is not Phase.CLAIMING),
            tuple(record for record in records if record.phase is Phase.CLAIMING),
            unreadable,
        )

    def _read(self, key: str, text: str) -> WindowRecord:
        record = WindowRecord.from_json(text)
        if self.key(record) != key:
            raise ValueError(f"a copy of {self.key(record)}")
        self.require_own(record)
        return record

    def require_own(self, record: WindowRecord) -> None:
        """
        Refuse a record that is about another cluster than that of this store.

        :param record: what somebody may have edited.
        :raises ValueError: where it is.
        """
        if not self.name.endswith(f"_{record.cluster_id}"):
            raise ValueError(f"it is about another cluster, {record.cluster_id}")

    def write(self, record: WindowRecord) -> None:
        """
        Keep what a window knows of itself.

        :param record: its record.
        :raises VariablesUnreadable: where Airflow does not confirm it.
        """
        variables.write(self.key(record), record.to_json(), _DESCRIPTION)

    def update(self, record: WindowRecord, change: Callable[[WindowRecord], WindowRecord]) -> WindowRecord:
        """
        Let a window go on to its next phase, if what is kept of it allows that.

        :param record: its record, as it was read. It is kept anew where somebody has deleted its Variable since.
        :param change: makes the next record of the one that is kept.
        :return: the record as it is kept now.
        :raises RecordUnreadable: where something else than a record is kept, or it was read too long ago.
        :raises ValueError: where it can't go on to that phase, because it has gone further.
        :raises VariablesUnreadable: where Airflow does not tell, or does not confirm it.
        """
        begun, key = time.monotonic(), self.key(record)
        text = variables.read(key)
        try:
            kept = record if text is None else self._read(key, text)
        except ValueError as error:
            raise RecordUnreadable(
                f"{record.holder}: Variable {key} holds no record any more: {error}"
            ) from None
        changed = change(kept)
        if time.monotonic() - begun > LEASE_SECONDS:
            raise RecordUnreadable(
                f"{record.holder}: Variable {key} was read too long ago. Nothing was written; a retry reads it again."
            )
        if text is None or changed != kept:
            self.write(changed)
        return changed

    def claim(self, wanted: WindowRecord, is_alive: Callable[[WindowRecord], bool]) -> WindowRecord | None:
        """
        Take the cluster for a window, unless another one holds it.

        Each claimant first says that it wants the cluster, and then looks who else does. So of two at least one sees the
        other, however long a write takes. Whoever sees one that has the cluster, or that came before it, withdraws.

        What dead windows have left down is remembered: their services are not to be lost.

        :param wanted: the record of the window that wants the cluster.
        :param is_alive: tells of the record of another window whether it still goes on.
        :return: the record that has the cluster now, which is the caller's if its holder is; None where somebody else is
            just claiming it.
        :raises RecordUnreadable: where it is not known who holds the cluster.
        :raises VariablesUnreadable: where Airflow does not tell, or does not confirm what is written.
        """
        begun = time.monotonic()
        self.write(wanted)
        variables.enlist(self.key(wanted), self.key(wanted.open()))
        rival, dead = self._look_around(wanted, is_alive)
        mine = None
        if rival is None and time.monotonic() - begun < LEASE_SECONDS:
            mine = wanted.open(instead_of=dead)
            self.write(mine)
            # Somebody may have taken this window for dead, if it stood still before that.
            rival, _ = self._look_around(mine, is_alive)
            if rival is not None:
                variables.delete(self.key(mine))
        variables.delete(self.key(wanted))
        if rival is None and mine is not None:
            self._forget_old_ones(is_alive)
            return mine
        return rival if rival is not None and rival.has_the_cluster else None

    def _look_around(
        self, mine: WindowRecord, is_alive: Callable[[WindowRecord], bool]
    ) -> tuple[WindowRecord | None, list[WindowRecord]]:
        """
        Return who is in the way of a claim, if anybody is, and the windows that will not close by themselves.

        Those that these have taken over are among them: whoever is forgotten must not leave one behind that stands again.
        """
        rival = None
        for _ in range(_LOOKS):
            windows = self.read()
            windows.require_readable()
            others = [record for record in windows.standing() if record.id != mine.id]
            for record in others:
                if record.holder != mine.holder and is_alive(record):
                    return record, []
            claims = [claim for claim in windows.claims if claim.holder != mine.holder and is_alive(claim)]
            if not claims:
                return None, [record for other in others for record in (*windows.taken_over_by(other), other)]
            rival = min(claims, key=lambda claim: claim.id)
            if rival.id < mine.id:
                return rival, []
            time.sleep(_LOOK_SECONDS)  # until whoever came later has seen this claim and has withdrawn
        return rival, []

    def _forget_old_ones(self, is_alive: Callable[[WindowRecord], bool]) -> None:
        """Keep the last closed windows. Whoever was taken over, directly or not, goes before the one that did so."""
        windows = self.read()
        forgotten = [claim for claim in windows.claims if not is_alive(claim)]
        for record in [record for record in windows.records if record.closed][:-KEPT]:
            forgotten += [*windows.taken_over_by(record), record]
        self.forget(forgotten)

    def forget(self, records: Iterable[WindowRecord]) -> None:
        """
        Delete records.

        :param records: those that nobody needs any more.
        :raises VariablesUnreadable: where Airflow does not confirm it.
        """
        for record in records:
            variables.delete(self.key(record))

    def read_durations(self) -> Durations:
        """
        Return how long stops and starts took in earlier windows.

        :raises RecordUnreadable: where something else is kept.
        :raises VariablesUnreadable: where Airflow does not tell.
        """
        text = variables.read(self._durations)
        try:
            durations: Durations = json.loads(text or "{}")
            return {
                service: {action: _duration(seconds) for action, seconds in actions.items()}
                for service, actions in durations.items()
            }
        except (AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise RecordUnreadable(
                f"Variable {self._durations} does not hold how long stops and starts took ({error}). Delete it."
            ) from None

    def write_durations(self, durations: Durations) -> None:
        """
        Keep how long stops and starts took.

        :param durations: seconds, by service and action.
        """
        variables.write(self._durations, json.dumps(durations), "How long services of an MRS cluster take")

    @property
    def _durations(self) -> str:
        return self.name.replace(PREFIX, "mrs_durations_", 1)


def _taken_over_in_a_circle(records: Sequence[WindowRecord]) -> list[WindowRecord]:
    """Return the records each of which stands for another one, so that nobody would bring back what they left down."""
    taken_over = {record.id: set(record.took_over) for record in records}

    def is_in_one(record: WindowRecord) -> bool:
        reached: set[str] = set()
        new = taken_over[record.id]
        while new:
            reached |= new
            new = set[str]().union(*(taken_over.get(id_, ()) for id_ in new)) - reached
        return record.id in reached

    return [record for record in records if is_in_one(record)]


def _duration(given: object) -> float:
    seconds = float(given)  # type: ignore[arg-type] # whatever somebody has edited
    if not 0 <= seconds <= _LONGEST_DURATION:
        raise ValueError(f"{seconds} is no length of time")
    return seconds
