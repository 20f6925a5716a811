"""An Airflow connection of type ``mrs``: which field of it holds which setting."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

CONNECTION_TYPE = "mrs"
DEFAULT_PORT = 28443
DEFAULT_CAS_PORT = 20009
DEFAULT_TIMEOUT = 30.0

_EXAMPLES = {
    "auth": "cas",
    "ca_cert": "/path/of/ca.pem",
    "cas_port": DEFAULT_CAS_PORT,
    "cas_url": "https://10.0.0.5:20009/cas",
    "known_as": "10.0.0.5,manager.example",
    "status_property": "operational_status",
    "timeout": DEFAULT_TIMEOUT,
    "verify": True,
}
"""What the extra of a connection may hold, each with a right value."""

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_settings(conn_id: str, connection: Connection, extra: Mapping[str, object]) -> Settings:
    """
    Turn a connection into settings.

    :param conn_id: its id, for messages.
    :param connection: the connection.
    :param extra: its extra, decoded.
    :return: the settings.
    :raises InvalidArgument: naming the field that can't be right.
    """
    if connection.conn_type != CONNECTION_TYPE:
        raise InvalidArgument(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}. Create one of type {CONNECTION_TYPE!r}."
        )
    if not connection.host:
        raise InvalidArgument(
            f"MRS connection {conn_id!r}: the host is missing. Give the floating IP of Manager."
        )
    _require_object(conn_id, connection.extra)
    extra = extra or {}  # that of `null`
    for field in extra.keys() - _EXAMPLES.keys():
        _warn_of_unknown(conn_id, field)
    fields = _Extra(conn_id, extra)
    return Settings(
        name=conn_id,
        host=connection.host,
        port=DEFAULT_PORT if connection.port is None else connection.port,
        login=connection.login or None,
        password=connection.password or None,
        auth=fields.text("auth"),
        cas_port=fields.whole_number("cas_port", DEFAULT_CAS_PORT),
        cas_url=fields.text("cas_url"),
        verify=fields.flag("verify", default=True),
        ca_cert=fields.text("ca_cert"),
        timeout=fields.number("timeout", DEFAULT_TIMEOUT),
        status_property=fields.text("status_property"),
        known_as=fields.names("known_as"),
    )


def _require_object(conn_id: str, extra: str | None) -> None:
    """Refuse an extra that can't be read, for which Airflow puts an empty one: it may have held ``ca_cert``."""
    try:
        is_object = not extra or isinstance(json.loads(extra), dict | None)
    except ValueError:
        is_object = False
    if not is_object:
        raise InvalidArgument(
            f"MRS connection {conn_id!r}: its extra must be a JSON object, such as "
            '{"cas_port": 20009, "ca_cert": "/path/of/ca.pem"}; what it holds is none.'
        )


@cache
def _warn_of_unknown(conn_id: str, field: str) -> None:
    """Name a field that nobody reads, once in a process. Its value may be a secret."""
    from difflib import get_close_matches  # noqa: PLC0415 - which no DAG needs that is right

    near = get_close_matches(field, _EXAMPLES, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_EXAMPLES)}."
    logging.getLogger(__name__).warning(
        "MRS connection %r: %r in its extra is not known and has no effect; %s", conn_id, field, meant
    )


@dataclass(frozen=True, slots=True)
class _Extra:
    """The extra of a connection. Its values come from forms, URIs and JSON, so a number may be a text."""

    conn_id: str
    content: Mapping[str, object]

    def text(self, field: str) -> str | None:
        value = self._value(field)
        if value is not None and not isinstance(value, str):
            raise self._wrong(field, f"a text, such as {_EXAMPLES[field]!r}")
        return value

    def number(self, field: str, default: float) -> float:
        value = self._value(field)
        if value is None:
            return default
        try:
            return float(str(value))
        except ValueError:
            raise self._wrong(field, f"a number, such as {_EXAMPLES[field]}") from None

    def whole_number(self, field: str, default: int) -> int:
        number = float(self.number(field, default))
        if not number.is_integer():
            raise self._wrong(field, f"a whole number, such as {_EXAMPLES[field]}")
        return int(number)

    def flag(self, field: str, *, default: bool) -> bool:
        value = self._value(field)
        if value is None:
            return default
        try:
            return _FLAGS[str(value).lower()]
        except KeyError:
            raise self._wrong(field, "true or false") from None

    def names(self, field: str) -> tuple[str, ...]:
        value = self._value(field) or []
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._wrong(
                field, f"a list of host names, or one text with commas, such as {_EXAMPLES[field]!r}"
            )
        return tuple(name.strip() for name in names if name.strip())

    def _value(self, field: str) -> object:
        value = self.content.get(field)
        return None if value == "" else value

    def _wrong(self, field: str, wanted: str) -> InvalidArgument:
        return InvalidArgument(
            f"MRS connection {self.conn_id!r}: {field!r} in its extra must be {wanted}, not "
            f"{self.content.get(field)!r}."
        )
