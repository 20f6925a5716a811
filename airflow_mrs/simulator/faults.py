"""What can go wrong with a request.

Set a fault with `simulator.faults.set(call, fault)` or with a POST to `/simulator/faults` on the web port. `call` is one
of the names in `calls.py` (`stop`, `progress`, `login`, ...) or `any`; a fault stays until it is cleared, or strikes
only `times` times or for `for_seconds` seconds, each time with the probability `chance`. Of several faults that fit a
request, the one that was set first strikes. The control interface under `/simulator` is never struck.

==================================  ==========================================================================
`{"kind": ..., "call": "stop"}`     what happens
==================================  ==========================================================================
`cut`                               the connection is closed without an answer
`stall`, `seconds`                  no answer for so long; then the request is served, if the client is still there
`hold`                              no answer until the faults are cleared; then the request is served, also if the
                                    client has left
`truncate`                          half of the answer, then the connection is closed
`status`, `code`                    an HTML page with this HTTP status; `retry_after` (seconds or a date)
`nonsense`, `body`                  HTTP 200 with `html`, `not_utf8` or `broken_json`
`flood`                             an answer without end: `megabytes` (100); `announced` by a Content-Length
`redirect`, `url`                   a redirect to there; `code` (302)
`drip`, `seconds`                   the answer, one byte each so many seconds
`patch`, `fields`                   the answer with some fields changed: `{"res_obj": {"state": "BAD"}}`
`word`, `value`                     a service's state in this word (any JSON); `service` only this one; `name` the
                                    property that carries it
`login_page`, `page`                what CAS answers: `captcha`, `locked`, `modify_password`, `wrong_password`
`expire`                            all sessions end before the request is served; with `tickets` false, the
                                    single sign-on goes on
==================================  ==========================================================================

`cut`, `stall`, `hold`, `status`, `nonsense`, `flood` and `redirect` come before Manager acts on the request; with `after`
true it acts first, and its answer is lost (late for a `stall` or a `hold`). The others act. A command that Manager does not know is `status`
404 on `progress`, or the event `forget_commands`: see `control.py` for what happens at once.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping  # noqa: TC003 - the control interface reads the types of fields
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from starlette.responses import HTMLResponse, Response, StreamingResponse

from airflow_mrs.simulator import pages
from airflow_mrs.simulator.envelope import camel_case
from airflow_mrs.simulator.quantities import (  # noqa: TC001 - the same
    HeaderValue,
    Megabytes,
    Seconds,
    StatusCode,
)
from airflow_mrs.simulator.streams import MEGABYTE, dripping, flooding

if TYPE_CHECKING:
    from airflow_mrs.simulator.exchange import Exchange

PageName = Literal["captcha", "locked", "modify_password", "wrong_password"]

_JSON = "application/json;charset=UTF-8"
_WITHOUT_BODY = {204, 304}
_NONSENSE = {
    "html": (b"<html><body>Please come back later.</body></html>", "text/html;charset=UTF-8"),
    "not_utf8": (b'{"id": 1, \xff\xfe "state": "COMPLETE"}', _JSON),
    "broken_json": (b'{"id": 1, "state": "COMPLETE", "error_code": 0, "res_obj": {', _JSON),
}


class Fault(ABC):
    """One way for a request to go wrong."""

    kind: ClassVar[str]

    def concerns(self, call: str, path: str) -> bool:  # noqa: ARG002 - most faults are not choosy
        """Tell whether this can happen to a request."""
        return True

    async def serve(self, exchange: Exchange) -> None:
        """Let it happen to a request."""
        await exchange.read()
        await self._happen(exchange)

    def as_json(self) -> dict[str, Any]:
        """Return what can be set of it."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)  # type: ignore[arg-type] # each fault is a dataclass
            if each.init
        }

    def release(self) -> None:  # noqa: B027 - most faults hold nothing
        """Let go of the requests that it holds."""

    @abstractmethod
    async def _happen(self, exchange: Exchange) -> None: ...


@dataclass(frozen=True)
class Cut(Fault):
    """The connection is closed without an answer."""

    kind = "cut"
    after: bool = False

    async def _happen(self, exchange: Exchange) -> None:
        if self.after:
            await exchange.act()
        await exchange.cut()


@dataclass(frozen=True)
class Stall(Fault):
    """No answer for a while."""

    kind = "stall"
    seconds: Seconds
    after: bool = False

    async def _happen(self, exchange: Exchange) -> None:
        answer = await exchange.act() if self.after else None
        if await exchange.patience(self.seconds):
            await exchange.answer(answer or await exchange.act())


@dataclass(frozen=True)
class Hold(Fault):
    """No answer until it is released; then the request is served, also if the client has left."""

    kind = "hold"
    after: bool = False
    _released: Future[None] = field(default_factory=Future, init=False, repr=False, compare=False)

    async def _happen(self, exchange: Exchange) -> None:
        answer = await exchange.act() if self.after else None
        # One request that ends otherwise, as in an outage, is not to end the wait of the others.
        await asyncio.shield(asyncio.wrap_future(self._released))
        await exchange.answer(answer or await exchange.act())

    def release(self) -> None:
        """Serve the requests that it holds, and those to come."""
        if not self._released.done():
            self._released.set_result(None)


