"""Whatever comes over the wire, only the package's own errors come out, soon, in words that can be logged."""

from __future__ import annotations

import gzip
import json
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from airflow_mrs.manager import login, protocol
from airflow_mrs.manager.browser import Browser
from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import BadAnswer, LoginRefused, MRSError
from airflow_mrs.manager.form import find_login_form
from airflow_mrs.manager.message import Request, Response
from airflow_mrs.manager.model import Configuration, ServiceState
from airflow_mrs.manager.note import Kept, Note
from airflow_mrs.manager.saving import ConfigurationSave, save
from airflow_mrs.manager.session import LogIn, Session, forget_refusals
from airflow_mrs.manager.submission import submit
from airflow_mrs.manager.transport import unpack
from airflow_mrs.manager.waiting import (
    poll_command,
    poll_service,
    wait_for_change,
    wait_until_over,
)
from airflow_mrs.manager.words import MOST_ENTRIES

from .driver import NORMAL, SECURE, Driver, answer, converse, redirect

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from airflow_mrs.manager.settings import Settings
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact

CALLS: list[protocol.Call[Any]] = [
    protocol.stop_service("HBase"),
    protocol.get_command(0),
    protocol.get_service("HBase"),
    protocol.get_service("HBase", status_property="state"),
    protocol.list_clusters(),
    protocol.get_cluster_health(),
    protocol.save_configuration([Configuration("HDFS", {"a": "b"})]),
    protocol.get_metrics(["m"], start_time=0, end_time=1),
]

KEYS = [
    *("id", "state", "error_code", "errorCode", "error_description", "total_progress", "res_obj", "resObj"),
    *("step_list", "name", "description", "fail_entity_list", "fail_entity", "operation_type"),
    *("total_step_size", "key_property", "value", "type", "clusters", "stack_model", "cluster_state"),
    *("metric_datas", "time", "node", "modify_pwd", "remind_pwd"),
]
any_text = st.text(st.characters(codec=None, exclude_categories=())) | st.sampled_from(
    ["COMPLETE", "FAILED", "STATUS", "Started", "1e999", "9" * 400, "-1", "NaN", "\ud800"]
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | any_text, inner),
    max_leaves=15,
)
envelopes = st.dictionaries(st.sampled_from(KEYS), any_json)
bodies = (
    st.binary()
    | any_json.map(lambda value: json.dumps(value).encode())
    | envelopes.map(lambda value: json.dumps(value).encode())
)

ATTRIBUTES = [
    *(
        "type=password",
        "type=hidden",
        "type=submit",
        "name=lt",
        "name=username",
        "name=\ud800",
        "value='&#xd800;<'",
    ),
    *(
        "action=/cas/login",
        "action='//['",
        "action=https://evil.example/",
        "action='#top'",
        "action='?a=b#c'",
    ),
    *(
        "action='https://10.0.0.5:x/'",
        "action='\u00e9 \udcff'",
        "hidden",
        "style=display:none",
        "form=f",
        "id=f",
    ),
    *("checked", "selected", "disabled", "name=captcha"),
]
TAGS = [
    "form",
    "input",
    "select",
    "option",
    "button",
    "div",
    "p",
    "script",
    "textarea",
    "/form",
    "/div",
    "/select",
]
tags = st.builds(
    lambda tag, attributes, end: f"<{' '.join([tag, *attributes])}{end}",
    st.sampled_from(TAGS),
    st.lists(st.sampled_from(ATTRIBUTES), max_size=4),
    st.sampled_from([">", "/>", ""]),
)
markup = st.lists(
    tags | st.sampled_from(["<!", "<![if x]>", "<!--", "-->", "<?", "&#x110000;", "&"]) | any_text
).map("".join)
a_login_form = (
    "<form action=/cas/login><input name=lt type=hidden value=LT-1><input type=password name=password>"
)
pages = st.builds(
    lambda before, form, after: before + form + after, markup, st.sampled_from(["", a_login_form]), markup
)

