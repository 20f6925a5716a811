from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mrs.manager.model import ServiceState
from airflow_mrs.manager.words import LONGEST_TEXT, clean

any_text = st.text(st.characters(codec=None, exclude_categories=()))


def is_fit(text: str) -> bool:
    """Tell whether a text is one line, and shows all that it does."""
    return all(letter.isprintable() or letter.isspace() for letter in text) and len(text.splitlines()) <= 1


@given(any_text)
def test_a_cleaned_text_is_fit_for_a_log(text: str) -> None:
    assert is_fit(clean(text))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Partially Healthy", "Partially Healthy"),
        ("l\xe4uft \u6210\u529f \u2714 100%", "l\xe4uft \u6210\u529f \u2714 100%"),
        ("stopped\r\n[2026-01-01] INFO - all is well", "stopped  [2026-01-01] INFO - all is well"),
        ("a\x0bb\x1cc\x85d\u2028e", "a b c d e"),
        ("\x1b]0;title\x07\x1b[31mred", "\ufffd]0;title\ufffd\ufffd[31mred"),
        ("\u202egnp.exe\u2066", "\ufffdgnp.exe\ufffd"),
        ("pro\u200bd\ufeff", "pro\ufffdd\ufffd"),
        ("\ud800\x00\x9b\U000e0041", "\ufffd\ufffd\ufffd\ufffd"),
        ("x" * LONGEST_TEXT, "x" * LONGEST_TEXT),
        ("x" * (LONGEST_TEXT + 7), "x" * LONGEST_TEXT + "... (7 characters more)"),
    ],
)
def test_cleaned_texts(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("mark", ["\u200b", "\u202e", "\ufeff", "\x00", "\x1b", "\ud800"])
def test_no_mark_makes_a_known_word_of_an_unknown_one(mark: str) -> None:
    assert ServiceState.from_word(clean(f"Star{mark}ted")) is ServiceState.UNKNOWN
