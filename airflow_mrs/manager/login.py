"""The ways into Manager, as conversations that a driver carries on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from airflow_mrs.manager.errors import (
    AnswerLost,
    BadAnswer,
    LoginRefused,
    PasswordUnanswered,
    RequestRefused,
    Unreachable,
)
from airflow_mrs.manager.form import find_login_form
from airflow_mrs.manager.model import CommandState
from airflow_mrs.manager.protocol import open_envelope
from airflow_mrs.manager.words import error_in_words

if TYPE_CHECKING:
    from airflow_mrs.manager.browser import Browser, Page
    from airflow_mrs.manager.message import Flow
    from airflow_mrs.manager.settings import Settings

_OK = 200
_REJECTED = "cannot be determined to be authentic"
_GRANTED = "CASTGC"
_MUST_CHANGE = "modify_password.html"
_LOCKED = re.compile(r"\blocked\b", re.IGNORECASE)
_SERVICE_PATH = "/web/cas_security_check.htm"
_JSON = (("Accept", "application/json"),)


def log_in(settings: Settings, browser: Browser) -> Flow[str | None]:
    """
    Get in, by the CAS where the settings say so.

    :param settings: the account.
    :param browser: holds the session's cookies afterwards.
    :return: a warning of Manager's about the password, if there is one.
    :raises LoginRefused: when the account is not let in.
    :raises PasswordUnanswered: when nobody knows what the CAS made of the password.
    :raises ForeignRedirect: when Manager or its CAS points elsewhere.
    :raises BadAnswer: when an answer is not that of a Manager.
    """
    if not settings.uses_cas:
        return (yield from _check(settings, browser))
    let_in = yield from _pass_cas(settings, browser)
    try:
        return (yield from _check(settings, browser))
    except (LoginRefused, AnswerLost, Unreachable) as error:
        if let_in:
            raise
        raise PasswordUnanswered(
            f"{settings}: the CAS said neither yes nor no to the login. {error}"
        ) from None


def log_out(settings: Settings, browser: Browser) -> Flow[None]:
    """
    Leave. Only clusters in security mode have a way out.

    :param settings: the account.
    :param browser: holds the session's cookies.
    """
    if settings.uses_cas:
        url = f"{settings.web_origin}/web/v1/logout_action?is_timeout_logout=false"
        request = browser.request("GET", url)
        browser.take_cookies(request, (yield request))
        yield browser.request("POST", f"{settings.cas_base}/logout", body=b"")


def _pass_cas(settings: Settings, browser: Browser) -> Flow[bool]:
    """Fill in the login form, and return whether the CAS lets us in as far as it says; only Manager knows."""
    page = yield from browser.visit("GET", f"{settings.cas_base}/login")
    form = find_login_form(page.response.text)
    if page.response.status != _OK or form is None:
        raise BadAnswer(
            f"{settings}: the CAS answered HTTP {page.response.status} "
            f"{'with' if form else 'without'} a login form. Check cas_port and cas_url."
        )
    if form.asks_captcha:
        raise LoginRefused(
            f"{settings}: the CAS asks for a CAPTCHA, so that no program can log in. Have CAPTCHAs switched off "
            "in Manager for this user. No password was sent.",
            lapses=True,
        )
    start = browser.resolve(page.url, form.base) if form.action else page.url
    action = browser.home(browser.resolve(start, form.action))
    fields = form.filled(settings.login or "", settings.password or "")
    if not any(name == "service" and value for name, value in (*fields, *parse_qsl(urlsplit(action).query))):
        service = urlencode({"service": settings.web_origin + _SERVICE_PATH})
        action += ("&" if urlsplit(action).query else "?") + service
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
    headers = (
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Origin", origin),
        ("Referer", page.url),
    )
    try:
        landed = yield from browser.visit("POST", action, headers, urlencode(fields).encode())
    except AnswerLost as error:
        raise PasswordUnanswered(str(error)) from None
    return _let_in(settings, browser, landed)


def _let_in(settings: Settings, browser: Browser, page: Page) -> bool:
    """Return whether a page is that of a successful login. False says that the page does not tell."""
    if not browser.in_cas(page.url):
        return True  # the CAS sent us on; what the web application shows there is not about the login
    text = page.response.text
    if browser.holds(_GRANTED) and _MUST_CHANGE not in text:
        return True  # the CAS let us in, whatever else its page talks about
    if _REJECTED in text:
        raise LoginRefused(
            f"{settings}: Manager rejected the login of user {settings.login!r}. Correct login and password in the "
            "connection; the same ones are not tried again for an hour, since five wrong passwords lock the account."
        )
    if _MUST_CHANGE in text:
        raise _must_change_password(settings)
    form = find_login_form(text)
    if form is not None and form.asks_captcha:
        raise LoginRefused(
            f"{settings}: the CAS did not let user {settings.login!r} in and now asks for a CAPTCHA. Log in once by "
            "hand, and have CAPTCHAs switched off in Manager for this user.",
            lapses=True,
        )
    if _LOCKED.search(text):
        raise LoginRefused(
            f"{settings}: the account of user {settings.login!r} is locked. It is unlocked after five minutes by "
            "default, if nobody tries a wrong password meanwhile. Find out who does.",
            lapses=True,
        )
    if form is not None:
        raise LoginRefused(
            f"{settings}: the CAS did not let user {settings.login!r} in and shows its login page again. Check login "
            "and password, and by a browser whether the account is locked; the same ones are not tried again for an hour."
        )
    if page.response.status != _OK:
        raise PasswordUnanswered(f"{settings}: the CAS answered HTTP {page.response.status} to the login")
    return False


def _check(settings: Settings, browser: Browser) -> Flow[str | None]:
    """Ask Manager itself whether this is a session. Only its JSON decides."""
    url = f"{settings.web_origin}/web/v1/access/login_check"
    if settings.uses_cas:
        page = yield from browser.visit("GET", url, _JSON)
    else:
        page = yield from _visit_without_cas(settings, browser, url)
    if browser.is_login(page.url) or find_login_form(page.response.text):
        raise LoginRefused(
            f"{settings}: Manager asks for another login right after that of user {settings.login!r}.",
            lapses=True,
        )
    try:
        envelope = open_envelope(page.response)
    except RequestRefused as error:
        raise LoginRefused(f"{settings}: login_check was refused: {error}.", lapses=True) from None
    except BadAnswer as error:
        raise BadAnswer(
            f"{settings}: login_check answered {error}.", retry_after=error.retry_after, gateway=error.gateway
        ) from None
    if envelope.flag("modify_pwd"):
        raise _must_change_password(settings)
    if envelope.state.upper() != CommandState.COMPLETE or envelope.error_code:
        raise LoginRefused(
            f"{settings}: Manager did not begin a session: {envelope.state or 'no state'}, "
            f"{error_in_words(envelope.error_code, envelope.error_description)}.",
            lapses=True,
        )
    if envelope.flag("remind_pwd"):
        return f"{settings}: the password of user {settings.login!r} expires soon; change it in Manager."
    return None


def _visit_without_cas(settings: Settings, browser: Browser, url: str) -> Flow[Page]:
    visit = browser.visit("GET", url, _JSON)
    request = next(visit)
    while True:
        response = yield request
        target = browser.redirect(request.url, response)
        if target is not None and browser.is_login(target):
            visit.close()
            raise LoginRefused(
                f"{settings}: Manager asks for a login, so this cluster is in security mode. Set login and password "
                "in the connection, and leave 'auth' out of its extra or set it to 'cas'."
            )
        try:
            request = visit.send(response)
        except StopIteration as stop:
            page: Page = stop.value
            return page


def _must_change_password(settings: Settings) -> LoginRefused:
    return LoginRefused(
        f"{settings}: the password of user {settings.login!r} must be changed before anything works. Change it in "
        "Manager, then put the new one into the connection."
    )
