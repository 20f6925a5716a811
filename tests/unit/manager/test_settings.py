from __future__ import annotations

from typing import Any

import pytest

from airflow_mrs.manager.errors import InvalidArgument
from airflow_mrs.manager.settings import Settings


def make(**fields: Any) -> Settings:
    return Settings(**{"name": "mrs_test", "host": "10.0.0.5", **fields})


@pytest.mark.parametrize(
    ("fields", "web", "cas"),
    [
        ({}, "https://10.0.0.5:28443", "https://10.0.0.5:20009/cas"),
        ({"host": "fd00::5"}, "https://[fd00::5]:28443", "https://[fd00::5]:20009/cas"),
        ({"port": 1, "cas_port": 2}, "https://10.0.0.5:1", "https://10.0.0.5:2/cas"),
        ({"cas_url": "https://sso.example/cas/"}, "https://10.0.0.5:28443", "https://sso.example/cas"),
    ],
)
def test_addresses(fields: dict[str, Any], web: str, cas: str) -> None:
    settings = make(**fields)
    assert (settings.web_origin, settings.cas_base) == (web, cas)


@pytest.mark.parametrize(
    ("fields", "uses_cas"),
    [
        ({}, False),
        ({"login": "a", "password": "b"}, True),
        ({"login": "a", "password": "b", "auth": "cas"}, True),
        ({"login": "a", "password": "b", "auth": "none"}, False),
    ],
)
def test_a_login_means_cas(fields: dict[str, Any], uses_cas: bool) -> None:
    assert make(**fields).uses_cas is uses_cas


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"host": host}
            for host in ("", "https://10.0.0.5", "10.0.0.5:28443", "a/b", "a b", "u@h", "-a", "h\n")
        ),
        {"known_as": ("ok.example", "no/pe")},
        *({"port": port} for port in (0, -1, 65536)),
        {"cas_port": 70000},
        *({"timeout": timeout} for timeout in (0, -1, float("inf"), float("nan"))),
        {"auth": "basic"},
        {"auth": "cas"},
        {"login": "a"},
        {"password": "without-a-login"},
        {"login": "a", "auth": "cas", "password": ""},
        *(
            {"cas_url": url}
            for url in (
                *("http://h/cas", "h:20009/cas", "https://", "https://u:p@h/cas", "https://h/cas?x=1"),
                *("https://[", "https://h:99999/cas", "https://h:0/cas", "https://h/cas#x", ""),
            )
        ),
    ],
    ids=str,
)
def test_what_can_not_be_right(fields: dict[str, Any]) -> None:
    """The message names the connection and the field."""
    with pytest.raises(InvalidArgument, match=rf"'mrs_test'.*\b{next(iter(fields))}\b"):
        make(**fields)


def test_secrets_are_not_shown() -> None:
    settings = make(login="admin", password="s3cret-word", ca_cert="-----BEGIN key-words")
    assert "s3cret-word" not in repr(settings) + str(settings)
    assert "key-words" not in repr(settings)


def test_equal_settings_may_share_a_session_and_a_new_password_is_another() -> None:
    one = make(login="admin", password="a", known_as=("m",))
    assert len({one, make(login="admin", password="a", known_as=("m",))}) == 1
    assert one != make(login="admin", password="b", known_as=("m",))
