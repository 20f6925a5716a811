from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_mrs.manager import login
from airflow_mrs.manager.browser import Browser
from airflow_mrs.manager.errors import (
    BadAnswer,
    ForeignRedirect,
    LoginRefused,
    MRSError,
    PasswordUnanswered,
    Unreachable,
)
from airflow_mrs.manager.message import Response

from .driver import LOGGED_IN, NORMAL, SECURE, TO_LOGIN, answer, converse, page, redirect

if TYPE_CHECKING:
    from airflow_mrs.manager.message import Request

FORM = page(
    "<form action=login><input type=hidden name=lt value='[lt=LT-1]'><input name=username>"
    "<input type=password name=password></form>",
    200,
    ("Set-Cookie", "casSessionId=1; Path=/cas"),
)
CAS = "https://10.0.0.5:20009/cas"
SUCCESS = page("<h1>Log In Successful</h1>", 200, ("Set-Cookie", "CASTGC=TGT-1; Path=/cas"))


class Answers:
    """Gives one answer after the other and keeps what was asked. One that is an error is raised."""

    def __init__(self, *answers: Response | MRSError) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        outcome = self.answers.pop(0)
        if isinstance(outcome, MRSError):
            raise outcome
        return outcome


def get_in(*answers: Response | MRSError) -> tuple[str | None, list[Request]]:
    manager = Answers(*answers)
    return converse(login.log_in(SECURE, Browser(SECURE)), manager), manager.requests


def test_the_cas_dance_with_a_success_page() -> None:
    to_ticket = redirect("https://10.0.0.5:28443/web/cas_security_check.htm?ticket=ST-1")
    warning, requests = get_in(FORM, SUCCESS, TO_LOGIN, to_ticket, LOGGED_IN)
    assert warning is None
    assert [request.method for request in requests] == ["GET", "POST", "GET", "GET", "GET"]
    post = requests[1]
    assert parse_qs(urlsplit(post.url).query) == {
        "service": ["https://10.0.0.5:28443/web/cas_security_check.htm"]
    }
    fields = parse_qs((post.body or b"").decode())
    assert (fields["username"], fields["password"], fields["lt"]) == (
        ["admin"],
        ["s3cret-word"],
        ["[lt=LT-1]"],
    )
    assert dict(post.headers)["Cookie"] == "casSessionId=1"
    assert "CASTGC=TGT-1" in dict(requests[3].headers)["Cookie"]


def test_the_cas_dance_with_a_ticket_at_once() -> None:
    to_ticket = redirect("https://10.0.0.5:28443/web/cas_security_check.htm?ticket=ST-1")
    assert len(get_in(FORM, to_ticket, page("<p>hello"), LOGGED_IN)[1]) == 4


def test_a_password_that_expires_soon_is_a_warning() -> None:
    warning, _ = get_in(FORM, SUCCESS, answer(state="COMPLETE", error_code=0, remind_pwd=True))
    assert warning is not None
    assert "expires soon" in warning


CAPTCHA = page("<form><input type=password name=password><input name=captcha></form>")


@pytest.mark.parametrize(
    ("answers", "message", "lapses"),
    [
        (
            [FORM, page("The credentials you provided cannot be determined to be authentic")],
            "rejected the login",
            False,
        ),
        ([FORM, page("<a href=modify_password.html>")], "must be changed", False),
        ([FORM, page("Your account is LOCKED")], "is locked", True),
        ([FORM, FORM], "shows its login page again", False),
        ([FORM, CAPTCHA], "now asks for a CAPTCHA", True),
        ([CAPTCHA], "No password was sent", True),
        ([FORM, SUCCESS, FORM], "asks for another login", True),
        ([FORM, SUCCESS, answer(state="COMPLETE", modifyPwd="true")], "must be changed", False),
        (
            [FORM, SUCCESS, answer(state="FAILED", error_code=-5, error_description="no")],
            "error -5: no",
            True,
        ),
        ([FORM, SUCCESS, answer(state="COMPLETE", error_code=-5)], "did not begin a session", True),
        ([FORM, SUCCESS, page("", 403)], "login_check was refused", True),
    ],
)
def test_ways_not_to_be_let_in(answers: list[Response], message: str, lapses: bool) -> None:
    with pytest.raises(LoginRefused, match=message) as caught:
        get_in(*answers)
    assert caught.value.lapses is lapses
    assert "s3cret-word" not in str(caught.value)


