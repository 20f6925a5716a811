"""The pages of the single sign-on, on a port of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_mrs.simulator import pages
from airflow_mrs.simulator.sso import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from airflow_mrs.simulator.faults import PageName
    from airflow_mrs.simulator.sessions import IdleTable
    from airflow_mrs.simulator.sso import SingleSignOn

Answer = Literal["page", "redirect"]

_SESSION = "casSessionId"
_TICKET = "CASTGC"
_MESSAGES = {Refusal.STALE: None, Refusal.WRONG: pages.WRONG_PASSWORD, Refusal.LOCKED: pages.LOCKED}
_FAULT_MESSAGES: Mapping[PageName, str] = {
    "captcha": pages.WRONG_CAPTCHA,
    "locked": pages.LOCKED,
    "wrong_password": pages.WRONG_PASSWORD,
}


class Cas:
    """`/cas/login` and `/cas/logout`."""

    def __init__(self, sso: SingleSignOn, sessions: IdleTable[str], answer: Answer = "page") -> None:
        self._sso = sso
        self._sessions = sessions
        self._answer = answer

    def app(self) -> Starlette:
        """Return the web application."""
        return Starlette(
            routes=[
                Route("/cas/login", self._open, methods=["GET"]),
                Route("/cas/login", self._log_in, methods=["POST"]),
                Route("/cas/logout", self._log_out, methods=["GET", "POST"]),
            ]
        )

    async def _open(self, request: Request) -> Response:
        service = request.query_params.get("service")
        if service is not None and not _ours(service):
            return _not_authorized()
        granting = request.cookies.get(_TICKET)
        ticket = self._sso.grant(granting, service or "")
        if ticket is None:
            return self._form(captcha=_fault(request) == "captcha")
        return _to_service(service, ticket) if service else HTMLResponse(pages.logged_in())

    async def _log_in(self, request: Request) -> Response:
        service = request.query_params.get("service")
        if service is not None and not _ours(service):
            return _not_authorized()
        fields = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        if (fault := _fault(request)) is not None:
            return self._refuse(fault, fields.get("username", ""))
        granting = self._sso.log_in(request.cookies.get(_SESSION), fields)
        if isinstance(granting, Refusal):
            return self._form(_MESSAGES[granting])
        if service and self._answer == "redirect":
            response = _to_service(service, self._sso.grant(granting, service) or "")
        else:
            response = HTMLResponse(pages.logged_in())
        _set(response, "CASPRIVACY", "")
        # A known client takes the last cookie of this answer.
        _set(response, _TICKET, granting)
        return response

    async def _log_out(self, request: Request) -> Response:
        granting = request.cookies.get(_TICKET)
        self._sso.log_out(granting)
        self._sessions.drop_held(granting or "")
        response = HTMLResponse(pages.page("Logout successful", "You have successfully logged out."))
        _set(response, _TICKET, "")
        return response

    def _refuse(self, fault: PageName, user: str) -> Response:
        self._sso.refuse(user, fault)
        if fault == "modify_password":
            return HTMLResponse(pages.change_password())
        return self._form(_FAULT_MESSAGES[fault], captcha=fault == "captcha")

    def _form(self, message: str | None = None, *, captcha: bool = False) -> Response:
        session, form = self._sso.new_form()
        response = HTMLResponse(pages.login(form, message, captcha=captcha))
        # A known client takes the first cookie of this answer.
        _set(response, _SESSION, session)
        response.set_cookie("locale", "en-us", path="/", secure=True)
        return response


def _fault(request: Request) -> PageName | None:
    return getattr(request.state, "login_page", None)


def _ours(service: str) -> bool:
    return urlsplit(service).path.startswith("/web/")


def _not_authorized() -> Response:
    text = "The application you attempted to authenticate to is not authorized to use CAS."
    return HTMLResponse(pages.page("Application Not Authorized to Use CAS", text), status_code=403)


def _to_service(service: str, ticket: str) -> Response:
    joint = "&" if urlsplit(service).query else "?"
    return Response(status_code=302, headers={"Location": f"{service}{joint}ticket={ticket}"})


def _set(response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, path="/cas", secure=True, httponly=True, max_age=None if value else 0)
