"""What the author of a window hung into it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.steps import Logger


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