@pytest.mark.parametrize("answers", [[page("", 503)], [page("<p>?")], [FORM, SUCCESS, page("", 502)]])
def test_answers_that_are_not_of_a_manager(answers: list[Response]) -> None:
    with pytest.raises(BadAnswer):
        get_in(*answers)


SILENCE = page("<p>Starting up, please wait")


@pytest.mark.parametrize(
    "answers",
    [
        [page("", 503)],
        [SILENCE, FORM],
        [SILENCE, page("", 502)],
        [SILENCE, Unreachable("refused")],
        [page("", 200), FORM],
        [answer(state="COMPLETE"), FORM],
    ],
)
def test_a_cas_that_says_neither_yes_nor_no_has_refused_nobody(answers: list[Response | MRSError]) -> None:
    with pytest.raises(PasswordUnanswered) as caught:
        get_in(FORM, *answers)
    assert not caught.value.permanent
    assert "s3cret-word" not in str(caught.value)


def test_where_the_cas_says_nothing_manager_may_say_yes() -> None:
    warning, _ = get_in(FORM, SILENCE, LOGGED_IN)
    assert warning is None


@pytest.mark.parametrize(
    ("base", "action", "target"),
    [
        ("/cas/portal/", "../login", f"{CAS}/login"),
        ("portal/", "enter", f"{CAS}/portal/enter"),
        ("/elsewhere/", "", f"{CAS}/login"),
        ("https://10.0.0.5:20009/x/", "y", "https://10.0.0.5:20009/x/y"),
    ],
)
def test_an_action_starts_from_the_base_of_its_page(base: str, action: str, target: str) -> None:
    form = page(f"<base href='{base}'><form action='{action}'><input type=password name=password></form>")
    _, requests = get_in(form, SUCCESS, LOGGED_IN)
    assert requests[1].url.partition("?")[0] == target


def test_a_base_leads_no_password_out_of_the_two_origins() -> None:
    manager = Answers(
        page("<base href=//evil.example/><form action=x><input type=password name=password></form>")
    )
    with pytest.raises(ForeignRedirect):
        converse(login.log_in(SECURE, Browser(SECURE)), manager)
    assert len(manager.requests) == 1


def test_a_page_in_utf_16() -> None:
    utf_16 = Response(200, (("Content-Type", "text/html"),), FORM.body.decode().encode("utf-16"))
    assert len(get_in(utf_16, SUCCESS, LOGGED_IN)[1]) == 3


def test_no_password_leaves_the_two_origins() -> None:
    manager = Answers(page("<form action=https://evil.example/><input type=password name=password></form>"))
    with pytest.raises(ForeignRedirect):
        converse(login.log_in(SECURE, Browser(SECURE)), manager)
    assert len(manager.requests) == 1


def test_normal_mode_needs_no_cas() -> None:
    manager = Answers(LOGGED_IN)
    assert converse(login.log_in(NORMAL, Browser(NORMAL)), manager) is None
    assert [request.url for request in manager.requests] == [
        "https://10.0.0.5:28443/web/v1/access/login_check"
    ]


def test_without_a_login_a_cas_is_never_followed() -> None:
    manager = Answers(TO_LOGIN)
    with pytest.raises(LoginRefused, match="security mode"):
        converse(login.log_in(NORMAL, Browser(NORMAL)), manager)


def test_only_security_mode_has_a_way_out() -> None:
    manager = Answers(TO_LOGIN, page(""))
    converse(login.log_out(SECURE, Browser(SECURE)), manager)
    assert [request.method for request in manager.requests] == ["GET", "POST"]
    converse(login.log_out(NORMAL, Browser(NORMAL)), Answers())