addresses = any_text | st.sampled_from(
    [
        *(
            "https://10.0.0.5:20009/cas/login",
            "https://10.0.0.5:28443/web/x?ticket=ST-1",
            "/cas/login;jsessionid=1",
        ),
        *(
            "//[",
            "https://[::1",
            "https://10.0.0.5:99999/",
            "https://10.0.0.5:x/",
            "https://evil.example/cas/login",
        ),
        *(
            "javascript:alert(1)",
            "https://u:p@10.0.0.5:28443/",
            "http://\u2100.example/",
            "\udcff",
            "",
            "?",
            "#",
        ),
    ]
)
cookies = any_text | st.sampled_from(
    [
        *(
            "a=b; domain=10.0.0.5; path=/",
            "a=b; domain=.example",
            "a=\udcff",
            "=",
            ";",
            "a=b; expires=Thu, 99",
        ),
        *("a=b; max-age=99999999999999999999", 'a=b; port="1,2"; version=1', "a=b; version=x", "a=b\r\nc: d"),
    ]
)
dates = any_text | st.sampled_from(
    [
        "120",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 9999 99:28:00 -9999",
        "1 Jan 1 0:0:0 +2359",
        "0 0 0",
    ]
)
headers = st.lists(
    st.tuples(st.just("Location"), addresses)
    | st.tuples(st.just("Set-Cookie"), cookies)
    | st.tuples(st.sampled_from(["Retry-After", "Date"]), dates)
    | st.tuples(
        st.just("Content-Type"), st.sampled_from(["text/html; charset=gbk", "x; charset=idna", "charset="])
    )
    | st.tuples(any_text, any_text),
    max_size=4,
).map(tuple)
statuses = st.sampled_from(
    [200, 200, 200, 204, 302, 302, 303, 307, 400, 401, 403, 404, 408, 429, 500, 503]
) | st.integers(100, 999)
responses = st.builds(
    Response,
    statuses,
    headers,
    bodies | pages.map(lambda page: page.encode("utf-8", "surrogatepass")),
)


@pytest.fixture(autouse=True)
def _no_refusal_remembered() -> Iterator[None]:
    yield
    forget_refusals()


class Hostile:
    """A Manager that gives any answer, and watches where requests go."""

    def __init__(self, answers: list[Response]) -> None:
        self.answers = answers
        self.asked = 0

    def __call__(self, request: Request) -> Response:
        self.asked += 1
        assert self.asked < 200, "no end"
        where = urlsplit(request.url)
        assert (where.scheme, where.hostname) == ("https", "10.0.0.5")
        assert where.port in {28443, 20009}
        assert request.url.isascii()
        assert not set(request.url) & set(" \r\n\t")
        return self.answers[self.asked % len(self.answers)]


@contextmanager
def only_our_own_errors() -> Iterator[None]:
    """Let errors of the package pass whose text can be logged."""
    text = ""
    try:
        yield
    except MRSError as error:
        text = str(error)
    require_fit(text)
    assert "s3cret-word" not in text


def require_fit(found: object) -> None:
    """Require that all texts of what was read are short, and fit for a log and a database."""
    match found:
        case str():
            assert all(letter.isprintable() or letter.isspace() for letter in found)
            assert len(found.splitlines()) <= 1
            assert len(found) < 10_000
            found.encode()
        case list() | tuple():
            for entry in found:
                require_fit(entry)
        case dict():
            require_fit([*found, *found.values()])
        case _ if is_dataclass(found):
            require_fit([getattr(found, each.name) for each in fields(found)])


@given(responses)
@example(Response(429, (("Retry-After", "1 Jan 1 0:0:0 +2359"), ("Date", "1 Jan 9999 0:0:0 -2359"))))
@example(Response(200, (), b"[" * 100_000))
def test_any_answer_is_an_envelope_or_an_error(response: Response) -> None:
    with only_our_own_errors():
        protocol.open_envelope(response)


@given(
    st.sampled_from(CALLS),
    envelopes | st.builds(lambda inner: {"state": "COMPLETE", "res_obj": inner}, envelopes),
)
def test_every_call_reads_any_json(call: protocol.Call[Any], content: dict[str, object]) -> None:
    body = json.dumps(content).encode()
    with only_our_own_errors():
        require_fit(call.read(protocol.open_envelope(Response(200, (), body))))


@given(pages)
def test_any_page_is_read(html: str) -> None:
    form = find_login_form(Response(200, (), html.encode("utf-8", "surrogatepass")).text)
    if form is not None:
        urlencode(form.filled("user", "pass"))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit", ["<", "<a ", "<a x='", "<!--", "<!", "<?", "</", "&#", "<a hidden>", "<p hidden></b>"]
)
def test_no_page_takes_long(unit: str) -> None:
    assert find_login_form("<p hidden>" + unit * 60_000 + "</b>" * 60_000) is None


