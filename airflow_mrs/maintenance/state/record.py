"""What is known of a window while services may be down because of it, and what it can become."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_mrs.manager.arguments import check_service_name
from airflow_mrs.manager.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NOT_MAPPED = -1

MOST_CHARACTERS = 64 * 1024
"""Of a record: many times those of one with all services of a cluster."""

_LAST_MOMENT = 253402300799.0  # of the last year that a date can have


class Phase(StrEnum):
    """
    How far a window is.

    ``CLAIMING``: it wants the cluster and has stopped nothing. ``OPEN``: services are being stopped, or the work goes on.
    ``CLOSING``: it is too late for both, services are being started. ``CLOSED``: all that was running before is running
    again.
    """

    CLAIMING = "claiming"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


BECOMES: Mapping[Phase, frozenset[Phase]] = {
    Phase.CLAIMING: frozenset({Phase.OPEN}),
    Phase.OPEN: frozenset({Phase.OPEN, Phase.CLOSING}),
    Phase.CLOSING: frozenset({Phase.CLOSING, Phase.CLOSED}),
    Phase.CLOSED: frozenset({Phase.CLOSED}),
}
"""What each phase can become. There is no way back: a window that is opened again has a new record."""


@dataclass(frozen=True)
class WindowKey:
    """
    A window, as a place in Airflow.

    :param dag_id: its DAG.
    :param run_id: its run.
    :param group_id: its task group. For the guard, which holds a cluster like a window, its task.
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
class WindowRecord:
    """
    One opening of a window. Only the window itself ever writes it.

    :param id: what tells it from all others; it begins with the moment at which it was made.
    :param holder: the window.
    :param mrs_conn_id: the connection to the cluster.
    :param cluster_id: the cluster.
    :param before: the services that were running when the window was first opened, in the order in which they are
        started.
    :param opened: when, in seconds since the epoch.
    :param cutoff: from when on nothing is stopped any more, in seconds since the epoch; None where there is no end.
    :param lapses: from when on it counts as dead, in seconds since the epoch: another window, or the guard, may take
        the cluster over.
    :param phase: how far it is.
    :param down: the services that were not running then.
    :param took_over: the ids of the records whose services it brings back in their place.
    :param still_after: seconds without any change of its tasks after which the guard takes it for one that has come to
        a standstill.
    """

    id: str
    holder: WindowKey
    mrs_conn_id: str
    cluster_id: int
    before: tuple[str, ...]
    opened: float
    cutoff: float | None
    lapses: float
    phase: Phase = Phase.CLAIMING
    down: tuple[str, ...] = ()
    took_over: tuple[str, ...] = ()
    still_after: float = 600.0

    @property
    def closed(self) -> bool:
        """Whether nothing is down because of it any more."""
        return self.phase is Phase.CLOSED

    @property
    def has_the_cluster(self) -> bool:
        """Whether services may be down because of it."""
        return self.phase in {Phase.OPEN, Phase.CLOSING}

    def open(self, instead_of: Iterable[WindowRecord] = ()) -> WindowRecord:
        """
        Return the record of a window that has the cluster.

        :param instead_of: the records of windows that will not bring back what they have stopped. This one does.
        """
        others = tuple(instead_of)
        return replace(
            self._become(Phase.OPEN),
            before=_merged(*(other.before for other in others), self.before),
            took_over=tuple(dict.fromkeys((*self.took_over, *(other.id for other in others)))),
        )

    def and_also(self, other: WindowRecord) -> WindowRecord:
        """
        Return the record of a window that also brings back what another record of it names.

        :param other: the other one, of the same opening; what was running then does not change.
        """
        return replace(self, before=_merged(other.before, self.before))

    def begin_to_close(self) -> WindowRecord:
        """Return the record of a window for whose stops and work it is too late."""
        return self._become(Phase.CLOSING)

    def close(self) -> WindowRecord:
        """Return the record of a window that has brought everything back."""
        return self._become(Phase.CLOSED)

    def _become(self, phase: Phase) -> WindowRecord:
        if phase not in BECOMES[self.phase]:
            raise ValueError(f"{self.holder} is {self.phase} and can't become {phase}.")
        return replace(self, phase=phase)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> WindowRecord:
        """
        Return the record that was kept.

        :param fields: what :meth:`to_dict` returned.
        :raises ValueError: for anything else, such as what somebody has edited.
        """
        try:
            record = cls(
                **{
                    "id": "",
                    **fields,
                    "holder": WindowKey(**fields["holder"]),
                    "phase": Phase(fields["phase"]),
                    "before": _services(fields["before"]),
                    "down": _services(fields.get("down", ())),
                    "took_over": _texts(fields.get("took_over", ())),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(clean(f"{type(error).__name__}: {error}")) from None
        if wrong := [name for name, fits in _FITS.items() if not fits(getattr(record, name))]:
            raise ValueError(f"not as it should be: {', '.join(wrong)}")
        return record

    def to_json(self) -> str:
        """Return the record as it is kept."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> WindowRecord:
        """
        Return the record that was kept.

        :param text: what :meth:`to_json` returned.
        :raises ValueError: for anything else.
        """
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"{len(text)} characters are too many")
        try:
            fields = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")  # noqa: TRY004 - one kind of error for all that is wrong with a text
        return cls.from_dict(fields)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_moment(value: object) -> bool:
    """Whether a value is a time that a window can have; also one of seconds. NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_MOMENT


def _is_window(value: object) -> bool:
    return (
        isinstance(value, WindowKey)
        and all(map(_is_text, (value.dag_id, value.run_id, value.group_id)))
        and _is_whole(value.map_index)
    )


_FITS: Mapping[str, Callable[[object], bool]] = {
    "id": lambda value: isinstance(value, str),
    "holder": _is_window,
    "mrs_conn_id": _is_text,
    "cluster_id": _is_whole,
    "opened": _is_moment,
    "cutoff": lambda value: value is None or _is_moment(value),
    "lapses": _is_moment,
    "still_after": _is_moment,
}


def new_id() -> str:
    """Return an id for a record, which sorts by the moment at which it was made."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        raise ValueError(f"{given!r} is no list of texts")
    return tuple(given)


def _services(given: object) -> tuple[str, ...]:
    return tuple(check_service_name(name) for name in _texts(given))


def _merged(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(service for services in lists for service in services))
