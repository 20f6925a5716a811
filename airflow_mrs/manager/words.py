"""What others have written, for our own messages: nobody knows how long it is, and each goes into a log or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_TEXT = 500
"""Characters of a text."""

MOST_NAMED = 10
"""Entries of a list."""


def brief(text: str) -> str:
    """
    Return the beginning of a text, and how much more there is.

    :param text: the text; a short one is returned as it is.
    """
    more = len(text) - LONGEST_TEXT
    return text if more <= 0 else f"{text[:LONGEST_TEXT]}... ({more} characters more)"


def listed(entries: Sequence[object]) -> str:
    """
    Name the first entries of a list, and say how many more there are.

    :param entries: what has a text.
    """
    more = len(entries) - MOST_NAMED
    named = ", ".join(brief(str(entry)) for entry in entries[:MOST_NAMED])
    return named if more <= 0 else f"{named} and {more} more"


def error_in_words(code: int, description: str) -> str:
    """
    Name an error of Manager's by its code and its text.

    :param code: the code.
    :param description: the text; empty where there is none.
    """
    return f"error {code}: {brief(description.rstrip('.')) or 'without a text'}"