@dataclass(frozen=True)
class Truncate(Fault):
    """Half of the answer, then the connection is closed."""

    kind = "truncate"

    async def _happen(self, exchange: Exchange) -> None:
        await exchange.answer_half(await exchange.act())


@dataclass(frozen=True)
class Instead(Fault):
    """Another answer than that of the application."""

    after: bool = field(default=False, kw_only=True)

    async def _happen(self, exchange: Exchange) -> None:
        if self.after:
            await exchange.act()
        await exchange.answer(self._response())

    @abstractmethod
    def _response(self) -> Response: ...


@dataclass(frozen=True)
class Status(Instead):
    """An HTML page with an HTTP status."""

    kind = "status"
    code: StatusCode
    retry_after: int | HeaderValue | None = None

    def _response(self) -> Response:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        page = pages.page(f"HTTP Status {self.code}", "The server could not serve this request.")
        return HTMLResponse("" if self.code in _WITHOUT_BODY else page, self.code, headers)


@dataclass(frozen=True)
class Nonsense(Instead):
    """HTTP 200 with a body that is no answer."""

    kind = "nonsense"
    body: Literal["html", "not_utf8", "broken_json"]

    def _response(self) -> Response:
        content, media_type = _NONSENSE[self.body]
        return Response(content, media_type=media_type)


@dataclass(frozen=True)
class Flood(Instead):
    """An answer that is far too long; it is a JSON object, for who reads to its end."""

    kind = "flood"
    megabytes: Megabytes = 100
    announced: bool = False

    def _response(self) -> Response:
        headers = {"Content-Length": str(self.megabytes * MEGABYTE)} if self.announced else {}
        return StreamingResponse(flooding(self.megabytes), headers=headers, media_type=_JSON)


@dataclass(frozen=True)
class Redirect(Instead):
    """A redirect to anywhere."""

    kind = "redirect"
    url: HeaderValue
    code: StatusCode = 302

    def _response(self) -> Response:
        return Response(status_code=self.code, headers={"Location": self.url})


@dataclass(frozen=True)
class Drip(Fault):
    """The answer, drop by drop."""

    kind = "drip"
    seconds: Seconds

    async def _happen(self, exchange: Exchange) -> None:
        answer = await exchange.act()
        slow = StreamingResponse(dripping(bytes(answer.body), self.seconds), answer.status_code)
        slow.raw_headers = answer.raw_headers
        await exchange.answer(slow)


@dataclass(frozen=True)
class Patched(Fault):
    """The answer with something changed, if it is JSON."""

    async def _happen(self, exchange: Exchange) -> None:
        answer = await exchange.act()
        if answer.headers.get("Content-Type", "").startswith("application/json"):
            answer.body = json.dumps(self._change(json.loads(bytes(answer.body)))).encode()
            answer.headers["Content-Length"] = str(len(answer.body))
        await exchange.answer(answer)

    @abstractmethod
    def _change(self, envelope: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Patch(Patched):
    """The answer with some fields changed."""

    kind = "patch"
    fields: Mapping[str, object]

    def _change(self, envelope: dict[str, Any]) -> dict[str, Any]:
        old = "errorCode" in envelope
        return envelope | {camel_case(name) if old else name: value for name, value in self.fields.items()}


@dataclass(frozen=True)
class Word(Patched):
    """A service whose state is put into some word or other JSON value, maybe under some other name."""

    kind = "word"
    value: object
    service: str | None = None
    name: str | None = None

    def concerns(self, call: str, path: str) -> bool:
        """Tell whether this is a look at the service."""
        return call == "service" and self.service in {None, path.rpartition("/")[2]}

    def _change(self, envelope: dict[str, Any]) -> dict[str, Any]:
        for entry in (envelope.get("res_obj") or envelope.get("resObj") or {}).get("key_property", ()):
            if re.fullmatch("(Running|Operating) Status", entry["name"]):
                entry["value"] = self.value
                entry["name"] = self.name or entry["name"]
        return envelope


@dataclass(frozen=True)
class LoginPage(Fault):
    """CAS lets nobody in, whatever the password."""

    kind = "login_page"
    page: PageName

    def concerns(self, call: str, path: str) -> bool:  # noqa: ARG002
        """Tell whether this is a form sent in, or one asked for that is to have a CAPTCHA."""
        return call == "login" or (call == "login_page" and self.page == "captcha")

    async def _happen(self, exchange: Exchange) -> None:
        exchange.mark(login_page=self.page)
        await exchange.answer(await exchange.act())


@dataclass(frozen=True)
class Expire(Fault):
    """All sessions end before the request is served."""

    kind = "expire"
    tickets: bool = True

    async def _happen(self, exchange: Exchange) -> None:
        exchange.expire_sessions(self.tickets)
        await exchange.answer(await exchange.act())


KINDS: Mapping[str, type[Fault]] = {
    kind.kind: kind
    for kind in (
        Cut,
        Stall,
        Hold,
        Truncate,
        Status,
        Nonsense,
        Flood,
        Redirect,
        Drip,
        Patch,
        Word,
        LoginPage,
        Expire,
    )
}
"""The faults by the names that they have in JSON."""
