"""The asynchronous driver of the protocol, by aiohttp, and the clients that a process shares."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import asynccontextmanager, closing, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.message import Flow, Request, Response
from airflow_mrs.manager.pace import Pace
from airflow_mrs.manager.session import LogIn, Session
from airflow_mrs.manager.steps import Ask, Logger, Pause, Procedure, Remember, Say, Seen, Send
from airflow_mrs.manager.transport import Traffic, fault, make_tls_context, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.settings import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 8
_OLDEST_ANSWER = 30.0
_LONGEST_HEADER = 64 * 1024  # as the blocking driver's library has it
_LINGER = 30.0
_LOGOUT_TIMEOUT = 5.0


_sending: ContextVar[Traffic] = ContextVar("_sending")


class _BoundedObject(ssl.SSLObject):
    """Bounds a whole answer in bytes, and sees when the first byte of a request leaves. asyncio reads and writes through it."""

    _traffic = Traffic(over=True)  # before the first request nothing may come

    def write(self, data: Any) -> int:  # noqa: ANN401 - as the base class has it
        sending = _sending.get(self._traffic)
        if not sending.over:  # or it is that of the task which made this connection
            self._traffic = sending
        self._traffic.begun = True
        return super().write(data)

    def read(self, *arguments: Any) -> Any:  # noqa: ANN401
        read: Any = super().read(*arguments)  # bytes, or how many of them are in the buffer that was given
        self._traffic.receive(read if isinstance(read, int) else len(read))
        return read


class _BoundedContext(ssl.SSLContext):
    sslobject_class = _BoundedObject


class AsyncClient:
    """
    A session with Manager for any number of tasks of one event loop.

    :param settings: where Manager is and how to get in.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = Session(settings)
        self._login: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None
        self._reads: dict[str, tuple[float, asyncio.Task[Any]]] = {}
        self._logins = Pace(time.monotonic())

    async def call(self, call: Call[T]) -> T:
        """
        Carry out a call, with a login where one is needed.

        :param call: the call.
        :return: what it reads from the answer.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        with closing(self._session.exchange(call)) as exchange:
            try:
                step = next(exchange)
                while True:
                    try:
                        if isinstance(step, LogIn):
                            await self._log_in(step)
                            response = None
                        else:
                            response = await self._send(step)
                    except MRSError as error:
                        step = exchange.throw(error)
                    else:
                        step = exchange.send(response)
            except StopIteration as stop:
                return cast("T", stop.value)

    async def read(self, call: Call[T], *, max_age: float) -> T:
        """
        Carry out a call that changes nothing, or share the answer that somebody else just got.

        :param call: a GET.
        :param max_age: seconds that such an answer may be old.
        :return: what the call reads.
        :raises MRSError: as :meth:`call`, to everybody who shares.
        """
        key, now = f"{call}{call.query}", time.monotonic()
        begun, task = self._reads.get(key, (-max_age, None))
        if task is None or (task.done() and now - begun >= max_age):
            task = asyncio.create_task(self.call(call))
            self._reads[key] = (now, task)
            task.add_done_callback(_note_exception)
            self._drop_old_reads(now)
        return cast("T", await asyncio.shield(task))

    async def run(self, procedure: Procedure[T], logger: Logger, *, max_age: float) -> T:
        """
        Carry out a procedure of many calls, none of which changes anything.

        :param procedure: see :mod:`airflow_mrs.manager.waiting`.
        :param logger: where the procedure's lines go.
        :param max_age: seconds that an answer may be old which somebody else got; half a minute at most, and never as
            old as the procedure's last one, which would be counted twice.
        :return: what the procedure returns.
        :raises MRSError: whatever the procedure raises.
        """
        max_age = min(max_age, _OLDEST_ANSWER)
        last = -max_age
        with closing(procedure):
            try:
                step = next(procedure)
                while True:
                    seen = Seen(time.time())
                    match step:
                        case Ask(call):
                            seen = await self._see(call, min(max_age, time.monotonic() - last))
                            last = time.monotonic()
                        case Say(level, text):
                            logger.log(level, "%s", text)
                        case Pause(seconds):
                            await asyncio.sleep(seconds)
                            seen = Seen(time.time())
                        case Send() | Remember():
                            raise TypeError("nothing is sent from here, so there is nothing to remember")
                    step = procedure.send(seen)
            except StopIteration as stop:
                return cast("T", stop.value)

    async def _see(self, call: Call[Any], max_age: float) -> Seen:
        try:
            value = await self.read(call, max_age=max_age)
        except MRSError as error:
            return Seen(time.time(), error=error)
        return Seen(time.time(), value)

    async def close(self) -> None:
        """Log out, as far as Manager lets us, and close the connections."""
        tasks = [task for _, task in self._reads.values()]
        if self._login is not None:
            tasks.append(self._login)
        for task in tasks:
            task.cancel()
        self._reads.clear()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._http is not None:
                with suppress(MRSError):
                    timeout = min(_LOGOUT_TIMEOUT, self.settings.timeout)
                    await self._converse(self._session.log_out(), timeout=timeout)
        finally:
            if self._http is not None:
                await self._http.close()

    def _drop_old_reads(self, now: float) -> None:
        for key, (begun, task) in list(self._reads.items()):
            if task.done() and now - begun > 2 * _LINGER:
                del self._reads[key]

    async def _log_in(self, step: LogIn) -> None:
        """Log in, or share the login that is under way, and its failure: none who waits for it tries once more."""
        if self._session.generation != step.generation:
            return
        if self._login is None or self._login.done():
            self._login = asyncio.create_task(self._begin_session(again=step.generation > 0))
            self._login.add_done_callback(_note_exception)
        await asyncio.shield(self._login)

    async def _begin_session(self, *, again: bool) -> None:
        told = self._logins.allows(time.monotonic())
        if told and again:
            log.info("%s: the session was lost, logging in again", self.settings)
        warning = await self._converse(self._session.log_in())
        if told and warning:
            log.warning("%s", warning)

    async def _converse(self, flow: Flow[T], timeout: float | None = None) -> T:  # noqa: ASYNC109 - of each request
        with closing(flow):
            try:
                request = next(flow)
                while True:
                    try:
                        response = await self._send(request, timeout)
                    except MRSError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(response)
            except StopIteration as stop:
                return cast("T", stop.value)

    async def _send(self, request: Request, timeout: float | None = None) -> Response:  # noqa: ASYNC109
        http = await self._open()
        sending = Traffic()
        token = _sending.set(sending)
        try:
            async with http.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout or self.settings.timeout),
            ) as answer:
                body = bytearray()  # which grows without being copied for each piece
                async for piece in answer.content.iter_any():
                    body += piece
                encodings = answer.headers.getall("Content-Encoding", [])
                return Response(
                    answer.status, tuple(answer.headers.items()), unpack(body, encodings), time.time()
                )
        except MRSError:
            raise
        except aiohttp.ClientConnectorCertificateError as error:
            # It passes itself off as the error it wraps, but has none of its fields.
            raise fault(self.settings, error.certificate_error, sending) from None
        except Exception as error:  # noqa: BLE001 - whatever the library lets through
            raise fault(self.settings, error, sending) from None
        finally:
            sending.over = True
            _sending.reset(token)

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._http is None:
                context = await asyncio.to_thread(make_tls_context, self.settings, _BoundedContext)
                self._http = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, limit=_MOST_CONNECTIONS),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    max_line_size=_LONGEST_HEADER,
                    max_field_size=_LONGEST_HEADER,
                    auto_decompress=False,
                )
            return self._http


def _note_exception(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from complaining about an error that nobody is left to take."""
    if not task.cancelled():
        task.exception()


