"""Monitoring data of a cluster in which the same happens every day."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_METRICS = 10
_MOST_HOSTS = 50
_MOST_POINTS = 1000
_NODE_TYPES = {
    "active": ["node-master1"],
    "standby": ["node-master2"],
    "all": ["node-master1", "node-master2"],
}
_DAY = 86_400_000
_LAST = 10**15


@dataclass(frozen=True)
class MetricsQuery:
    """What to return: which metrics, from when to when (ms) in which period (s), of which nodes."""

    names: list[str]
    nodes: list[str]
    times: range

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read the query string of a call; raise ValueError if Manager would not take it."""
        names = [name for name in query.get("metric_names", "").split(",") if name]
        hosts = [host for host in query.get("hosts", "").split(",") if host]
        node_type = query.get("metric_node_type", "all")
        period = int(query.get("metric_period", "60")) * 1000
        start, end = int(query.get("start_time", "0")), int(query.get("end_time", "0"))
        if not 1 <= len(names) <= _MOST_METRICS:
            raise ValueError("metric_names: 1 to 10 names")
        if len(hosts) > _MOST_HOSTS:
            raise ValueError("hosts: up to 50")
        if node_type not in _NODE_TYPES:
            raise ValueError("metric_node_type: active, standby or all")
        if period <= 0 or not -_LAST <= start <= end <= _LAST:
            raise ValueError("metric_period, start_time, end_time: no such time")
        return cls(names, hosts or _NODE_TYPES[node_type], range(start, end + 1, period)[:_MOST_POINTS])

    def answer(self) -> dict[str, Any]:
        """Return the data as `res_obj`."""
        return {
            "metric_datas": {
                name: [
                    {"time": time, "value": _value(name, node, time), "node": node}
                    for time in self.times
                    for node in self.nodes
                ]
                for name in self.names
            }
        }


def _value(name: str, node: str, time: int) -> float:
    phase = zlib.crc32(f"{name} {node}".encode()) / 2**32
    return round(50 + 40 * math.sin(2 * math.pi * (time / _DAY + phase)), 2)
