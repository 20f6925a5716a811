from __future__ import annotations

import pytest

from airflow_mrs.manager.form import find_login_form

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
