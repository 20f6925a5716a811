"""Where requests come in on either port: they are named and counted, and some go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse

from airflow_mrs.simulator import calls, pages
from airflow_mrs.simulator.exchange import Exchange
from airflow_mrs.simulator.strangers import name_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from airflow_mrs.simulator.journal import Journal
    from airflow_mrs.simulator.schedule import Faults


class Entrance:
    """The outermost layer of both web applications."""

    def __init__(
        self, app: ASGIApp, journal: Journal, faults: Faults, expire_sessions: Callable[[bool], None]
    ) -> None:
        self._app = app
        self._journal = journal
        self._faults = faults
        self._expire_sessions = expire_sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if name_in(Headers(scope=scope).get("Host", "localhost")) is None:
            # What lies behind reads addresses, which a Host could turn into others.
            await HTMLResponse(pages.page("HTTP Status 400", "No such host."), 400)(scope, receive, send)
            return
        path = calls.normalise(scope["path"])
        scope = {**scope, "path": path, "raw_path": path.encode()}
        call = calls.name_of(scope["method"], path)
        self._journal.count_request(call)
        fault = None if call == calls.CONTROL else self._faults.take(call, path)
        if fault is None:
            await self._app(scope, receive, send)
            return
        self._journal.record("fault", call=call, kind=fault.kind)
        exchange = Exchange(self._app, scope, receive, send, self._expire_sessions)
        await fault.serve(exchange)
