"""What is known of a window while services may be down because of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

NOT_MAPPED = -1


class Phase(StrEnum):
    """
    How far a window is.

    ``OPEN``: services are being stopped, or the work goes on. ``CLOSING``: it is too late for both, services are being
    started. ``CLOSED``: all that was running before is running again.
    """

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, order=True)
class Holder:
    """
    The window that holds a cluster, as a place in Airflow.

    :param dag_id: its DAG.
    :param run_id: its run.
    :param group_id: its task group.
    :param map_index: its index where it stands in a mapped group.
    """

    dag_id: str
    run_id: str
    group_id: str
    map_index: int = NOT_MAPPED

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"window {self.group_id!r}{index} of run {self.run_id!r} of DAG {self.dag_id!r}"


@dataclass(frozen=True)
class Record:
    """
    A window.

    :param holder: who opened it.
    :param mrs_conn_id: the connection to the cluster.
    :param cluster_id: the cluster.
    :param before: the services that were running when it was first opened, in the order in which they are started.
    :param opened: when, in seconds since the epoch.
    :param cutoff: from when on nothing is stopped any more, in seconds since the epoch; None where there is no end.
    :param lapses: from when on it counts as dead, in seconds since the epoch: another window, or the guard, may take
        the cluster over.
    :param phase: how far it is.
    """

    holder: Holder
    mrs_conn_id: str
    cluster_id: int
    before: tuple[str, ...]
    opened: float
    cutoff: float | None
    lapses: float
    phase: Phase = Phase.OPEN

    @property
    def closed(self) -> bool:
        """Whether nothing is down because of it any more."""
        return self.phase is Phase.CLOSED

    def to_json(self) -> str:
        """Return the record as it is kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """
        Return the record that was kept.

        :param text: what :meth:`to_json` returned.
        """
        fields = json.loads(text)
        return cls(
            **{
                **fields,
                "holder": Holder(**fields["holder"]),
                "before": tuple(fields["before"]),
                "phase": Phase(fields["phase"]),
            }
        )
