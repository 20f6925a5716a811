"""A locked account keeps nothing down: its lockout is waited out, and the waiting itself does not renew it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import ContactLost, LoginRefused, Unreachable
from airflow_mrs.manager.session import forget_refusals
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.waiting import look, outlast_refusals, wait_for_change

from .driver import LOGGED_IN, NOW, SECURE, TO_LOGIN, Clock, Driver, called, command, page, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mrs.manager.message import Request, Response
    from airflow_mrs.manager.steps import Procedure

START = ServiceChange(Action.START, "HBase")
LOGIN_PAGE = page("<form><input type=password name=password></form>")
LOCKED = page("<p>Your account is locked.</p><form><input type=password name=password></form>")
CAPTCHA = page("<form><input type=password name=password><input name=captcha></form>")
LET_IN = page("Log In Successful", 200, ("Set-Cookie", "CASTGC=TGT-1; Path=/cas"))


@dataclass
class Account:
    """A Manager with one service that is down, whose account is locked; each attempt meanwhile renews that."""

    clock: Clock
    locked_until: float = NOW
    refuses: Response = LOCKED
    form: Response = LOGIN_PAGE
    attempts: list[float] = field(default_factory=list)
    sessions: int = 0
    lost: bool = False
    started: list[float] = field(default_factory=list)
    loses_sessions_at: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        return self._cas(request) if "/cas/login" in request.url else self._web(called(request))

    def _cas(self, request: Request) -> Response:
        if request.method == "GET":
            return self.form if self.is_locked else LOGIN_PAGE
        self.attempts.append(self.clock.now)
        if self.is_locked:
            self._lock()
            return self.refuses
        self.sessions += 1
        self.lost = False
        return LET_IN

    def _web(self, call: str) -> Response:
        if call in self.loses_sessions_at:
            self.loses_sessions_at.remove(call)
            self.lost = True
            self._lock()
        if self.lost:
            return TO_LOGIN
        if call.startswith("POST"):
            self.started.append(self.clock.now)
            return command("NEW", 4100)
        if "/command/" in call:
            return command("COMPLETE", 4100, progress=100)
        if call == "GET /access/login_check":
            return LOGGED_IN
        return service("Started" if self.started else "Stopped")

    def _lock(self) -> None:
        self.locked_until = max(self.locked_until, self.clock.now + 300)

    @property
    def is_locked(self) -> bool:
        return self.clock.now < self.locked_until


@pytest.fixture(autouse=True)
def _no_refusal_remembered() -> Iterator[None]:
    yield
    forget_refusals()


def process(account: Account, number: int = 0) -> Driver:
    """A worker: it shares nothing with the others, and so is told from them by its settings."""
    return Driver(account, account.clock, settings=replace(SECURE, name=f"mrs_{number}"))


def start(driver: Driver, *, timeout: float = 3600.0) -> None:
    """What a start in a window does."""
    contact = driver.contact(timeout=timeout)

    def whole() -> Procedure[None]:
        yield from look(contact, START)
        submitted = yield from submit(contact, START, None)
        if not submitted.over:
            yield from wait_for_change(contact, START, submitted.command_id)

    driver.run(outlast_refusals(whole(), contact.name, contact.deadline))


@pytest.mark.parametrize("second", range(0, 600, 47))
@pytest.mark.parametrize(
    ("refuses", "form"), [(LOCKED, LOGIN_PAGE), (CAPTCHA, LOGIN_PAGE), (LOCKED, CAPTCHA)]
)
def test_a_lockout_is_waited_out(second: int, refuses: Response, form: Response) -> None:
    clock = Clock(NOW + second)
    account = Account(clock, clock.now + 290, refuses, form)
    driver = process(account)

    start(driver)

    assert len(account.started) == 1
    assert 300 < clock.now - NOW - second < 1000
    assert len(account.attempts) <= 2
    assert len(driver.warnings) == 1
    assert any("no longer does" in text for _, text in driver.lines)


def test_many_processes_that_wait_do_not_keep_the_account_locked() -> None:
    """Each of them makes an attempt, and each attempt renews the lockout."""
    clock = Clock(NOW)
    account = Account(clock, NOW + 300)
    begins = [(NOW + 70.0 * number, process(account, number)) for number in range(12)]
    waits = [(at, driver, driver.contact()) for at, driver in begins]
    let_in: list[float] = []
    while waits and clock.now < NOW + 7200:
        waits.sort(key=lambda wait: wait[0])
        at, driver, contact = waits.pop(0)
        clock.now = max(clock.now, at)
        try:
            driver.call(START.look())
            let_in.append(clock.now)
        except LoginRefused:
            waits.append((clock.now + 15, driver, contact))

    assert len(let_in) == 12
    assert max(let_in) < NOW + 1900


def test_the_account_is_locked_between_the_look_and_the_request() -> None:
    clock = Clock(NOW)
    account = Account(clock, loses_sessions_at=["POST /maintain/cluster/1/service/HBase/start"])

    start(process(account))

    assert len(account.started) == 1
    assert account.sessions == 2


def test_the_account_is_locked_while_the_command_runs() -> None:
    clock = Clock(NOW)
    account = Account(clock, loses_sessions_at=["GET /common/command/4100/progress"])

    start(process(account))

    assert len(account.started) == 1
    assert clock.now > NOW + 300


def test_a_lockout_that_does_not_end_is_an_error_that_may_pass() -> None:
    clock = Clock(NOW)
    account = Account(clock, NOW + 1e9)

    with pytest.raises(ContactLost, match=r"has not let the account in for 3600 s.*is locked") as caught:
        start(process(account))

    assert not caught.value.permanent
    assert clock.now == NOW + 3600
    assert len(account.attempts) <= 7


def test_a_rejected_password_is_not_waited_for() -> None:
    rejected = page("The credentials you provided cannot be determined to be authentic")
    clock = Clock(NOW)
    account = Account(clock, NOW + 1e9, rejected)

    with pytest.raises(LoginRefused, match="rejected"):
        start(process(account))

    assert clock.now == NOW
    assert len(account.attempts) == 1


def test_an_outage_right_after_a_lockout_has_its_own_time() -> None:
    clock = Clock(NOW)
    account = Account(clock, NOW + 300)
    outage = iter([Unreachable("refused")] * 3)

    def manager(request: Request) -> Response:
        if account.sessions and (error := next(outage, None)):
            raise error
        return account(request)

    start(Driver(manager, clock, settings=SECURE))

    assert len(account.started) == 1
