from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.manager.form import find_login_form

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "<input type=password name=password>"


def test_a_form_is_filled_in_as_a_browser_would() -> None:
    form = find_login_form(f"""
        <form action=/search><input name=q></form>
        <!-- <form action=/old>{PASSWORD}</form> -->
        <FORM method=post ACTION=" login?x=1 ">
          <input value="[execution=e1s1][lt=LT-1&amp;2]" name="lt" type="hidden"><input name=username value=old>
          {PASSWORD} <input type=checkbox name=warn> <input type=checkbox name=keep checked>
          <input name=off disabled value=1> <select name=lang><option value=a><option value=b selected></select>
          <input type=submit name=submit value=Enter> <button name=second>x</button> <input type=text name=note value=n>
        </FORM>""")
    assert form is not None
    assert form.action == "login?x=1"
    assert dict(form.filled("me", "s3cret")) == {
        "lt": "[execution=e1s1][lt=LT-1&2]",
        "keep": "on",
        "lang": "b",
        "note": "n",
        "username": "me",
        "password": "s3cret",
        "submit": "Enter",
        "_eventId": "submit",
    }


def test_other_names_of_the_fields() -> None:
    form = find_login_form("<form><input name=user><input type=password name=pw></form>")
    assert form is not None
    filled = dict(form.filled("me", "s3cret"))
    assert (filled["user"], filled["pw"]) == ("me", "s3cret")
    assert "username" not in filled


@pytest.mark.parametrize(
    "html", ["", "<p>", f"<script>'<form>{PASSWORD}'</script>", PASSWORD, "<form><input name=a></form>"]
)
def test_pages_without_a_login_form(html: str) -> None:
    assert find_login_form(html) is None


@pytest.mark.parametrize(
    ("control", "asks"),
    [
        ("<input name=captcha>", True),
        ("<input name=x id=verifyCode>", True),
        ("<input name=x placeholder='check code'>", False),
        ("<input name=captcha type=hidden>", False),
        ("<input name=captcha style='display : none'>", False),
        ("<div style='display:none'><p><input name=captcha></p></div>", False),
        ("<div hidden><p>x</p></div><input name=captcha>", True),
    ],
)
def test_a_captcha_counts_where_it_is_shown(control: str, asks: bool) -> None:
    form = find_login_form(f"<form>{PASSWORD}{control}</form>")
    assert form is not None
    assert form.asks_captcha is asks


@pytest.mark.parametrize(
    ("control", "sent"),
    [
        ("<select name=a><option value=1>One<option value=2>Two</select>", ["1"]),
        ("<select name=a><option value=1 disabled>One<option value=2>Two</select>", ["2"]),
        ("<select name=a><option value=1 selected><option value=2 selected></select>", ["2"]),
        (
            "<select name=a multiple><option value=1 selected><option value=2 selected><option value=3></select>",
            ["1", "2"],
        ),
        ("<select name=a multiple><option value=1></select>", []),
        ("<select name=a><option value=1 selected disabled><option value=2></select>", []),
        ("<select name=a><option>\n Some\n <b>realm</b> </option> </select>", ["Some realm"]),
        ("<select name=a><option value=>Any</select>", [""]),
        ("<select name=a disabled><option value=1 selected></select>", []),
        ("<select name=a></select><option value=1>", []),
        ("<textarea name=a>\n two\nlines </textarea> no more", [" two\nlines "]),
        ("<textarea name=a disabled>x</textarea>", []),
    ],
)
def test_what_the_page_has_chosen_or_written_is_sent(control: str, sent: list[str]) -> None:
    form = find_login_form(f"<form>{control}{PASSWORD}</form>")
    assert form is not None
    assert [value for name, value in form.filled("me", "s3cret") if name == "a"] == sent


def test_a_control_belongs_to_the_form_that_it_names() -> None:
    form = find_login_form(f"""
        <input type=hidden name=before value=1 form=f><input type=hidden name=none value=1 form="">
        <form id=g><input type=hidden name=within value=1 form=f><input type=hidden name=other value=1></form>
        <form id=f action=first>{PASSWORD}</form><form id=f action=second>{PASSWORD}</form>
        <input type=hidden name=after value=1 form=f><input type=hidden name=nowhere value=1 form=h>""")
    assert form is not None
    assert form.action == "first"
    assert form.preset == [("before", "1"), ("within", "1"), ("after", "1")]


def test_the_first_base_counts() -> None:
    form = find_login_form(f"<base target=x><base href=/cas/a/><base href=/b/><form>{PASSWORD}</form>")
    assert form is not None
    assert form.base == "/cas/a/"


def test_many_forms_take_no_long_time() -> None:
    form = find_login_form("<form></form>" * 9_000 + f"<form action=last>{PASSWORD}</form>")
    assert form is not None
    assert form.action == "last"


def test_a_form_is_looked_through_once_however_many_fields_it_has() -> None:
    class Counted(list[tuple[bool, str]]):
        looks = 0

        def __iter__(self) -> Iterator[tuple[bool, str]]:
            self.looks += 1
            return super().__iter__()

    form = find_login_form(f"<form>{''.join(f'<input type=password name=p{n}>' for n in range(5_000))}")
    assert form is not None
    form.passwords = counted = Counted(form.passwords)
    assert ("p0", "s3cret") in form.filled("me", "s3cret")
    assert counted.looks <= 3
