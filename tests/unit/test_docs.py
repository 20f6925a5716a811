"""The messages that the docs explain are messages that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@cache
def source() -> str:
    """All texts and names of classes in the package, each on a line; what an f-string fills in is left out."""
    texts = []
    for path in (ROOT / "airflow_mrs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str() as text) | ast.ClassDef(name=text):
                    texts.append(text)
                case _:
                    pass
    return "\n".join(texts)


def quoted() -> list[str]:
    """What stands in backticks in the first column of the tables of messages."""
    quotes = []
    for path in sorted((ROOT / "docs").glob("*.md")):
        for table in re.findall(r"^\| message \|.*\n((?:\|.*\n)*)", path.read_text(), re.MULTILINE):
            for row in table.splitlines():
                quotes += re.findall(r"`([^`]+)`", row.split("|")[1])
    return quotes


@pytest.mark.parametrize("quote", quoted())
def test_a_quoted_message_is_in_the_source(quote: str) -> None:
    """Each stretch of it, that is: three dots stand for what is filled in, and arguments have one sentence for all."""
    missing = [part for part in re.split(r"\.\.\.|must be", quote) if part.strip(" '.:;,") not in source()]
    assert not missing


def test_there_are_messages_to_look_for() -> None:
    assert len(quoted()) > 50
