"""Lengths of time as users of Airflow give them."""

from __future__ import annotations

from datetime import timedelta


def read_seconds(name: str, given: object) -> float:
    """
    Return a length of time in seconds.

    It is read when the DAG is parsed: what is wrong with it must not come out while a command runs.

    :param name: which argument it is.
    :param given: seconds, or a timedelta.
    :return: the seconds.
    :raises ValueError: for what is no length of time, and for none at all.
    """
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise ValueError(f"{name} must be seconds, or a timedelta, and longer than none, not {given!r}.")
    return seconds
