"""Where Manager's two web servers are, and by which name they call themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from starlette.requests import Request

SECURITY_CHECK = "/web/cas_security_check.htm"


@dataclass(frozen=True)
class Site:
    """Both ports, and the host that redirects name; without one, they name the host that was asked."""

    web_port: int
    cas_port: int
    known_as: str | None = None

    def web(self, request: Request, path: str, query: str = "") -> str:
        """Return the address of something on the web server."""
        return f"https://{self._host(request)}:{self.web_port}{path}" + (f"?{query}" if query else "")

    def login(self, request: Request, service: str) -> str:
        """Return the address of the login page for a visit to `service`."""
        return f"https://{self._host(request)}:{self.cas_port}/cas/login?service={quote(service, safe='')}"

    def logout(self, request: Request) -> str:
        """Return the address where the single sign-on ends."""
        return f"https://{self._host(request)}:{self.cas_port}/cas/logout"

    def _host(self, request: Request) -> str:
        host = self.known_as or request.url.hostname or "localhost"
        return f"[{host}]" if ":" in host else host
