"""The blocking driver of the protocol, by requests."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from contextlib import closing, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from airflow_mrs.manager.errors import MRSError, TooLate
from airflow_mrs.manager.message import Flow, Request, Response
from airflow_mrs.manager.pace import Pace
from airflow_mrs.manager.session import LogIn, Session, login_locks
from airflow_mrs.manager.steps import (
    Ask,
    Logger,
    OutOfPatience,
    Pause,
    Procedure,
    Remember,
    Say,
    Seen,
    Send,
)
from airflow_mrs.manager.transport import RedactTickets, Traffic, fault, make_tls_context, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.settings import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)
logging.getLogger("urllib3.connectionpool").addFilter(RedactTickets())

_PIECE = 64 * 1024
_LOGOUT_TIMEOUT = 5.0


def _clocks() -> tuple[float, float]:
    """Read two clocks: one that somebody may set, and one that may stand still with a virtual machine."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time(), time.monotonic() if boottime is None else time.clock_gettime(boottime)


@dataclass(frozen=True, slots=True)
class _Allowance:
    """The time in which a request must leave. It passes by whichever clock went further."""

    seconds: float
    begun: tuple[float, float] = field(default_factory=_clocks)

    @property
    def is_over(self) -> bool:
        return any(now - begun > self.seconds for now, begun in zip(_clocks(), self.begun, strict=True))


@dataclass(slots=True, kw_only=True)
class _Sending(Traffic):
    """One request under way: until when, and until when its first byte must leave."""

    deadline: float
    allowance: _Allowance | None = None

    def require_in_time(self) -> None:
        if self.allowance is None or not self.allowance.is_over:
            return
        if self.begun:  # its head alone; nobody should act on that, but who knows
            raise TimeoutError
        raise TooLate(
            f"nothing was sent, since more than {self.allowance.seconds:.0f} s went by after its note was begun. This "
            "process stood still, or Airflow is slow to keep a note"
        )

    def remaining(self) -> float:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


_sending: ContextVar[_Sending] = ContextVar("_sending")


class _BoundedSocket(ssl.SSLSocket):
    """
    Bounds a whole request in time, where requests bounds the gap between two bytes, and its whole answer in bytes.

    It also sees when the first byte of a request leaves, the moment after which nobody knows what was accepted.
    """

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_sending.get().remaining())
        super().do_handshake(block)

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401
        sending = _sending.get()
        sending.require_in_time()
        self.settimeout(sending.remaining())
        sending.begun = True
        super().sendall(data, flags)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:  # noqa: ANN401
        sending = _sending.get()
        self.settimeout(sending.remaining())
        count = super().recv_into(buffer, nbytes, flags)
        sending.receive(count)
        return count


class _BoundedContext(ssl.SSLContext):
    sslsocket_class = _BoundedSocket


class _Connection(HTTPSConnection):
    """Bounds the way to a connection too, however many addresses the host has, and is not used again with a rest in it."""

    @property
    def is_connected(self) -> bool:
        return super().is_connected and not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending())

    def connect(self) -> None:
        super().connect()
        self.is_verified = True  # or not, as the connection wants it: said once, not for each request

    def _new_conn(self) -> socket.socket:
        """Try all addresses of the host. Each gets its share of the time that is left: the last one may be the right one."""
        found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(_sending.get().remaining() / left)
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                connection.close()
                if left == 1:
                    raise
            else:
                return connection
        raise ConnectionError  # for getaddrinfo never finds nothing


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """Uses the connection's own TLS context, with nothing added to it from requests or the environment."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def cert_verify(self, *args: object, **kwargs: object) -> None:
        """Leave the verification to the context."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Choose the pool by the context alone."""
        host_params, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host_params, {"ssl_context": self._context}


