"""What the guard has seen of windows at its last looks: whether anything of them moves."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mrs.maintenance.state import variables

if TYPE_CHECKING:
    from airflow_mrs.maintenance.state.runs import TaskStates

_KEY = "mrs_guard_observations"

LONGEST_GAP = 900.0
"""Seconds between two looks after which nothing follows from the first one: Airflow itself was down, perhaps."""


@dataclass
class Observations:
    """
    The windows that stood still at the last look of the guard, and those that do so now.

    :param earlier: what was seen at the last look, by record.
    """

    earlier: dict[str, dict[str, Any]]
    now: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Observations:
        """
        Return what was seen at the last look. What somebody has edited is as good as nothing: it only takes longer.

        :raises VariablesUnreadable: where Airflow does not tell.
        """
        try:
            earlier = json.loads(variables.read(_KEY) or "{}")
        except (ValueError, RecursionError):
            earlier = {}
        return cls(earlier if isinstance(earlier, dict) else {})

    def still_for(self, record_id: str, states: TaskStates) -> float:
        """
        Return for how many seconds nothing of a window has moved, as far as the guard has looked.

        :param record_id: the record of the window.
        :param states: those of its tasks now.
        """
        now = time.time()
        last = self.earlier.get(record_id)
        match last:
            case {"states": seen, "since": float(since), "last": float(at)} if (
                seen == states and since <= at <= now <= at + LONGEST_GAP
            ):
                begun = since
            case _:
                begun = now
        self.now[record_id] = {"states": states, "since": begun, "last": now}
        return now - begun

    def write(self) -> None:
        """Keep what was seen for the next look, if there is anything new to keep."""
        if self.now or self.earlier:
            variables.write(_KEY, json.dumps(self.now), "Windows that the guard has seen standing still")