@given(st.binary(), any_text)
@example(b"+2AA-", "text/html; charset=utf-7")
@example(b"\\ud800", "text/html; charset=unicode_escape")
@example(b"a", "text/html; charset=\0")
def test_the_text_of_any_body_can_be_sent_back(body: bytes, content_type: str) -> None:
    Response(200, (("Content-Type", content_type),), body).text.encode()


@given(
    st.binary() | st.binary().map(gzip.compress), st.lists(st.sampled_from(["gzip", "deflate"]) | any_text)
)
def test_any_body_is_unpacked_or_an_error(body: bytes, encodings: list[str]) -> None:
    with only_our_own_errors():
        unpack(body, encodings)


@given(addresses)
def test_any_redirect_stays_at_home_or_is_an_error(location: str) -> None:
    browser = Browser(SECURE)
    with only_our_own_errors():
        target = browser.redirect("https://10.0.0.5:28443/web/v1/x", Response(302, (("Location", location),)))
        assert target is not None
        browser.is_login(target)
        home = urlsplit(browser.home(target))
        assert (home.scheme, home.hostname) == ("https", "10.0.0.5")
        assert home.port in {28443, 20009}


@given(st.lists(cookies, max_size=4))
def test_any_cookie_is_kept_or_dropped(values: list[str]) -> None:
    browser = Browser(SECURE)
    request = browser.request("GET", "https://10.0.0.5:28443/web/v1/x")
    browser.take_cookies(request, Response(200, tuple(("Set-Cookie", value) for value in values)))
    again = browser.request("GET", request.url)
    for name, value in again.headers:
        assert not set(name + value) & set("\r\n")


@pytest.mark.parametrize("settings", [SECURE, NORMAL], ids=["secure", "normal"])
@given(answers=st.lists(responses, min_size=1, max_size=6))
def test_any_login_ends(settings: Settings, answers: list[Response]) -> None:
    with only_our_own_errors():
        converse(login.log_in(settings, Browser(settings)), Hostile(answers))


@given(answers=st.lists(responses, min_size=1, max_size=2))
def test_a_login_that_got_to_its_form_ends_whatever_then_comes(answers: list[Response]) -> None:
    manager = Hostile(answers)
    flow = login.log_in(SECURE, Browser(SECURE))
    with only_our_own_errors():
        next(flow)
        form = Response(200, (), a_login_form.encode())

        def rest() -> Generator[Request, Response, object]:
            request = flow.send(form)
            while True:
                try:
                    request = flow.send((yield request))
                except StopIteration as stop:
                    return stop.value

        converse(rest(), manager)


@given(st.sampled_from(CALLS), st.lists(responses, min_size=1, max_size=4))
def test_any_exchange_ends(call: protocol.Call[Any], answers: list[Response]) -> None:
    forget_refusals()
    session = Session(SECURE)
    manager = Hostile(answers)
    exchange = session.exchange(call)
    with only_our_own_errors():
        step = next(exchange)
        assert isinstance(step, LogIn)
        session.generation += 1  # a session of which anything may come
        try:
            step = exchange.send(None)
            while True:
                response = None
                try:
                    if isinstance(step, LogIn):
                        converse(session.log_in(), manager)
                    else:
                        response = manager(step)
                except MRSError as error:
                    step = exchange.throw(error)
                else:
                    step = exchange.send(response)
        except StopIteration:
            pass


@given(any_json)
def test_any_note_is_read(content: object) -> None:
    assert Note(STOP.identity).read(content) == Kept()


@hypothesis_settings(max_examples=20, deadline=None)  # a digest takes its time
@given(
    st.dictionaries(st.sampled_from(["action", "digest", "cluster_id", "phase", "salt"]) | any_text, any_json)
)
def test_any_note_of_a_save_is_read(content: dict[str, object]) -> None:
    assert SAVE.note(content)[1] == Kept()


def test_a_form_whose_action_is_no_address_is_a_bad_answer() -> None:
    answers = [Response(200, (), a_login_form.replace("/cas/login", "//[").encode())]
    with pytest.raises(BadAnswer, match="no valid address"):
        converse(login.log_in(SECURE, Browser(SECURE)), Hostile(answers))


