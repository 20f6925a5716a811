"""What a browser does between requests: cookies, redirects, and a close eye on where they lead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from typing import TYPE_CHECKING
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import Request as CookieRequest

from airflow_mrs.manager.errors import BadAnswer, ForeignRedirect
from airflow_mrs.manager.message import Flow, Request, Response
from airflow_mrs.manager.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mrs.manager.settings import Settings

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 10
_MOST_COOKIES = 100
_LONGEST_COOKIE = 8 * 1024  # browsers take half of that
_LOGIN_PATH = re.compile(r"/cas/login(;|/?$)")
_COOKIE_DOMAIN = re.compile(r";\s*domain\s*=\s*\"?([^;\"]*)\"?", re.IGNORECASE)
_QUOTED_PATH = re.compile(r"(;\s*path\s*=\s*)\"([^;\"]*)\"", re.IGNORECASE)
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # a folded line, bytes that are no UTF-8
_ALWAYS_SENT = (
    ("User-Agent", "airflow-provider-mrs"),
    ("Accept-Encoding", "identity"),
    ("X-Language", "en-us"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """Where a visit ended, and what was there."""

    url: str
    response: Response


class _Jar(CookieJar):
    """Keeps so many cookies and no more, each in its newest value."""

    def set_cookie(self, cookie: Cookie) -> None:
        kept = {(kept.domain, kept.path, kept.name) for kept in self}
        if len(kept) < _MOST_COOKIES or (cookie.domain, cookie.path, cookie.name) in kept:
            super().set_cookie(cookie)


class Browser:
    """
    A cookie jar and the two origins it may be used for: Manager's web application and its CAS.

    It follows redirects within them only. An address by which Manager is known elsewhere
    (``Settings.known_as``) is taken to the configured origin.

    :param settings: where Manager is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jar = _Jar()
        self._web = urlsplit(settings.web_origin)
        self._cas = urlsplit(settings.cas_base)
        self._own_names = {name.rstrip(".").lower() for name in settings.known_as}

    def request(
        self, method: str, url: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> Request:
        """
        Build a request with the cookies that belong to it.

        :param method: the HTTP method.
        :param url: an address in one of the two origins.
        :param headers: headers of this request alone.
        :param body: its body.
        :return: the request, ready to be sent.
        """
        carrier = CookieRequest(url, method=method)  # noqa: S310 - only a carrier of cookies
        self._jar.add_cookie_header(carrier)
        cookie = carrier.get_header("Cookie")
        cookies = (("Cookie", cookie),) if cookie else ()
        return Request(method, url, (*_ALWAYS_SENT, *headers, *cookies), body)

    def take_cookies(self, request: Request, response: Response) -> None:
        """
        Keep the cookies that a response sets.

        :param request: what was sent.
        :param response: what came.
        """
        message = Message()
        for name, value in response.headers:
            if name.lower() in {"set-cookie", "set-cookie2"} and len(value) <= _LONGEST_COOKIE:
                cookie = _QUOTED_PATH.sub(r"\1\2", _UNSENDABLE.sub(" ", value))
                message["Set-Cookie"] = _COOKIE_DOMAIN.sub(self._without_own_domain, cookie)
        carrier = CookieRequest(request.url, method=request.method)  # noqa: S310 - only a carrier of cookies
        self._jar.extract_cookies(_Headers(message), carrier)  # type: ignore[arg-type]  # it reads info() alone

    def visit(
        self, method: str, url: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> Flow[Page]:
        """
        Send a request and follow the redirects of its answer, always by GET.

        :param method: the HTTP method of the first request.
        :param url: its address.
        :param headers: the headers of every request of the visit.
        :param body: the body of the first request; it goes nowhere else.
        :return: where the visit ended.
        :raises ForeignRedirect: when a redirect leads out of the two origins. It is not followed.
        :raises BadAnswer: when the redirects come to no end.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            request = self.request(method, url, headers, body)
            response = yield request
            self.take_cookies(request, response)
            target = self.redirect(url, response)
            if target is None:
                return Page(url, response)
            url = self.home(target)
            method, body = "GET", None
            headers = tuple(header for header in headers if header[0] not in {"Content-Type", "Origin"})
        raise BadAnswer(f"{self._settings}: the redirects of {_bare(url)} come to no end.")

    def redirect(self, url: str, response: Response) -> str | None:
        """
        Return the address that a response redirects to.

        :param url: the address that was asked.
        :param response: its answer.
        :return: an absolute address, not checked in any way; None where there is no redirect.
        """
        location = response.header("Location")
        if response.status not in _REDIRECTS or location is None:
            return None
        return self.resolve(url, location)

    def resolve(self, url: str, reference: str) -> str:
        """
        Return the address that a page refers to, in the characters that an address may have.

        :param url: the page's address.
        :param reference: what stands in a ``Location`` or in a form's ``action``.
        :return: an absolute address without a fragment, not checked in any way.
        :raises BadAnswer: when it is no address.
        """
        try:
            target = urldefrag(urljoin(url, reference)).url
        except ValueError:
            raise BadAnswer(f"{self._settings}: {_bare(url)} leads to no valid address.") from None
        return quote(target, safe="%/:=&?~#+!$,;'@()*[]", errors="replace")

    def home(self, url: str) -> str:
        """
        Take an address to the configured origins.

        :param url: an absolute address.
        :return: the address in the settings' own spelling; for a host in ``known_as`` the same place there.
        :raises ForeignRedirect: for any other host.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise BadAnswer(f"{self._settings}: a redirect leads to no valid address.") from None
        for own in (self._web, self._cas):
            if (parts.scheme, host, port or 443) == ("https", (own.hostname or "").lower(), own.port or 443):
                return urlunsplit((own.scheme, own.netloc, parts.path, parts.query, ""))
        if host in self._own_names:
            own = self._cas if f"{parts.path}/".startswith(f"{self._cas.path}/") else self._web
            return urlunsplit((own.scheme, own.netloc, parts.path, parts.query, ""))
        there = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ForeignRedirect(
            f"{self._settings}: a redirect leads to {clean(there)}, which is "
            f"neither {self._web.scheme}://{self._web.netloc} nor {self._cas.scheme}://{self._cas.netloc}; nothing "
            f"was sent there. If {clean(host) or 'that'} is a name of this same Manager (behind a tunnel or a DNS name), "
            "add it to 'known_as' in the connection's extra."
        )

    def holds(self, cookie_name: str) -> bool:
        """Whether a cookie of that name was set."""
        return any(cookie.name == cookie_name for cookie in self._jar)

    def in_cas(self, url: str) -> bool:
        """Whether an address in the configured origins belongs to the CAS application."""
        return f"{url}/".startswith(f"{self._settings.cas_base}/")

    def is_login(self, url: str) -> bool:
        """Whether an address is that of a CAS login page, on whatever host."""
        try:
            return bool(_LOGIN_PATH.search(urlsplit(url).path)) or url.startswith(
                self._settings.cas_base + "/login"
            )
        except ValueError:
            return False

    def _without_own_domain(self, attribute: re.Match[str]) -> str:
        """Drop a domain of Manager's: an address can't have one, and none is needed."""
        domain = attribute[1].strip().strip(".").lower()
        own = domain in {self._web.hostname, self._cas.hostname} or any(
            f".{name}".endswith(f".{domain}") for name in self._own_names
        )
        return "" if own else attribute[0]


class _Headers:
    """The part of an HTTP response that a cookie jar looks at."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        return self._message


def _bare(url: str) -> str:
    """Return an address without its query, in which tickets travel."""
    return clean(re.split(r"[?;]", url, maxsplit=1)[0])
