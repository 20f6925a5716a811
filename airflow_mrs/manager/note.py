"""What one try of sending a request leaves for the next, and what came of the sending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Submitted:
    """
    What a submission led to.

    :param command_id: the command to wait for; None where none is known.
    :param over: whether the service is where it should be, with nothing to wait for.
    """

    command_id: int | None = None
    over: bool = False


class Kept(NamedTuple):
    """
    What a note tells that an earlier try left.

    :param phase: how far that try came; empty where there is no note of this request.
    :param command_id: the command that it began, where that is known.
    :param cleared: whether somebody has cleared the task since: it is wanted again, not only tried again.
    """

    phase: str = ""
    command_id: int | None = None
    cleared: bool = False


class Note:
    """
    What one try leaves for the next: *submitting*, then *submitted*, then *done*.

    It is about one request; under another one (somebody edited the DAG in between) it says nothing.

    :param about: what tells the request from others.
    """

    def __init__(self, about: Mapping[str, str | int]) -> None:
        self._about = about

    def submitting(self) -> dict[str, str | int]:
        """Say that the request is about to leave."""
        return {**self._about, "phase": "submitting"}

    def submitted(self, command_id: int) -> dict[str, str | int]:
        """Say which command it became."""
        return {**self._about, "phase": "submitted", "command_id": command_id}

    @staticmethod
    def done() -> dict[str, str | int]:
        """Say that there is nothing to find out any more, of whatever request: all is over, or nothing was accepted."""
        return {"phase": "done"}

    def read(self, content: object) -> Kept:
        """Return what a kept note tells of this request."""
        if not isinstance(content, dict) or any(
            content.get(key) != value for key, value in self._about.items()
        ):
            return Kept()
        command_id = content.get("command_id")
        return Kept(
            str(content.get("phase")),
            command_id if isinstance(command_id, int) else None,
            content.get("cleared") is True,
        )
