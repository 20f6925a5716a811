"""What happens, told in words."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator.journal import Entry

_LONGEST = 200

_WORDS: dict[str, Callable[[dict[str, object]], str]] = {
    "login attempted": "{user} sends a password".format_map,
    "login succeeded": "{user} is logged in".format_map,
    "login refused": "{user} is not let in: {reason}".format_map,
    "logout": "logged out".format_map,
    "account locked": "{user} is locked out".format_map,
    "state": "{service}: {was} -> {state}".format_map,
    "command started": "command {command}: {action} {service} (only_self={only_self})".format_map,
    "command step": "command {command}: {progress} %, {step}".format_map,
    "command ended": "command {command}: {state} {error}".format_map,
    "commands forgotten": "all command ids are forgotten".format_map,
    "sessions expired": "all sessions are gone".format_map,
    "port closed": "port {port} refuses connections for {seconds} s".format_map,
    "fault": "fault: {kind} strikes {call}".format_map,
    "post refused": "refused to {action} {service}: {error}".format_map,
}


def in_words(entry: Entry) -> str | None:
    """Say what an entry of the journal means, if there is something to tell."""
    if (words := _WORDS.get(entry.event)) is None:
        return None
    return words({name: _printable(value) for name, value in entry.details.items()}).rstrip()


def _printable(value: object) -> str:
    """Return a text that does nothing to a terminal and takes at most a line, whoever has chosen it."""
    if value is None:
        return "somebody"
    text = str(value)
    shown = "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
        for char in text[:_LONGEST]
    )
    return shown if len(text) <= _LONGEST else f"{shown}..."


def tell(entry: Entry) -> None:
    """Print one line about an entry of the journal, if there is something to tell."""
    if text := in_words(entry):
        time = datetime.fromtimestamp(entry.at).astimezone().isoformat(" ", "milliseconds")
        # Not every terminal has all letters.
        encoding = sys.stdout.encoding or "utf-8"
        print(time, text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
