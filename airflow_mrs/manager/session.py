"""One session with Manager: cookies, its renewal when it is lost, and the memory of a refusal."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from airflow_mrs.manager import login
from airflow_mrs.manager.browser import Browser
from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    ForeignRedirect,
    LoginRefused,
    MRSError,
    PasswordUnanswered,
    RequestRefused,
    SessionLost,
    TooLate,
    Unreachable,
)
from airflow_mrs.manager.form import find_login_form
from airflow_mrs.manager.protocol import Call, open_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_mrs.manager.message import Flow, Request, Response
    from airflow_mrs.manager.settings import Settings

T = TypeVar("T")

_REJECTION_LAPSES_AFTER = 3600.0

_LOCKOUT = 330.0
"""Seconds that a lockout lasts by default, and half a minute."""

_BETWEEN_ATTEMPTS = 600.0
"""Seconds between two moments at which a login is tried again whose refusal can lapse: in all processes at the same ones."""
_UNAUTHORIZED = 401

_UNANSWERED_LAPSE_AFTER = 300.0
_MOST_UNANSWERED = 2

_refusals: dict[Settings, tuple[LoginRefused, float]] = {}
"""The last refusal of each login, and until when nobody tries it again."""

_unanswered: defaultdict[Settings, list[float]] = defaultdict(list)
login_locks: defaultdict[Settings, threading.Lock] = defaultdict(threading.Lock)
"""Held by a blocking driver while it logs in, so that threads don't try a wrong password side by side."""


@dataclass(frozen=True, slots=True)
class LogIn:
    """
    Asks the driver for a new session, if nobody got one since: the driver has the locks.

    :param generation: the session that was lost; 0 before the first.
    """

    generation: int


class Session:
    """
    A session that all calls of a process with the same settings may share.

    :param settings: where Manager is and how to get in.
    :param clock: seconds from any beginning.
    :param wall_clock: seconds since the epoch, which other processes share.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.generation = 0
        self._clock = clock
        self._wall_clock = wall_clock
        self._browser = Browser(settings)
        self._let_in = False

    def exchange(self, call: Call[T]) -> Generator[Request | LogIn, Response | None, T]:
        """
        Carry out a call: yields what to send, or :class:`LogIn`, and returns what the call reads.

        A lost session is renewed once. An answer that asks for a login was no acceptance, so the request is
        sent again after it, a POST too.

        :param call: the call.
        :raises MRSError: every way in which it can go wrong, named after the connection and the call.
        """
        try:
            if self.generation == 0:
                yield from self._renew(0)
            for renewable in (True, False):
                generation, browser = self.generation, self._browser
                request = self._request(browser, call)
                response = yield request
                if response is None:
                    raise TypeError("a request is answered with a response")
                browser.take_cookies(request, response)
                if not self._is_lost(browser, request, response):
                    return self._read(browser, call, request, response)
                if renewable:
                    yield from self._renew(generation)
        except ForeignRedirect:
            raise
        except (RequestRefused, AnswerLost, Unreachable, TooLate) as error:
            raise _named(error, f"{self.settings}: {call}") from None
        raise SessionLost(f"{self.settings}: {call}: Manager asked for a login again right after one.")

    def log_in(self) -> Flow[str | None]:
        """
        Begin a new session, unless the account is known to be refused.

        :return: a warning of Manager's about the password, if there is one.
        :raises LoginRefused: without a request where an earlier refusal still holds.
        """
        if known := self._known_refusal():
            raise LoginRefused(
                f"{known} (remembered from an earlier try; nothing was sent)", lapses=known.lapses
            )
        self._spare_the_account()
        browser = Browser(self.settings)
        try:
            warning = yield from login.log_in(self.settings, browser)
        except LoginRefused as refusal:
            _refusals[self.settings] = (refusal, self._clock() + self._lasts(refusal))
            raise
        except PasswordUnanswered:
            _unanswered[self.settings].append(self._clock())
            raise
        self._let_in = True
        self._browser = browser
        self.generation += 1
        return warning

    def log_out(self) -> Flow[None]:
        """Leave, if there is a session."""
        if self.generation:
            self.generation = 0
            yield from login.log_out(self.settings, self._browser)

    def _renew(self, generation: int) -> Generator[LogIn, Response | None, None]:
        try:
            yield LogIn(generation)
        except AnswerLost as error:
            # What got lost is an answer to the login, not one to the call.
            raise Unreachable(f"no session, the login failed: {error}") from None

    def _spare_the_account(self) -> None:
        """Hold a password back for a while that was sent more than once without an answer: it may be a wrong one."""
        if self._let_in:
            return  # with this very password
        recent = [
            sent
            for sent in _unanswered.pop(self.settings, [])
            if self._clock() - sent < _UNANSWERED_LAPSE_AFTER
        ]
        if recent:
            _unanswered[self.settings] = recent
        if len(recent) >= _MOST_UNANSWERED:
            raise Unreachable(
                f"{self.settings}: the CAS did not answer to the last {len(recent)} logins. Nothing is sent for five "
                "minutes, since each may have counted as a wrong password"
            )

    def _known_refusal(self) -> LoginRefused | None:
        refusal, until = _refusals.get(self.settings, (None, 0.0))
        if refusal is None or self._clock() <= until:
            return refusal
        _refusals.pop(self.settings, None)
        return None

    def _lasts(self, refusal: LoginRefused) -> float:
        """
        Return for how many seconds a refusal is taken to last.

        Nobody knows whether an attempt renews a lockout. So all processes that wait for its end try at the same moments, and
        between two of these it has the time to end.
        """
        if not refusal.lapses:
            return _REJECTION_LAPSES_AFTER
        return _LOCKOUT + -(self._wall_clock() + _LOCKOUT) % _BETWEEN_ATTEMPTS

    def _request(self, browser: Browser, call: Call[T]) -> Request:
        url = f"{self.settings.web_origin}/web/v1{call.path}"
        if call.query:
            url += "?" + urlencode(call.query)
        headers = [("Accept", "application/json")]
        body = None
        if call.body is not None:
            headers.append(("Content-Type", "application/json"))
            body = json.dumps(call.body).encode()
        return browser.request(call.method, url, headers, body)

    def _is_lost(self, browser: Browser, request: Request, response: Response) -> bool:
        target = browser.redirect(request.url, response)
        if target is not None:
            return browser.is_login(target)
        if response.status == _UNAUTHORIZED:
            return True
        # A page in answer to a POST tells nothing: something may have been accepted before it.
        return request.method == "GET" and find_login_form(_page(response)) is not None

    def _read(self, browser: Browser, call: Call[T], request: Request, response: Response) -> T:
        target = browser.redirect(request.url, response)
        if target is not None:
            browser.home(target)
            raise BadAnswer(f"HTTP {response.status} with a redirect that the API does not know")
        return call.read(open_envelope(response))


def _page(response: Response) -> str:
    return response.text if response.text.lstrip("\ufeff \t\r\n").startswith("<") else ""


def _named(error: MRSError, name: str) -> MRSError:
    text = f"{name}: {error}"
    if isinstance(error, BadAnswer):
        return BadAnswer(text, retry_after=error.retry_after, gateway=error.gateway)
    return type(error)(text)


def forget_refusals() -> None:
    """Forget every refusal, as a new process would."""
    _refusals.clear()
    _unanswered.clear()
