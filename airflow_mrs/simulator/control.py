"""`/simulator`: what happened, and what shall go wrong, for whoever stands outside of the simulated world.

=========================  ===================================================================================
`GET /simulator/journal`   what happened
`GET /simulator/faults`    `{"faults": [...]}`: what is set, with the times and seconds that are left
`POST /simulator/faults`   sets a fault of `faults.py`, or lets an event happen at once:
                           `{"kind": "status", "code": 503, "call": "stop", "times": 2}`,
                           `{"kind": "switchover", "seconds": 60}`
`DELETE /simulator/faults` clears all faults, and what `fail_next` and `pretend_next` have in store
=========================  ===================================================================================

====================  ==================================================================  =====================
event                 its fields                                                          in a test
====================  ==================================================================  =====================
`expire_sessions`     `tickets`: those of the single sign-on too (true)                   `simulator.`
`refuse`              `seconds`, `port`: `web`, `cas` or `both` (`both`)                  `simulator.`
`switchover`          `seconds`, `forget_commands` (true)                                 `simulator.`
`admit`               `port`: ends what `refuse` or `switchover` has begun                `simulator.`
`forget_commands`                                                                         `simulator.cluster.`
`fail_next`           `service`, `action`, `at` (0.5), `times` (1), `code`, `text`        `simulator.cluster.`
`pretend_next`        `service`, `action`, `times` (1)                                    `simulator.cluster.`
`set_state`           `service`, `state`, `seconds` until a moving service gets there     `simulator.cluster.`
`pass_time`           `seconds`                                                           `simulator.`
====================  ==================================================================  =====================

`refuse`, `switchover` and `admit` act when their answer is out. The port of this interface may be among those that close.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.routing import Mount, Route, Router

from airflow_mrs.simulator.arguments import prepare, read
from airflow_mrs.simulator.cluster import Refused
from airflow_mrs.simulator.envelope import PlainJSON
from airflow_mrs.simulator.faults import KINDS
from airflow_mrs.simulator.schedule import ANY
from airflow_mrs.simulator.strangers import NoStrangers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_mrs.simulator.server import Simulator

_TERMS = {"call", "times", "for_seconds", "chance"}


class Control:
    """The control interface. It needs no login, only nearness, and nothing goes wrong with it."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        cluster = simulator.cluster
        self._events: dict[str, Callable[..., None]] = {
            "expire_sessions": simulator.expire_sessions,
            "forget_commands": cluster.forget_commands,
            "fail_next": cluster.fail_next,
            "pretend_next": cluster.pretend_next,
            "set_state": cluster.set_state,
            "pass_time": simulator.pass_time,
        }
        self._outages: dict[str, Callable[..., None]] = {
            "refuse": simulator.refuse,
            "switchover": simulator.switchover,
            "admit": simulator.admit,
        }

    def mount(self, names: Iterable[str]) -> Mount:
        """Return the interface of a simulator that has these names, among others."""
        everywhere = self._simulator.everywhere
        routes = [
            Route("/journal", self._read_journal),
            Route("/faults", self._read_faults),
            Route("/faults", self._set_fault, methods=["POST"]),
            Route("/faults", self._clear_faults, methods=["DELETE"]),
        ]
        own = [socket.gethostname()] if everywhere else []
        return Mount("/simulator", NoStrangers(Router(routes), [*names, *own], everywhere=everywhere))

    async def _read_journal(self, _: Request) -> Response:
        return PlainJSON(self._simulator.journal.as_json())

    async def _read_faults(self, _: Request) -> Response:
        return self._faults()

    async def _set_fault(self, request: Request) -> Response:
        try:
            fields = read(await request.body())
            return self._set(str(fields.pop("kind", None)), fields)
        except (ValueError, Refused) as error:
            return PlainJSON({"error": str(error)}, 400)

    async def _clear_faults(self, _: Request) -> Response:
        self._simulator.faults.clear()
        self._simulator.cluster.fail_no_more()
        return self._faults()

    def _set(self, kind: str, fields: dict[str, Any]) -> Response:
        if kind in KINDS:
            terms = {name: fields.pop(name) for name in _TERMS & fields.keys()}
            fault = prepare(KINDS[kind], fields)()
            prepare(self._simulator.faults.set, {"call": ANY, "fault": fault, **terms})()
            return self._faults()
        if kind in self._events:
            prepare(self._events[kind], fields)()
            return self._faults()
        if kind in self._outages:
            # The answer goes out first: this port may be among those that close.
            return self._faults(BackgroundTask(prepare(self._outages[kind], fields)))
        known = ", ".join([*KINDS, *self._events, *self._outages])
        raise ValueError(f"kind is one of {known}")

    def _faults(self, background: BackgroundTask | None = None) -> Response:
        return PlainJSON({"faults": self._simulator.faults.as_json()}, background=background)
