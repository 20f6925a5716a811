"""What a window did, as JSON for an XCom and as Markdown for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypedDict

from airflow_mrs.manager.errors import InvalidArgument


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


def to_markdown(summary: WindowSummary) -> str:
    """
    Render a summary for a mail or a chat.

    :param summary: what the window's ``close`` task returned.
    :return: a heading, a table of the services, and what is not as before.
    :raises ValueError: for anything else.
    """
    given: object = summary
    if not isinstance(given, dict) or not WindowSummary.__required_keys__ <= given.keys():
        raise InvalidArgument(
            f"summary must be what a window returned, such as window.summary gives, not {summary!r}."
        )
    rows = [
        f"| {entry['service']} | {_clock(entry['stopped'])} | {_clock(entry['started'])} "
        f"| {_duration(entry['downtime'])} | {entry['after']} |"
        for entry in summary["services"]
    ]
    good = "Everything is as before." if not summary["differences"] else "**Not everything is as before:**"
    return "\n".join(
        [
            f"### Maintenance, {_clock(summary['opened'])} to {_clock(summary['closed'])} UTC",
            "",
            "| service | stopped | started | downtime | now |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"{good} Cluster health: {summary['health']}.",
            *([""] if summary["differences"] else []),
            *(f"- {difference}" for difference in summary["differences"]),
        ]
    )


def _clock(moment: float | None) -> str:
    return "-" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
