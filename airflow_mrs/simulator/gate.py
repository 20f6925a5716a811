"""A port with what is served there: open, or closed for a while."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from airflow_mrs.simulator.listener import Listener


class Gate:
    """One listener and its application. All methods are for the thread of the event loop."""

    def __init__(
        self, listener: Listener, app: ASGIApp, context: ssl.SSLContext, on_connection: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._app = app
        self._context = context
        self._on_connection = on_connection
        self._closed_until = 0.0
        self._outage: asyncio.Task[None] | None = None
        self._ending = False
        self._hurry = asyncio.Event()
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Accept connections."""
        await self._listener.open(self._app, self._context, self._on_connection)

    async def refuse(self, seconds: float) -> None:
        """Cut all connections now, and refuse new ones for a while."""
        loop = asyncio.get_running_loop()
        async with self._changing:
            self._closed_until = max(self._closed_until, loop.time() + seconds)
            if self._outage is None:
                self._listener.shut()
                self._outage = loop.create_task(self._stay_closed())

    async def admit(self) -> None:
        """End an outage, if there is one."""
        self._closed_until = 0.0
        await self._end_outage()

    async def close(self) -> None:
        """Refuse connections for good."""
        self._ending = True
        await self._end_outage()
        await self._listener.close()

    async def _end_outage(self) -> None:
        self._hurry.set()
        if self._outage is not None:
            await self._outage

    async def _stay_closed(self) -> None:
        await self._listener.close()
        while not self._ending:
            self._hurry.clear()
            async with self._changing:
                left = self._closed_until - asyncio.get_running_loop().time()
                if left <= 0:
                    await self.open()
                    self._outage = None
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()