class _Shared:
    """A client, how many use it, and the task that closes it."""

    def __init__(self, settings: Settings) -> None:
        self.client = AsyncClient(settings)
        self.users = 0
        self.closes_at = 0.0
        self.keeper: asyncio.Task[None] | None = None


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(settings: Settings) -> AsyncIterator[AsyncClient]:
    """
    Borrow the client that everybody in this event loop shares who has the same settings.

    It is closed a while after the last one left: the next stop of a maintenance window comes in a second.

    :param settings: where Manager is and how to get in.
    :return: the client, for the duration of the block.
    """
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    shared = clients.get(settings)
    if shared is None:
        shared = clients[settings] = _Shared(settings)
        shared.keeper = asyncio.create_task(_keep(clients, shared))
    shared.users += 1
    try:
        yield shared.client
    finally:
        shared.users -= 1
        shared.closes_at = time.monotonic() + _LINGER


async def _keep(clients: dict[Settings, _Shared], shared: _Shared) -> None:
    """
    Close a client some time after the last one left.

    It is there from the first one on, so that a loop which ends cancels it together with those who still wait.
    """
    try:
        while (left := _LINGER if shared.users else shared.closes_at - time.monotonic()) > 0:  # noqa: ASYNC110 - for an absence
            await asyncio.sleep(left)
    finally:
        del clients[shared.client.settings]
        await shared.client.close()
