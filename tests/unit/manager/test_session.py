from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.manager import protocol
from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    ForeignRedirect,
    LoginRefused,
    SessionLost,
    Unreachable,
)
from airflow_mrs.manager.session import forget_refusals

from .driver import LOGIN_CHECK, SECURE, TO_LOGIN, Driver, Script, command, page, redirect, service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mrs.manager.message import Request, Response

LOOK, SEND = "GET /cluster/1/services/HBase", "POST /maintain/cluster/1/service/HBase/stop"
ACCEPTED = command("NEW", 4100)
LOGIN_PAGE = page("<form><input type=password name=password></form>")


@pytest.fixture(autouse=True)
def _no_refusal_remembered() -> Iterator[None]:
    yield
    forget_refusals()


@pytest.mark.parametrize("lost", [TO_LOGIN, redirect("https://elsewhere.example/cas/login"), page("", 401)])
def test_a_lost_session_is_renewed_once_and_the_request_repeated(lost: Response) -> None:
    driver = Driver(Script({SEND: [lost, ACCEPTED]}))
    assert driver.call(protocol.stop_service("HBase")).id == 4100
    assert driver.session.generation == 2
    with pytest.raises(SessionLost):
        Driver(Script({SEND: [lost]})).call(protocol.stop_service("HBase"))


def test_a_login_page_in_answer_to_a_get_is_a_lost_session_and_to_a_post_a_lost_answer() -> None:
    assert (
        Driver(Script({LOOK: [LOGIN_PAGE, service("Stopped")]})).call(protocol.get_service("HBase")).word
        == "Stopped"
    )
    post = Script({SEND: [LOGIN_PAGE]})
    with pytest.raises(AnswerLost):
        Driver(post).call(protocol.stop_service("HBase"))
    assert post.count("POST") == 1


def test_an_answer_lost_in_the_login_is_not_one_to_the_request() -> None:
    driver = Driver(Script({LOGIN_CHECK: [AnswerLost("timed out")], SEND: [ACCEPTED]}))
    with pytest.raises(Unreachable, match="the login failed"):
        driver.call(protocol.stop_service("HBase"))


def test_other_redirects() -> None:
    with pytest.raises(BadAnswer, match="redirect"):
        Driver(Script({LOOK: [redirect("/web/index.html")]})).call(protocol.get_service("HBase"))
    with pytest.raises(ForeignRedirect):
        Driver(Script({LOOK: [redirect("https://evil.example/")]})).call(protocol.get_service("HBase"))


def test_errors_name_the_connection_and_the_call_and_keep_what_they_know() -> None:
    driver = Driver(Script({LOOK: [page("", 503, ("Retry-After", "9"))]}))
    with pytest.raises(BadAnswer, match="'mrs_test': GET /cluster/1/services/HBase: HTTP 503") as caught:
        driver.call(protocol.get_service("HBase"))
    assert (caught.value.retry_after, caught.value.gateway) == (9.0, True)


def test_a_refusal_is_remembered_for_ten_minutes() -> None:
    driver = Driver(Script({LOGIN_CHECK: [page("", 403)], LOOK: [service("Stopped")]}))
    script = driver.manager
    assert isinstance(script, Script)
    for seconds, asked in ((0, 1), (599, 1), (2, 2)):
        driver.clock.now += seconds
        with pytest.raises(LoginRefused):
            driver.call(protocol.get_service("HBase"))
        assert script.calls.count(LOGIN_CHECK) == asked


def test_a_rejected_password_is_tried_again_after_an_hour() -> None:
    sent: list[Request] = []

    def manager(request: Request) -> Response:
        if request.method != "POST":
            return LOGIN_PAGE
        sent.append(request)
        return page("The credentials you provided cannot be determined to be authentic")

    driver = Driver(manager, settings=SECURE)
    for seconds, attempts in ((0, 1), (3599, 1), (2, 2), (3599, 2), (2, 3)):
        driver.clock.now += seconds
        with pytest.raises(LoginRefused, match="for an hour"):
            driver.call(protocol.get_service("HBase"))
        assert len(sent) == attempts


def test_a_password_without_an_answer_is_sent_twice_in_five_minutes() -> None:
    sent: list[Request] = []

    def manager(request: Request) -> Response:
        if "/cas/login" not in request.url:
            return TO_LOGIN
        if request.method == "POST":
            sent.append(request)
            return page("<p>Starting up, please wait")
        return LOGIN_PAGE

    driver = Driver(manager, settings=SECURE)
    for seconds, attempts in ((0, 1), (1, 2), (1, 2), (297, 2), (2, 3)):
        driver.clock.now += seconds
        with pytest.raises(
            Unreachable, match="neither yes nor no" if len(sent) < attempts else "Nothing is sent"
        ):
            driver.call(protocol.get_service("HBase"))
        assert len(sent) == attempts
