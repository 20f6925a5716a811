"""`/simulator`: what happened, and what shall go wrong, for whoever stands outside of the simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_mrs.simulator.journal import Journal


class Control:
    """The control interface. It needs no login, and nothing goes wrong with it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def routes(self) -> list[Route]:
        """Return the routes of the interface."""
        return [Route("/simulator/journal", self._read_journal)]

    async def _read_journal(self, _: Request) -> Response:
        return JSONResponse(self._journal.as_json())
