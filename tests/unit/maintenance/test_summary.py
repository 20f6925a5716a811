"""What is written for people about a window shows the words of others, and does nothing that they ask for."""

from __future__ import annotations

import html
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Environment

from airflow_mrs.maintenance import to_html, to_markdown
from airflow_mrs.manager.words import clean

if TYPE_CHECKING:
    from airflow_mrs.maintenance import ServiceSummary, WindowSummary

HOSTILE = (
    "{{ conn.warehouse.password }} {% raw %} {# <script>alert(1)</script> [x](http://evil.example) ![](http://evil.example/p.png)"
    " <http://evil.example> www.evil.example | `code` **bold** __bold__ _em_ ~~x~~ &lt;b&gt; \x1b[31m \u202e\n\n# heading\n- item"
)
any_text = st.text(st.characters(codec=None, exclude_categories=())) | st.text(
    "{}%#<>&[]()!*_`|~-+\\:/.@\"'$=^ \n1aw"
)


def service(**changes: object) -> ServiceSummary:
    entry = {
        "service": "HBase",
        "before": "running",
        "after": "Normal",
        "stopped": 1_767_225_615.0,
        "started": 1_767_228_104.0,
        "stop_command": 1,
        "start_command": 2,
        "downtime": 2489.0,
        "started_by_others": False,
    }
    return {**entry, **changes}  # type: ignore[typeddict-item]


def summary(text: str | None = None) -> WindowSummary:
    """Return a summary in which all words are these; one where all is well without any."""
    given = {} if text is None else {"service": text, "after": text}
    return {
        "window": text or "window",
        "opened": 1_767_225_612.0,
        "closed": 1_767_228_110.0,
        "health": text or "GOOD",
        "services": [service(**given), service(stopped=None, started=None, downtime=None, **given)],
        "differences": [] if text is None else [text, text],
    }


MARKDOWN = """\
### Maintenance, 00:00:12 to 00:41:50 UTC

| service | stopped | started | downtime | now |
| --- | --- | --- | --- | --- |
| HBase | 00:00:15 | 00:41:44 | 41 min 29 s | Normal |
| HBase | - | - | - | Normal |

Everything is as before. Cluster health: GOOD."""

HTML = """\
<h3>Maintenance, 00:00:12 to 00:41:50 UTC</h3>
<table>
<tr><th>service</th><th>stopped</th><th>started</th><th>downtime</th><th>now</th></tr>
<tr><td>HBase</td><td>00:00:15</td><td>00:41:44</td><td>41 min 29 s</td><td>Normal</td></tr>
<tr><td>HBase</td><td>-</td><td>-</td><td>-</td><td>Normal</td></tr>
</table>
<p>Everything is as before. Cluster health: GOOD.</p>"""


def test_a_summary_as_people_read_it() -> None:
    assert to_markdown(summary()) == MARKDOWN
    assert to_html(summary()) == HTML


def letters(text: str) -> Counter[str]:
    """Count what is to be seen of a text."""
    return Counter("".join(clean(text).split()))


class Page(HTMLParser):
    """The tags of a page, with what they carry, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[object] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(any_text)
@example(HOSTILE)
@example("---")
@example("1. one")
@example("HBase was running and is Failed")
def test_no_word_is_a_template(text: str) -> None:
    for written in (to_markdown(summary(text)), to_html(summary(text))):
        assert Environment(autoescape=False).from_string(written).render() == written


@given(any_text)
@example(HOSTILE)
def test_no_word_is_markup_in_html(text: str) -> None:
    for written in (to_html(summary(text)), f"<pre>{to_markdown(summary(text))}</pre>"):
        page, plain = Page(written), Page(written.replace("&#", ""))
        assert set(page.tags) <= {"h3", "table", "tr", "th", "td", "p", "strong", "ul", "li", "pre"}
        assert page.tags == plain.tags
        assert page.attributes == []
        assert letters(text) <= letters(page.text)


@given(any_text)
@example(HOSTILE)
@example("---")
@example("1. one")
@example("+ x")
@example("\t\tcode")
def test_no_word_is_markup_in_markdown(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("gfm-like")

    page, plain = (
        Page(reader.render(to_markdown(summary(text)))),
        Page(reader.render(to_markdown(summary("x")))),
    )

    assert page.tags == plain.tags
    assert letters(text) <= letters(page.text)


def test_what_is_hostile_can_still_be_read() -> None:
    text = html.unescape(to_html(summary(HOSTILE)))
    assert "{{ conn. warehouse. password }} {% raw %} {# <script>alert(1)</script>" in text
    assert "[x](http:/ /evil. example) " in text
    assert " www. evil. example | `code` " in text


def test_a_summary_that_is_none_is_named_in_short() -> None:
    for render in (to_markdown, to_html):
        with pytest.raises(ValueError, match="characters more") as caught:
            render({"x": "long" * 100_000})  # type: ignore[typeddict-item]
        assert len(str(caught.value)) < 1000
