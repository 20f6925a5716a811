"""What the author of a window hung into it."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING

from airflow_mrs.manager.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.steps import Logger


def check_hook(given: object, argument: str, *takes: str) -> None:
    """
    Refuse a hook that could only fail when its time has come.

    :param given: the hook, or None.
    :param argument: what messages call it.
    :param takes: what it is to be called with, in words.
    :raises InvalidArgument: for what can't be called so.
    """
    if given is None:
        return
    wanted = (
        f"{argument} must be a function of {' and '.join(takes)}, such as lambda {', '.join(takes)}: None"
    )
    if not callable(given) or inspect.iscoroutinefunction(given):  # nobody would await it
        raise InvalidArgument(f"{wanted}, not {given!r}.")
    try:
        inspect.signature(given).bind(*takes)
    except TypeError as error:
        raise InvalidArgument(f"{wanted}; {given!r} can't be called so: {error}.") from None
    except ValueError:
        return  # of a function in C, which does not tell


def best_effort(log: Logger, hook: Callable[..., object] | None, *arguments: object) -> None:
    """
    Call a hook, if there is one. Whatever comes of it, nothing of the window waits for it or fails by it.

    :param log: where it is said that it failed.
    :param hook: the hook.
    :param arguments: what it is called with.
    """
    if hook is None:
        return
    try:
        hook(*arguments)
    except Exception as error:  # noqa: BLE001 - anybody's code
        log.log(logging.ERROR, "A hook failed with %r; the window goes on", error)
