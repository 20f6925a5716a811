"""Who may log in, and the tickets that prove it: the single sign-on without its pages."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_mrs.simulator.sessions import IdleTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_mrs.simulator.cluster import Record

WRONG_PASSWORDS = 5
LOCK_SECONDS = 300.0
IDLE_SECONDS = 1200.0
_SERVICE_TICKET_SECONDS = 10.0


class Refusal(Enum):
    """Why a login form did not let its sender in."""

    STALE = auto()
    WRONG = auto()
    LOCKED = auto()


@dataclass(frozen=True)
class Form:
    """The hidden inputs of one login page."""

    lt: str
    execution: str
    token: str

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Tell whether a sent form is this one: `lt` must be there, and what else is there must be unharmed."""
        return (
            fields.get("lt") == self.lt
            and fields.get("execution", self.execution) == self.execution
            and fields.get("_token", self.token) == self.token
        )


@dataclass(frozen=True)
class Grant:
    """A ticket for one visit to one service."""

    granting: str
    user: str
    service: str


class SingleSignOn:
    """One account, its lockout, and three kinds of tickets: login, ticket-granting and service tickets."""

    def __init__(
        self,
        record: Record,
        user: str,
        password: str,
        *,
        idle_seconds: float = IDLE_SECONDS,
        lock_seconds: float = LOCK_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.user = user
        self._password = password
        self._record = record
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._wrong: dict[str, int] = {}
        self._locked_until: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._forms: IdleTable[Form] = IdleTable("", idle_seconds, clock)
        self._granting: IdleTable[str] = IdleTable("TGT-", idle_seconds, clock)
        self._service: IdleTable[Grant] = IdleTable("ST-", _SERVICE_TICKET_SECONDS, clock)

    def new_form(self) -> tuple[str, Form]:
        """Return a new CAS session and the form that can be sent within it once."""
        number = next(self._numbers)
        # '+' and '%' survive only form encoding; HTML leaves all of this alone.
        lt = f"[execution=e{number}s1][lt=LT-{number}-{secrets.token_hex(8)}+{secrets.token_hex(4)}%2B-cas]"
        form = Form(lt, f"e{number}s1", f'{secrets.token_hex(4)}&<"{secrets.token_hex(4)}">')
        return self._forms.add(form), form

    def log_in(self, cas_session: str | None, fields: Mapping[str, str]) -> str | Refusal:
        """Return a ticket-granting ticket for a filled-in form."""
        form = self._forms.take(cas_session)
        if form is None or not form.matches(fields) or fields.get("_eventId") != "submit":
            return Refusal.STALE
        user = fields.get("username", "")
        self._record("login attempted", user=user)
        if self.locked(user):
            self._record("login refused", user=user, reason="locked")
            return Refusal.LOCKED
        right = secrets.compare_digest(fields.get("password", "").encode(), self._password.encode())
        if user != self.user or not right:
            self._count_wrong(user)
            return Refusal.WRONG
        self._wrong.pop(user, None)
        self._record("login succeeded", user=user)
        return self._granting.add(user)

    def refuse(self, user: str, reason: str) -> None:
        """Note that somebody was not let in for a reason that is not the password's."""
        self._record("login attempted", user=user)
        self._record("login refused", user=user, reason=reason)

    def grant(self, granting: str | None, service: str) -> str | None:
        """Return a ticket for a service to the holder of a ticket-granting ticket."""
        user = self._granting.use(granting)
        if granting is None or user is None:
            return None
        return self._service.add(Grant(granting, user, _place(service)))

    def redeem(self, ticket: str | None, service: str) -> Grant | None:
        """Take a service ticket, which serves once and only the service it was made out to."""
        grant = self._service.take(ticket)
        return grant if grant is not None and grant.service == _place(service) else None

    def log_out(self, granting: str | None) -> None:
        """Let a ticket-granting ticket grant no more."""
        if self._granting.take(granting) is not None:
            self._record("logout")

    def locked(self, user: str) -> bool:
        """Tell whether an account is locked."""
        return self._clock() < self._locked_until.get(user, 0.0)

    def lock(self, user: str | None = None) -> None:
        """Lock an account for as long as five wrong passwords would."""
        self._locked_until[user or self.user] = self._clock() + self._lock_seconds
        self._record("account locked", user=user or self.user)

    def unlock(self, user: str | None = None) -> None:
        """Let an account in again."""
        self._locked_until.pop(user or self.user, None)
        self._wrong.pop(user or self.user, None)

    def expire(self) -> None:
        """Let every ticket and every open form expire."""
        for table in (self._forms, self._granting, self._service):
            table.clear()

    def _count_wrong(self, user: str) -> None:
        self._record("login refused", user=user, reason="wrong password")
        self._wrong[user] = self._wrong.get(user, 0) + 1
        if self._wrong[user] >= WRONG_PASSWORDS:
            del self._wrong[user]
            self.lock(user)


def _place(url: str) -> str:
    """Return what of an address does not depend on the name under which Manager is reached."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
