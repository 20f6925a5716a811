"""Who may use the control interface: whoever sits at this machine, but no web page that is open there.

A page of the web can send requests to this machine from the browser of somebody who works here. Its requests give it away:
they name the page's own site as `Host` if its name was made to lead here, and as `Origin` or `Referer` otherwise.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from airflow_mrs.simulator.envelope import PlainJSON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(?:([\w.-]+)|\[([0-9a-f:.]+)\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def name_in(host: str) -> str | None:
    """Return the name or address in a `Host` header, in small letters; None if it is no such header."""
    match = _HOST.fullmatch(host)
    return None if match is None else (match[1] or match[2]).lower()


def is_loopback(address: str) -> bool:
    """Tell whether this is an address by which a machine reaches only itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback


class NoStrangers:
    """Let requests through to `app` that come from no stranger."""

    def __init__(self, app: ASGIApp, names: Iterable[str], *, everywhere: bool) -> None:
        """Answer to these names; `everywhere`: to other machines as well, and to any address."""
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}
        self._everywhere = everywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        peer, _ = scope["client"] or ("nobody knows where", 0)
        answer = self._app
        if (stranger := self._stranger(peer, Headers(scope=scope))) is not None:
            answer = PlainJSON({"error": f"this interface is not for {stranger}"}, 403)
        await answer(scope, receive, send)

    def _stranger(self, peer: str, headers: Headers) -> str | None:
        if not self._everywhere and not is_loopback(peer):
            return f"other machines: {peer}"
        host = headers.get("Host", "")
        if not self._is_ours(name_in(host)):
            return f"other hosts: {host}"
        here = f"https://{host}".lower()
        for origin in headers.getlist("Origin"):
            if origin.lower() != here:
                return f"pages of other sites: {origin}"
        for page in headers.getlist("Referer"):
            if not f"{page.lower()}/".startswith(f"{here}/"):
                return f"pages of other sites: {page}"
        for site in headers.getlist("Sec-Fetch-Site"):
            if site not in {"same-origin", "none"}:
                return f"pages of other sites: {site}"
        return None

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._names or is_loopback(name) or (self._everywhere and _is_address(name))


def _is_address(name: str) -> bool:
    """Tell whether this is an address: no trick with names makes one lead elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
