"""What others have written, made fit for logs, messages and databases: cleaned and cut once, where it is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_TEXT = 500
"""Characters of a text."""

MOST_ENTRIES = 10_000
"""Entries of a list; more than a cluster has of anything."""

MOST_NAMED = 10
"""Entries of a list in a message."""

_LINE_ENDS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")


def clean(text: str) -> str:
    """
    Return the beginning of a text, on one line and without what is not to be seen, and how much more there is.

    What ends a line becomes a space. Every other character that shows nothing itself but does something (control
    characters, marks of direction or of no width, half a surrogate pair) becomes the one for *replaced*. None just goes:
    a name with such a mark in it is no other name afterwards.

    :param text: the text; a short one without such characters is returned as it is.
    """
    more = len(text) - LONGEST_TEXT
    if more > 0:
        text = text[:LONGEST_TEXT]
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() or letter.isspace() else "\ufffd"
            for letter in _LINE_ENDS.sub(" ", text)
        )
    return text if more <= 0 else f"{text}... ({more} characters more)"


def listed(entries: Sequence[object]) -> str:
    """
    Name the first entries of a list, and say how many more there are.

    :param entries: what has a text, cleaned.
    """
    more = len(entries) - MOST_NAMED
    named = ", ".join(str(entry) for entry in entries[:MOST_NAMED])
    return named if more <= 0 else f"{named} and {more} more"


def error_in_words(code: int, description: str) -> str:
    """
    Name an error of Manager's by its code and its text.

    :param code: the code.
    :param description: the text, cleaned; empty where there is none.
    """
    return f"error {code}: {description.rstrip('.') or 'without a text'}"
