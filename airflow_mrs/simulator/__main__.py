"""Command line: `python -m airflow_mrs.simulator`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mrs.simulator.arguments import fits
from airflow_mrs.simulator.cluster import Refused
from airflow_mrs.simulator.narrator import tell
from airflow_mrs.simulator.quantities import Seconds
from airflow_mrs.simulator.server import Simulator
from airflow_mrs.simulator.sso import IDLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Simulate MRS Manager with one cluster, on two TLS ports. The first line on stdout is an Airflow connection, fit for
AIRFLOW_CONN_MRS_DEFAULT; the lines after it tell what happens to the cluster. GET /simulator/journal on the web port
returns the same as JSON. POST /simulator/faults lets things go wrong, for example
{"kind": "status", "code": 503, "call": "stop", "times": 2} or {"kind": "switchover", "seconds": 60}; the docstrings of
airflow_mrs.simulator.faults and airflow_mrs.simulator.control list what there is.
"""

_NAME = "python -m airflow_mrs.simulator"
_EVERYWHERE = "Other machines may reach this simulator. Whoever does can read its journal and let things go wrong, without a login."

_PASSWORD = "MRS_SIMULATOR_PASSWORD"  # noqa: S105 - the name of a variable
_LAST_PORT = 65535


# Functions that read an option have the name by which a complaint calls what it should be.
def seconds(text: str) -> float:
    """Return a length of time."""
    if not fits(number := float(text), Seconds):
        raise ValueError(text)
    return number


def port(text: str) -> int:
    """Return the number of a port."""
    if not 0 <= (number := int(text)) <= _LAST_PORT:
        raise ValueError(text)
    return number


def service_and_seconds(text: str) -> tuple[str, float]:
    """Return what stands on both sides of an equals sign."""
    service, _, length = text.partition("=")
    return service, seconds(length)


def _failure(text: str) -> tuple[str, str]:
    service, _, action = text.partition(":")
    if action not in {"stop", "start"}:
        raise ValueError(text)
    return service, action


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description=_DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--web-port", type=port, default=28443, help="port of the web application; 0 picks a free one")
    add("--cas-port", type=port, default=20009, help="port of the single sign-on; 0 picks a free one")
    add("--user", default="admin", help="the one account")
    add(
        "--password",
        help=f"its password, seen by all who list processes; else that in {_PASSWORD}; else one made up",
    )
    add("--mode", choices=["security", "normal"], default="security", help="normal mode knows no login")
    add("--ca-cert", type=Path, metavar="FILE", help="write the CA certificate here")
    add(
        "--command-seconds",
        type=seconds,
        default=10.0,
        metavar="S",
        help="how long a service takes to stop or start",
    )
    add(
        "--service-seconds",
        type=service_and_seconds,
        action="append",
        default=[],
        metavar="SERVICE=S",
        help="the same for one service; repeatable",
    )
    add(
        "--fail",
        type=_failure,
        action="append",
        default=[],
        metavar="SERVICE:stop|start",
        help="let the next stop or start of a service fail half-way; repeatable",
    )
    add(
        "--idle-seconds",
        type=seconds,
        default=IDLE_SECONDS,
        metavar="S",
        help="sessions end when idle this long",
    )
    add("--answer", choices=["page", "redirect"], default="page", help="what follows a successful login")
    add("--camel-case", action="store_true", help="spell the answers' keys as older servers do")
    add("--states", choices=["2x", "3x"], default="3x", help="name states as this version of MRS does")
    add("--known-as", metavar="HOST", help="name this host in redirects, not the one that was asked")
    add(
        "--certificate",
        choices=["good", "expired", "other_host"],
        default="good",
        help="what is wrong with the certificate",
    )
    return parser


async def _run(simulator: Simulator) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await simulator.run(lambda: print(simulator.connection_json, flush=True), stopping)


def options(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the options of the command line, and of the environment."""
    given = vars(_parser().parse_args(arguments))
    # No default of the parser: the help would show it.
    given["password"] = given["password"] or os.environ.get(_PASSWORD)
    given["service_seconds"] = dict(given["service_seconds"])
    return given


def main() -> None:
    """Run the simulator until it is told to end."""
    given = options()
    failures = given.pop("fail")
    try:
        simulator = Simulator(**given)
        for service, action in failures:
            simulator.cluster.fail_next(service, action)
    except (OSError, ValueError, Refused) as error:
        sys.exit(f"{_NAME}: {error}")
    if simulator.everywhere:
        print(_EVERYWHERE, file=sys.stderr, flush=True)
    simulator.journal.on_entry(tell)
    asyncio.run(_run(simulator))


if __name__ == "__main__":
    main()
