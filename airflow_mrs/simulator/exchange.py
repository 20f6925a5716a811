"""One request on its way in, and its answer on its way out, in the hands of a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Exchange:
    """A request that has come in whole, and what can be done with it."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        expire_sessions: Callable[[bool], None],
    ) -> None:
        self.expire_sessions = expire_sessions
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body: bytes | None = None

    async def read(self) -> None:
        """Take the request in."""
        self._body = await Request(self._scope, self._receive).body()

    def mark(self, **marks: object) -> None:
        """Leave something in `request.state` for the application."""
        self._scope["state"].update(marks)

    async def act(self) -> Response:
        """Let the application do what it is asked for, and keep its answer back."""
        answer = Response()
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code = message["status"]
                answer.raw_headers = list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        await self._app(self._scope, self._receive_again, keep)
        answer.body = b"".join(parts)
        return answer

    async def answer(self, response: ASGIApp) -> None:
        """Send an answer."""
        await response(self._scope, self._receive, self._send)

    async def answer_half(self, response: Response) -> None:
        """Send an answer's head and half of the body that it promises, then cut the connection."""
        body = bytes(response.body) or b"\n"
        response.headers["Content-Length"] = str(len(body))
        start: dict[str, Any] = {"status": response.status_code, "headers": response.raw_headers}
        await self._send({"type": "http.response.start", **start})
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await self.cut()

    async def cut(self) -> None:
        """Close the connection without a word."""
        self._scope["state"]["transport"].abort()
        await self._gone()

    async def patience(self, seconds: float) -> bool:
        """Wait, and tell whether the client has waited too."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone()
        except TimeoutError:
            return True
        return False

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _receive_again(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
