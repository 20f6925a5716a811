"""Where requests come in on either port: they are named and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mrs.simulator import calls

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from airflow_mrs.simulator.journal import Journal


class Entrance:
    """The outermost layer of both web applications."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = calls.normalise(scope["path"])
        scope = {**scope, "path": path, "raw_path": path.encode()}
        self._journal.count_request(calls.name_of(scope["method"], path))
        await self._app(scope, receive, send)
