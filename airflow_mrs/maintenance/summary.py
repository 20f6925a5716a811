"""What a window did, as JSON for an XCom, and as Markdown and HTML for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple, TypedDict

from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.words import clean

_COLUMNS = ("service", "stopped", "started", "downtime", "now")
_IN_ADDRESSES = re.compile(r"(?<=/)(?=/)|(?<=\w\.)(?=[^\W\d])")
_MARKS = re.compile(r"^\W|^\d+(?=[.)])|[^\w .,:;()+/'-]|_")


class ServiceSummary(TypedDict):
    """
    What became of one service.

    ``before`` and ``after`` are states; ``stopped`` and ``started`` the moments at which the stop began and the start
    ended, in seconds since the epoch, with the ids of their commands; ``downtime`` the seconds between the two.
    ``started_by_others`` says that the service was up when its turn came, though this window had stopped it.
    """

    service: str
    before: str
    after: str
    stopped: float | None
    started: float | None
    stop_command: int | None
    start_command: int | None
    downtime: float | None
    started_by_others: bool


class WindowSummary(TypedDict):
    """
    What a window did.

    ``opened`` and ``closed`` are in seconds since the epoch. ``differences`` says in words what is not as before; it
    is empty where everything is.
    """

    window: str
    opened: float
    closed: float
    health: str
    services: list[ServiceSummary]
    differences: list[str]


class _Parts(NamedTuple):
    heading: str
    rows: list[tuple[str, ...]]
    verdict: str
    health: str
    differences: list[str]


def to_markdown(summary: WindowSummary) -> str:
    """
    Render a summary as Markdown, for a chat.

    What Manager wrote, or anybody else, is shown as text. Nothing in it is a template, a link, or any other markup, be it
    of Markdown or of HTML.

    :param summary: what the window's ``close`` task returned.
    :return: a heading, a table of the services, and what is not as before.
    :raises ValueError: for anything else.
    """
    heading, rows, verdict, health, differences = _read(summary)
    table = (_COLUMNS, ("---",) * len(_COLUMNS), *rows)
    return "\n".join(
        [
            f"### {heading}",
            "",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
            f"{f'**{verdict}**' if differences else verdict} {health}",
            *([""] if differences else []),
            *(f"- {difference}" for difference in differences),
        ]
    )


def to_html(summary: WindowSummary) -> str:
    """
    Render a summary as HTML, for a mail: what :func:`to_markdown` says, in the same way safe.

    :param summary: what the window's ``close`` task returned.
    :return: elements for the body of a page.
    :raises ValueError: for anything else.
    """
    heading, rows, verdict, health, differences = _read(summary)
    return "\n".join(
        [
            f"<h3>{heading}</h3>",
            "<table>",
            f"<tr><th>{'</th><th>'.join(_COLUMNS)}</th></tr>",
            *(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows),
            "</table>",
            f"<p>{f'<strong>{verdict}</strong>' if differences else verdict} {health}</p>",
            *(["<ul>"] if differences else []),
            *(f"<li>{difference}</li>" for difference in differences),
            *(["</ul>"] if differences else []),
        ]
    )


def _read(summary: WindowSummary) -> _Parts:
    given: object = summary
    if not isinstance(given, dict) or not WindowSummary.__required_keys__ <= given.keys():
        raise InvalidArgument(
            f"summary must be what a window returned, such as window.summary gives, not {clean(repr(summary))}."
        )
    return _Parts(
        f"Maintenance, {_clock(summary['opened'])} to {_clock(summary['closed'])} UTC",
        [
            (
                _neutral(entry["service"]),
                _clock(entry["stopped"]),
                _clock(entry["started"]),
                _duration(entry["downtime"]),
                _neutral(entry["after"]),
            )
            for entry in summary["services"]
        ],
        "Not everything is as before:" if summary["differences"] else "Everything is as before.",
        f"Cluster health: {_neutral(summary['health'])}.",
        [_neutral(difference) for difference in summary["differences"]],
    )


def _neutral(text: str) -> str:
    """
    Return a text of others that Markdown and HTML show as it is, and templates pass over.

    To all three, a character that is named by its number is no mark. An address gets spaces, since whatever shows mails
    makes links of those by itself.
    """
    apart = _IN_ADDRESSES.sub(" ", clean(text).strip())
    return _MARKS.sub(lambda marks: "".join(f"&#{ord(mark)};" for mark in marks[0]), apart)


def _clock(moment: float | None) -> str:
    return "-" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