class Client:
    """
    A session with Manager for one thread.

    :param settings: where Manager is and how to get in.
    :raises InvalidArgument: when ``ca_cert`` can't be read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = Session(settings)
        self._adapter = _Adapter(make_tls_context(settings, _BoundedContext))
        self._logins = Pace(time.monotonic())

    def call(self, call: Call[T]) -> T:
        """
        Carry out a call, with a login where one is needed.

        :param call: the call.
        :return: what it reads from the answer.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        seen = self._see(call)
        if seen.error is not None:
            raise seen.error
        return cast("T", seen.value)

    def run(
        self,
        procedure: Procedure[T],
        logger: Logger,
        *,
        remember: Callable[[dict[str, str | int]], None] = lambda _: None,
        until: float = float("inf"),
    ) -> T:
        """
        Carry out a procedure of many calls.

        :param procedure: see :mod:`airflow_mrs.manager.submission` and :mod:`airflow_mrs.manager.waiting`.
        :param logger: where the procedure's lines go.
        :param remember: keeps a note for a later try; right before each request that changes something, too. What it
            raises ends the run, with nothing sent.
        :param until: the time, in seconds since the epoch, beyond which it must not pause.
        :return: what the procedure returns.
        :raises OutOfPatience: when it wants to pause beyond that time.
        :raises MRSError: whatever the procedure raises.
        """
        with closing(procedure):
            seen: Any = None  # which begins a generator
            while True:
                try:
                    step = procedure.send(seen)
                except StopIteration as stop:
                    return cast("T", stop.value)
                seen = Seen(time.time())
                match step:
                    case Ask(call):
                        seen = self._see(call)
                    case Send(call, note, within):
                        seen = self._see(call, partial(_note, remember, note, within))
                    case Say(level, text):
                        logger.log(level, "%s", text)
                    case Remember(note):
                        remember(note)
                    case Pause(seconds):
                        if seen.now + seconds > until:
                            raise OutOfPatience
                        time.sleep(seconds)
                        seen = Seen(time.time())

    def _see(self, call: Call[Any], before: Callable[[], _Allowance | None] = lambda: None) -> Seen:
        """Carry out a call; what ``before`` raises, which precedes each of its requests but not a login, is not its error."""
        with closing(self._session.exchange(call)) as exchange:
            step = next(exchange)
            while True:
                allowance = None if isinstance(step, LogIn) else before()
                outcome = self._attempt(step, allowance)
                try:
                    if isinstance(outcome, MRSError):
                        step = exchange.throw(outcome)
                    else:
                        step = exchange.send(outcome)
                except StopIteration as stop:
                    return Seen(time.time(), stop.value)
                except MRSError as error:
                    return Seen(time.time(), error=error)

    def _attempt(self, step: Request | LogIn, allowance: _Allowance | None) -> Response | MRSError | None:
        try:
            if isinstance(step, LogIn):
                self._log_in(step)
                return None
            return self._send(step, allowance=allowance)
        except MRSError as error:
            return error

    def close(self) -> None:
        """Log out, as far as Manager lets us, and close the connections."""
        with suppress(MRSError):
            self._converse(self._session.log_out(), timeout=min(_LOGOUT_TIMEOUT, self.settings.timeout))
        self._adapter.close()

    def _log_in(self, step: LogIn) -> None:
        with login_locks[self.settings]:
            if self._session.generation != step.generation:
                return
            told = self._logins.allows(time.monotonic())
            if told and step.generation:
                log.info("%s: the session was lost, logging in again", self.settings)
            warning = self._converse(self._session.log_in())
            if told and warning:
                log.warning("%s", warning)

    def _converse(self, flow: Flow[T], timeout: float | None = None) -> T:
        with closing(flow):
            try:
                request = next(flow)
                while True:
                    try:
                        response = self._send(request, timeout)
                    except MRSError as error:
                        request = flow.throw(error)
                    else:
                        request = flow.send(response)
            except StopIteration as stop:
                return cast("T", stop.value)

    def _send(
        self, request: Request, timeout: float | None = None, allowance: _Allowance | None = None
    ) -> Response:
        timeout = timeout or self.settings.timeout
        sending = _Sending(deadline=time.monotonic() + timeout, allowance=allowance)
        token = _sending.set(sending)
        prepared = requests.Request(
            request.method, request.url, dict(request.headers), data=request.body
        ).prepare()
        try:
            with self._adapter.send(prepared, stream=True, timeout=timeout) as answer:
                body = bytearray()  # which grows without being copied for each piece
                for piece in answer.raw.stream(_PIECE, decode_content=False):
                    body += piece
                answer.raw.release_conn()
                headers = tuple(answer.raw.headers.items())
                encodings = answer.raw.headers.getlist("Content-Encoding")
                return Response(answer.status_code, headers, unpack(body, encodings), time.time())
        except MRSError:
            raise
        except Exception as error:  # noqa: BLE001 - the libraries let ValueError, MemoryError and others through
            raise fault(self.settings, error, sending) from None
        finally:
            _sending.reset(token)


def _note(
    remember: Callable[[dict[str, str | int]], None], note: dict[str, str | int], within: float
) -> _Allowance:
    """Keep the note of a request that is about to leave, and return how long it has for that, the keeping included."""
    allowance = _Allowance(within)
    remember(note)
    return allowance
