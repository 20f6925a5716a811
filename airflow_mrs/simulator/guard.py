"""Who may call the REST API: those with a session, those with a ticket; the others are sent to the login page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from airflow_mrs.simulator import pages
from airflow_mrs.simulator.site import SECURITY_CHECK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_mrs.simulator.cluster import Record
    from airflow_mrs.simulator.sessions import IdleTable
    from airflow_mrs.simulator.site import Site
    from airflow_mrs.simulator.sso import SingleSignOn

LOGIN_CHECK = "/web/v1/access/login_check"
LOGOUT = "/web/v1/logout_action"
_NOBODY = "nobody"


class Guard:
    """Let requests through to `app` that have a session, or that may open one."""

    def __init__(
        self,
        app: ASGIApp,
        site: Site,
        sessions: IdleTable[str],
        sso: SingleSignOn | None,
        record: Record,
    ) -> None:
        """Guard a cluster in security mode, or one in normal mode if there is no single sign-on."""
        self._app = app
        self._site = site
        self._sessions = sessions
        self._sso = sso
        self._record = record
        self._cookie = "FISessionId" if sso is None else "JSESSIONID"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        path = request.url.path
        if path.startswith("/simulator"):
            await self._app(scope, receive, send)
            return
        session = request.cookies.get(self._cookie)
        if fresh := self._sessions.use(session) is None:
            session = self._open(request)
        if session is None:
            await self._to_login(request)(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and (fresh or path == LOGIN_CHECK):
                cookie = f"{self._cookie}={session}; Path=/web; Secure; HttpOnly"
                MutableHeaders(raw=message["headers"]).append("Set-Cookie", cookie)
            await send(message)

        await self._answer(request, session)(scope, receive, send_with_cookie)

    def _open(self, request: Request) -> str | None:
        if self._sso is None:
            if request.url.path != LOGIN_CHECK:
                return None
            self._record("login attempted", user=None)
            self._record("login succeeded", user=None)
            return self._sessions.add(_NOBODY)
        ticket = parse_qs(request.url.query).get("ticket", [None])[0]
        grant = self._sso.redeem(ticket, _without_ticket(request))
        return None if grant is None else self._sessions.add(grant.granting)

    def _to_login(self, request: Request) -> Response:
        back = (
            self._site.web(request, *_without_ticket(request).split("?", 1))
            if request.method == "GET"
            else self._site.web(request, SECURITY_CHECK)
        )
        return Response(status_code=302, headers={"Location": self._site.login(request, back)})

    def _answer(self, request: Request, session: str) -> ASGIApp:
        if request.url.path == SECURITY_CHECK:
            return Response(status_code=302, headers={"Location": self._site.web(request, "/web/index.html")})
        if request.url.path == "/web/index.html":
            return HTMLResponse(pages.page("MRS Manager", "Nothing to see here: this is a simulator."))
        if request.url.path == LOGOUT and self._sso is not None:
            self._sessions.drop(session)
            return Response(status_code=302, headers={"Location": self._site.logout(request)})
        return self._app


def _without_ticket(request: Request) -> str:
    rest = [part for part in request.url.query.split("&") if part and not part.startswith("ticket=")]
    return "?".join([request.url.path, *(["&".join(rest)] if rest else [])])
