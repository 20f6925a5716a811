"""What may be given: each check names the argument, and shows a right value. Nothing is sent where one fails."""

from __future__ import annotations

import re
import reprlib
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_mrs.manager.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_service_name(given: object, argument: str = "service_name") -> str:
    """
    Return a service name that can stand in a path.

    :param given: the name. What a template renders may be None, whose text would be a name like any other.
    :param argument: what messages call it.
    :raises InvalidArgument: for anything else, before any request.
    """
    if isinstance(given, str) and _NAME.fullmatch(given) and given.strip("."):
        return given
    raise _wrong(
        argument,
        "the name of a service as MRS Manager shows it, of letters, digits, '_', '.' and '-', such as 'HBase'",
        given,
    )


def check_cluster_id(given: object, argument: str = "cluster_id") -> int:
    """
    Return a cluster id as a number, also from its text.

    :param given: the id.
    :param argument: what messages call it.
    :raises InvalidArgument: for anything else, before any request.
    """
    number = read_whole(given)
    if number is None or number < 0:
        raise _wrong(argument, "the number of a cluster, such as 1", given)
    return number


def check_command_id(given: object, argument: str = "command_id") -> int:
    """
    Return a command id as a number, also from its text. 0 is a possible one.

    :param given: the id.
    :param argument: what messages call it.
    :raises InvalidArgument: for anything else, before any request.
    """
    number = read_whole(given)
    if number is None or number < 0:
        raise _wrong(argument, "the number of a command, such as a stop or a start returns", given)
    return number


def check_flag(given: object, argument: str) -> bool:
    """
    Return a yes or no. A text is none: ``"False"`` would count as True.

    :param given: True or False.
    :param argument: what messages call it.
    :raises InvalidArgument: for anything else.
    """
    if not isinstance(given, bool):
        raise _wrong(argument, "True or False", given)
    return given


def check_choice(given: object, argument: str, choices: Iterable[str]) -> str:
    """
    Return one of a few words.

    :param given: the word.
    :param argument: what messages call it.
    :param choices: the words.
    :raises InvalidArgument: for anything else.
    """
    words = [str(choice) for choice in choices]
    if not isinstance(given, str) or given not in words:
        raise _wrong(argument, " or ".join(map(repr, words)), given)
    return given


def check_text(given: object, argument: str, example: str) -> str:
    """
    Return a text that is not empty.

    :param given: the text.
    :param argument: what messages call it.
    :param example: a right one.
    :raises InvalidArgument: for anything else.
    """
    if not isinstance(given, str) or not given.strip():
        raise _wrong(argument, f"a text, such as {example!r}", given)
    return given


def check_texts(given: object, argument: str, example: str, *, least: int, most: int) -> None:
    """
    Refuse what is no list of texts. A text alone would be taken for a list of its letters.

    :param given: the list.
    :param argument: what messages call it.
    :param example: a right text.
    :param least: how many there must be.
    :param most: how many there may be.
    :raises InvalidArgument: for anything else.
    """
    if not (
        isinstance(given, list | tuple)
        and least <= len(given) <= most
        and all(isinstance(text, str) and text for text in given)
    ):
        raise _wrong(argument, f"a list of {least} to {most} texts, such as [{example!r}]", given)


def check_whole(given: object, argument: str, example: int) -> int:
    """
    Return a whole number that is not negative.

    :param given: the number.
    :param argument: what messages call it.
    :param example: a right one.
    :raises InvalidArgument: for anything else.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise _wrong(argument, f"a whole number, such as {example}", given)
    return given


def check_seconds(given: object, argument: str, example: float = 5) -> float:
    """
    Return a length of time in seconds.

    :param given: seconds, or a timedelta.
    :param argument: what messages call it.
    :param example: a right one.
    :raises InvalidArgument: for what is no length of time, and for none at all.
    """
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise _wrong(argument, f"seconds above 0, such as {example:g}, or a timedelta", given)
    return seconds


def check_moment(given: object, argument: str) -> float:
    """
    Return a moment in seconds since the epoch; infinity is one that never comes.

    :param given: the moment.
    :param argument: what messages call it.
    :raises InvalidArgument: for anything else.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        raise _wrong(argument, "a moment in seconds since the epoch, such as 1767225600", given)
    return given


def read_whole(value: object) -> int | None:
    """Return a whole number from itself or its plain decimal text; None from anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip(), re.ASCII):
        return int(value)
    return None


def _wrong(argument: str, wanted: str, given: object) -> InvalidArgument:
    return InvalidArgument(f"{argument} must be {wanted}, not {_SHORT.repr(given)}. Nothing was sent.")