LONG = "word " * 100_000
LONG_LISTS = {
    "key_property": [{"name": "state", "value": LONG, "type": "STATUS"}],
    "step_list": [{"name": LONG}] * 10,
    "fail_entity_list": [
        {"fail_entity": f"DataNode@host-{n}", "operation_type": "STOP"} for n in range(5_000)
    ],
}
STOP = ServiceChange(Action.STOP, "HBase")
SAVE = ConfigurationSave((Configuration("HDFS", {"a": "b"}),))
PROCEDURES: dict[str, Callable[[Contact], Procedure[object]]] = {
    "submit": lambda contact: submit(contact, STOP, None),
    "submit again": lambda contact: submit(contact, STOP, Note(STOP.identity).submitted(1)),
    "save": lambda contact: save(contact, SAVE, None),
    "save again": lambda contact: save(contact, SAVE, SAVE.note(None)[0].submitted(1)),
    "wait": lambda contact: wait_for_change(contact, STOP, 1),
    "settle": lambda contact: wait_for_change(contact, STOP, None),
    "poll a command": lambda contact: wait_until_over(contact, lambda c: poll_command(c, 1)),
    "poll a service": lambda contact: wait_until_over(
        contact, lambda c: poll_service(c, STOP.look(), ServiceState.DOWN)
    ),
}


@pytest.mark.parametrize("procedure", PROCEDURES.values(), ids=PROCEDURES)
@pytest.mark.parametrize(
    "response",
    [
        *(
            answer(
                id=1,
                state=state,
                error_code=code,
                error_description=LONG,
                total_progress=5,
                res_obj=LONG_LISTS,
            )
            for state in ("FAILED", "COMPLETE", "IN_PROGRESS", LONG)
            for code in (0, -1)
        ),
        redirect(f"https://{'a.' * 20_000}example/"),
        redirect(f"https://10.0.0.5:28443/{'a/' * 20_000}"),
    ],
    ids=lambda response: response.text[:80] or "redirect",
)
def test_no_text_of_manager_s_makes_long_messages(
    response: Response, procedure: Callable[[Contact], Procedure[object]]
) -> None:
    forget_refusals()
    driver = Driver(lambda _: response)
    driver.session.generation = 1
    said = ""
    try:
        driver.run(procedure(driver.contact(timeout=100)))
    except MRSError as error:
        said = str(error)
    assert max(len(text) for text in (said, *(text for _, text in driver.lines))) < 10_000


@pytest.mark.timeout(10)
def test_millions_of_entries_are_no_answer() -> None:
    content = b'{"state": "COMPLETE", "res_obj": {"step_list": [' + b"{}," * 2_700_000 + b"{}]}}"
    with pytest.raises(BadAnswer, match="with more than 150000 values"):
        protocol.open_envelope(Response(200, (), content))


@pytest.mark.timeout(10)
def test_tens_of_thousands_of_entries_are_cut() -> None:
    content = b'{"state": "COMPLETE", "res_obj": {"%s": [' + b"{}," * 60_000 + b'{"name": "last"}]}}'
    for name in (b"step_list", b"fail_entity_list", b"key_property", b"clusters"):
        envelope = protocol.open_envelope(Response(200, (), content % name))
        command = envelope.command(1)
        assert len(command.steps) <= MOST_ENTRIES >= len(command.failed_entities)
        assert len(envelope.clusters()) <= MOST_ENTRIES
        assert len(envelope.service("HBase", 1, None).properties) <= MOST_ENTRIES
        if command.steps:
            assert command.steps[-1].name == "last"  # how far it has come


def test_of_many_failed_entities_the_first_are_named() -> None:
    failed = protocol.open_envelope(answer(state="FAILED", error_code=-1, res_obj=LONG_LISTS)).command(1)
    assert failed.failure.endswith("DataNode@host-8 (STOP), DataNode@host-9 (STOP) and 4990 more")
    assert len(failed.failed_entities) == 5_000


@pytest.mark.parametrize("response", [answer(state="FAILED", error_description=LONG), answer(state=LONG)])
def test_no_text_of_manager_s_makes_a_long_message_about_a_login(response: Response) -> None:
    with pytest.raises(LoginRefused) as caught:
        converse(login.log_in(NORMAL, Browser(NORMAL)), lambda _: response)
    assert len(str(caught.value)) < 10_000
