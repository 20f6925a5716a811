from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from airflow_mrs.manager import aio, client
from airflow_mrs.manager.aio import AsyncClient
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.session import forget_refusals
from airflow_mrs.manager.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mrs.manager.protocol import Call
    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.simulator import Simulator

T = TypeVar("T")
log = logging.getLogger("tests.integration")


class Driver(Protocol):
    """What both drivers do, as a blocking program sees it."""

    def call(self, call: Call[T]) -> T: ...

    def run(self, procedure: Procedure[T]) -> T: ...

    def close(self) -> None: ...

    def end(self) -> None: ...


class Blocking:
    def __init__(self, settings: Settings) -> None:
        self._client = Client(settings)

    def call(self, call: Call[T]) -> T:
        return self._client.call(call)

    def run(self, procedure: Procedure[T]) -> T:
        return self._client.run(procedure, log)

    def close(self) -> None:
        self._client.close()

    def end(self) -> None:
        """There is nothing else to end."""


class Asynchronous:
    def __init__(self, settings: Settings) -> None:
        self._client = AsyncClient(settings)
        self._runner = asyncio.Runner()

    def call(self, call: Call[T]) -> T:
        return self._runner.run(self._client.call(call))

    def run(self, procedure: Procedure[T]) -> T:
        return self._runner.run(self._client.run(procedure, log, max_age=0.0))

    def close(self) -> None:
        self._runner.run(self._client.close())

    def end(self) -> None:
        self._runner.close()


def settings_of(simulator: Simulator, **changes: Any) -> Settings:
    """The settings by which a simulator is reached, with changes."""
    connection = simulator.connection
    extra = connection["extra"]
    return Settings(
        **{
            "name": "mrs_test",
            "host": connection["host"],
            "port": connection["port"],
            "login": connection.get("login"),
            "password": connection.get("password"),
            "timeout": 60.0,
            **extra,
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def _no_refusals() -> Iterator[None]:
    yield
    forget_refusals()


@pytest.fixture(autouse=True)
def _patient_logout(monkeypatch: pytest.MonkeyPatch) -> None:
    for driver in (aio, client):
        monkeypatch.setattr(driver, "_LOGOUT_TIMEOUT", 60.0)


@pytest.fixture(params=[Blocking, Asynchronous], ids=["requests", "aiohttp"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Driver]]:
    """Connect one of the two drivers to a simulator; every test is run with both."""
    with ExitStack() as drivers:

        def open_driver(simulator: Simulator, **changes: Any) -> Driver:
            driver: Driver = request.param(settings_of(simulator, **changes))
            drivers.callback(driver.end)
            drivers.callback(driver.close)
            return driver

        yield open_driver
