"""The calls that the simulator knows, by name."""

from __future__ import annotations

import re

CONTROL = "control"

_CALLS: tuple[tuple[str, str, str], ...] = (
    ("login_page", "GET", r"/cas/login"),
    ("login", "POST", r"/cas/login"),
    ("cas_logout", "GET|POST", r"/cas/logout"),
    ("login_check", "GET", r"/web/v1/access/login_check"),
    ("logout", "GET", r"/web/v1/logout_action"),
    ("clusters", "GET", r"/web/v1/clusters"),
    ("cluster_status", "GET", r"/web/v1/cluster/[^/]+/status"),
    ("service", "GET", r"/web/v1/cluster/[^/]+/services/[^/]+"),
    ("stop", "POST", r"/web/v1/maintain/cluster/[^/]+/service/[^/]+/stop"),
    ("start", "POST", r"/web/v1/maintain/cluster/[^/]+/service/[^/]+/start"),
    ("progress", "GET", r"/web/v1/common/command/[^/]+/progress"),
    ("save", "POST", r"/web/v1/config/cluster/[^/]+/save"),
    ("metrics", "GET", r"/web/v1/monitor/metrics_info"),
    (CONTROL, r"\w+", r"/simulator(/.*)?"),
)

NAMES = frozenset(name for name, _, _ in _CALLS) | {"other"}
"""All of them."""


def normalise(path: str) -> str:
    """Return a path without repeated slashes, which clients are known to send."""
    return re.sub(r"/{2,}", "/", path)


def name_of(method: str, path: str) -> str:
    """Return the name of a call, `other` if it has none."""
    for name, methods, pattern in _CALLS:
        if re.fullmatch(methods, method) and re.fullmatch(pattern, path):
            return name
    return "other"
