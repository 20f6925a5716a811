"""Drives the protocol as the real drivers do, against a Manager that is a function, in simulated time."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_mrs.manager.errors import MRSError, TooLate
from airflow_mrs.manager.message import Flow, Request, Response
from airflow_mrs.manager.session import LogIn, Session
from airflow_mrs.manager.settings import Settings
from airflow_mrs.manager.steps import Ask, Pause, Procedure, Remember, Say, Seen, Send, Step
from airflow_mrs.manager.waiting import Contact

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.manager.protocol import Call

T = TypeVar("T")

NORMAL = Settings("mrs_test", "10.0.0.5")
SECURE = Settings("mrs_test", "10.0.0.5", login="admin", password="s3cret-word")

NOW = 1_800_000_000.0
LOGIN_CHECK = "GET /access/login_check"


def answer(status: int = 200, **envelope: Any) -> Response:
    """An envelope as Manager sends it."""
    return Response(status, (("Content-Type", "application/json"),), json.dumps(envelope).encode())


def command(state: str, command_id: int = -1, *, progress: int = 0, **more: Any) -> Response:
    return answer(**{"id": command_id, "state": state, "error_code": 0, "total_progress": progress, **more})


def service(word: object) -> Response:
    status = {"name": "operatingStatus", "value": word, "type": "STATUS"}
    return answer(id=-1, state="COMPLETE", error_code=0, res_obj={"key_property": [status]})


def page(html: str, status: int = 200, *headers: tuple[str, str]) -> Response:
    return Response(status, (("Content-Type", "text/html"), *headers), html.encode())


def redirect(to: str, *headers: tuple[str, str]) -> Response:
    return Response(302, (("Location", to), *headers))


TO_LOGIN = redirect("https://10.0.0.5:20009/cas/login?service=x")
LOGGED_IN = answer(state="COMPLETE", error_code=0)


def called(request: Request) -> str:
    """What a request asks for: the method, and the path below ``/web/v1``."""
    return f"{request.method} {request.url.partition('/web/v1')[2].partition('?')[0]}"


def converse(flow: Flow[T], manager: Callable[[Request], Response]) -> T:
    """Carry a flow on to its end."""
    try:
        request = next(flow)
        while True:
            try:
                response = manager(request)
            except MRSError as error:
                request = flow.throw(error)
            else:
                request = flow.send(response)
    except StopIteration as stop:
        return cast("T", stop.value)


@dataclass
class Script:
    """
    A Manager that has a list of answers to each call; the last one is given again and again.

    An answer that is an error is raised.
    """

    answers: dict[str, list[Response | MRSError]]
    calls: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        call = called(request)
        if call == LOGIN_CHECK and call not in self.answers:
            return LOGGED_IN
        self.calls.append(call)
        answers = self.answers[call]
        outcome = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(outcome, MRSError):
            raise outcome
        return outcome

    def count(self, method: str) -> int:
        return sum(call.startswith(method) for call in self.calls)


@dataclass
class Clock:
    """A time that passes only when somebody says so."""

    now: float = NOW


@dataclass
class Driver:
    """The loop of a driver; its pauses take no time but the clock's."""

    manager: Callable[[Request], Response]
    clock: Clock = field(default_factory=Clock)
    before: Callable[[Step], None] = lambda _: None
    remember: Callable[[dict[str, str | int]], None] = lambda _: None
    settings: Settings = NORMAL
    lines: list[tuple[int, str]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = Session(self.settings, lambda: self.clock.now, lambda: self.clock.now)

    def call(self, call: Call[T], sent: Send | None = None) -> T:
        exchange = self.session.exchange(call)
        try:
            step = next(exchange)
            while True:
                response = None
                try:
                    if isinstance(step, LogIn):
                        converse(self.session.log_in(), self.manager)
                    else:
                        if sent is not None:
                            self._note(sent)
                        response = self.manager(step)
                except MRSError as error:
                    step = exchange.throw(error)
                else:
                    step = exchange.send(response)
        except StopIteration as stop:
            return cast("T", stop.value)

    def _note(self, sent: Send) -> None:
        """Take the note before the request, as two steps between which something may happen."""
        begun = self.clock.now
        self.before(Remember(sent.note))
        self.remember(sent.note)
        self.before(Ask(sent.call))
        if self.clock.now - begun > sent.within:
            raise TooLate("nothing was sent")

    def run(self, procedure: Procedure[T]) -> T:
        try:
            step = next(procedure)
            while True:
                if not isinstance(step, Send):
                    self.before(step)
                value: Any = None
                problem = None
                match step:
                    case Ask(call) | Send(call):
                        try:
                            value = self.call(call, step if isinstance(step, Send) else None)
                        except MRSError as error:
                            problem = error
                    case Say(level, text):
                        self.lines.append((level, text))
                    case Remember(note):
                        self.remember(note)
                    case Pause(seconds):
                        self.pauses.append(seconds)
                        self.clock.now += seconds
                step = procedure.send(Seen(self.clock.now, value, problem))
        except StopIteration as stop:
            return cast("T", stop.value)

    def contact(self, *, poll_interval: float = 5.0, timeout: float = 3600.0) -> Contact:
        return Contact(
            "stop of HBase", poll_interval, self.clock.now + timeout, self.clock.now, jitter=lambda: 1.0
        )

    @property
    def warnings(self) -> list[str]:
        return [text for level, text in self.lines if level >= logging.WARNING]
