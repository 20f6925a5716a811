from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_mrs.connection import read_settings
from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.settings import Settings


def read(extra: dict[str, object] | str | None = None, **fields: Any) -> Settings:
    text = extra if isinstance(extra, str) else json.dumps(extra or {})
    connection = Connection(
        **{"conn_id": "c", "conn_type": "mrs", "host": "10.0.0.5", "extra": text, **fields}
    )
    return read_settings("c", connection, connection.extra_dejson)


def test_what_is_not_given_has_its_default() -> None:
    assert read() == Settings("c", "10.0.0.5")


def test_every_field_is_read() -> None:
    extra: dict[str, object] = {
        "auth": "cas",
        "cas_port": "20010",
        "cas_url": "https://sso.example/cas",
        "verify": "False",
        "ca_cert": "/ca.pem",
        "timeout": "12.5",
        "status_property": "state",
        "known_as": "a.example, b.example",
    }
    assert read(extra, port=1, login="u", password="p") == Settings(
        *(
            "c",
            "10.0.0.5",
            1,
            "u",
            "p",
            "cas",
            20010,
            "https://sso.example/cas",
            False,
            "/ca.pem",
            12.5,
            "state",
        ),
        known_as=("a.example", "b.example"),
    )


@pytest.mark.parametrize(
    ("value", "verify"), [(False, False), ("no", False), (0, False), ("TRUE", True), ("", True)]
)
def test_flags_come_in_many_ways(value: object, verify: bool) -> None:
    assert read({"verify": value}).verify is verify


@pytest.mark.parametrize(
    "extra",
    [
        {"auth": 1},
        {"cas_port": "x"},
        {"cas_port": "20009.7"},
        {"cas_port": "nan"},
        {"cas_port": "inf"},
        {"timeout": True},
        {"verify": "maybe"},
        {"known_as": [1]},
        {"known_as": {"a": 1}},
        {"cas_url": ["x"]},
    ],
    ids=str,
)
def test_a_field_that_can_not_be_right_is_named(extra: dict[str, object]) -> None:
    with pytest.raises(
        InvalidArgument, match=rf"'c': '{next(iter(extra))}' in its extra must be .*(such as|true or false)"
    ):
        read(extra)


@pytest.mark.parametrize("extra", ["{", "[]", '"cas_port"', "5", "s3cret"])
def test_an_extra_that_can_not_be_read_is_no_empty_one(extra: str) -> None:
    """Airflow makes an empty one of it, and a ``ca_cert`` in it would be gone."""
    with pytest.raises(InvalidArgument, match="its extra must be a JSON object, such as") as refused:
        read(extra=extra)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("extra", [None, "", "{}", "null"])
def test_an_empty_extra(extra: str | None) -> None:
    assert (
        read_settings("c", Connection(conn_id="c", conn_type="mrs", host="10.0.0.5", extra=extra), {})
        == read()
    )


def test_a_field_that_nobody_reads_is_named_once_with_the_nearest_known_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        read({"ca_certs": "s3cret", "cas_port": 20009, "colour": "s3cret"})

    assert sorted(caplog.messages) == [
        "MRS connection 'c': 'ca_certs' in its extra is not known and has no effect; did you mean 'ca_cert'?",
        (
            "MRS connection 'c': 'colour' in its extra is not known and has no effect; known are auth, ca_cert, cas_port, "
            "cas_url, known_as, status_property, timeout, verify."
        ),
    ]


def test_port_0_is_no_empty_port() -> None:
    assert read(port=None).port == 28443
    with pytest.raises(InvalidArgument, match="port must be"):
        read(port=0)


@pytest.mark.parametrize(
    ("fields", "message"), [({"conn_type": "http"}, "of type 'http'"), ({"host": ""}, "host is missing")]
)
def test_connections_of_another_kind(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read(**fields)
