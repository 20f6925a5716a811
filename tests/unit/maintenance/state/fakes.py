"""Airflow's Variables as a test wants them, without an Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Broken(Exception):
    """What Airflow raises where its API server does not answer."""


class Unlisted:
    """Variables as Airflow 3.0 to 3.2 have them. ``broken`` tells of each call whether it fails."""

    __module__ = "airflow.sdk.definitions.variable"
    rows: ClassVar[dict[str, str]]
    broken: ClassVar[Callable[[str], bool]]

    @classmethod
    def get(cls, key: str, default: str | None) -> str | None:
        """Return the default for every failure, as Airflow does."""
        return default if cls.broken("get") else cls.rows.get(key, default)

    @classmethod
    def set(cls, key: str, value: str, description: str = "") -> None:
        if cls.broken("set"):
            raise Broken
        cls.rows[key] = value

    @classmethod
    def delete(cls, key: str) -> None:
        if cls.broken("delete"):
            raise Broken
        cls.rows.pop(key, None)


class Listed(Unlisted):
    """Variables as Airflow 3.3 has them."""

    __module__ = "airflow.sdk.definitions.variable"

    @classmethod
    def keys(cls, prefix: str) -> list[str]:
        if cls.broken("keys"):
            raise Broken
        return [key for key in cls.rows if key.startswith(prefix)]


class Time:
    """Stands in for the module: nothing takes any time but sleep, and that only here."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds
