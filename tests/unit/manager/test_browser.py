from __future__ import annotations

import pytest

from airflow_mrs.manager.browser import Browser
from airflow_mrs.manager.errors import BadAnswer, ForeignRedirect
from airflow_mrs.manager.message import Request, Response
from airflow_mrs.manager.settings import Settings

from .driver import SECURE, converse, redirect

WEB, CAS = "https://10.0.0.5:28443", "https://10.0.0.5:20009"
KNOWN = Settings("m", "10.0.0.5", known_as=("manager.example", "fd00::5"))


def cookies(browser: Browser, url: str) -> str:
    return dict(browser.request("GET", url).headers).get("Cookie", "")


@pytest.mark.parametrize("domain", ["", "; domain=10.0.0.5", "; Domain=.10.0.0.5", '; domain="10.0.0.5"'])
def test_cookies_come_back_to_manager(domain: str) -> None:
    browser = Browser(SECURE)
    answer = Response(200, (("Set-Cookie", f"a=1; Path=/{domain}"), ("set-cookie", "b=2; Path=/cas; Secure")))
    browser.take_cookies(browser.request("GET", f"{CAS}/cas/login"), answer)
    assert set(cookies(browser, f"{CAS}/cas/login").split("; ")) == {"a=1", "b=2"}
    assert cookies(browser, f"{WEB}/web/v1") == "a=1"


@pytest.mark.parametrize(
    ("domain", "kept"), [("manager.example", True), (".Example", True), ("ager.example", False)]
)
def test_a_domain_of_a_name_that_manager_has_elsewhere(domain: str, kept: bool) -> None:
    browser = Browser(KNOWN)
    answer = Response(200, (("Set-Cookie", f"a=1; Path=/; Domain={domain}"),))
    browser.take_cookies(browser.request("GET", f"{CAS}/cas/login"), answer)
    assert cookies(browser, f"{WEB}/web/v1") == ("a=1" if kept else "")


def test_a_cookie_for_another_domain_and_one_that_is_over_are_dropped() -> None:
    browser = Browser(SECURE)
    answer = Response(200, (("Set-Cookie", "a=1; domain=.example"), ("Set-Cookie", "b=2; max-age=0")))
    browser.take_cookies(browser.request("GET", f"{WEB}/web"), answer)
    assert cookies(browser, f"{WEB}/web") == ""


def test_a_folded_cookie_brings_no_line_break_into_a_request() -> None:
    browser = Browser(SECURE)
    answer = Response(200, (("Set-Cookie", "a=1\r\n x: y"),))
    browser.take_cookies(browser.request("GET", f"{WEB}/web"), answer)
    assert "\n" not in cookies(browser, f"{WEB}/web")
    assert "\r" not in cookies(browser, f"{WEB}/web")


@pytest.mark.parametrize(
    ("url", "home"),
    [
        (f"{WEB}/web/x?y=1", f"{WEB}/web/x?y=1"),
        (f"{CAS}/cas/login", f"{CAS}/cas/login"),
        ("http://manager.example:80/web/x?y=1", f"{WEB}/web/x?y=1"),
        ("https://MANAGER.example./cas/login?z=2", f"{CAS}/cas/login?z=2"),
        ("https://[fd00::5]:1/casual", f"{WEB}/casual"),
    ],
)
def test_addresses_of_ones_own(url: str, home: str) -> None:
    assert Browser(KNOWN).home(url) == home


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://10.0.0.5:28443/",
        "https://10.0.0.5/",
        "https://10.0.0.5:28443@evil.example/",
        "https://10.0.0.5.evil.example:28443/",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_foreign(url: str) -> None:
    with pytest.raises(ForeignRedirect, match="known_as"):
        Browser(KNOWN).home(url)


def test_a_visit_follows_redirects_by_get_and_takes_the_password_nowhere() -> None:
    requests: list[Request] = []

    def manager(request: Request) -> Response:
        requests.append(request)
        return redirect(f"{WEB}/web/x?ticket=ST-1#top") if len(requests) == 1 else Response(200)

    visit = Browser(SECURE).visit(
        "POST", f"{CAS}/cas/login", (("Content-Type", "x"), ("Referer", "r")), b"password=1"
    )
    assert converse(visit, manager).url == f"{WEB}/web/x?ticket=ST-1"
    second = requests[1]
    assert (second.method, second.body) == ("GET", None)
    assert "Content-Type" not in dict(second.headers)
    assert "ST-1" not in repr(second)


def test_redirects_without_end() -> None:
    with pytest.raises(BadAnswer, match="come to no end"):
        converse(Browser(SECURE).visit("GET", f"{WEB}/web"), lambda _: redirect("/web?ticket=ST-1"))


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("https://anywhere.example/cas/login", True),
        ("https://anywhere.example/cas/login;jsessionid=1?service=x", True),
        ("https://anywhere.example/x/cas/login/", True),
        ("https://anywhere.example/cas/logins", False),
        (f"{WEB}/web/v1", False),
        ("https://[", False),
    ],
)
def test_what_a_login_page_is(url: str, login: bool) -> None:
    assert Browser(SECURE).is_login(url) is login


def test_a_redirect_in_bytes_that_are_no_text_is_still_an_address() -> None:
    target = Browser(SECURE).redirect(f"{WEB}/a/b", redirect("c d\udcff\u00e9"))
    assert target == f"{WEB}/a/c%20d?%C3%A9"
    assert Browser(SECURE).redirect(f"{WEB}/a", Response(200, (("Location", "/x"),))) is None


def test_cookies_are_few_and_short_and_those_that_are_there_stay() -> None:
    browser = Browser(SECURE)
    request = browser.request("GET", WEB)
    for answer in range(50):
        values = ["session=1", *(f"c{answer}-{n}=x" for n in range(50)), f"long{answer}={'x' * 10_000}"]
        browser.take_cookies(request, Response(200, tuple(("Set-Cookie", value) for value in values)))
    browser.take_cookies(request, Response(200, (("Set-Cookie", "session=2"),)))
    sent = cookies(browser, WEB).split("; ")
    assert len(sent) == 100
    assert "session=2" in sent
    assert max(map(len, sent)) < 100
