from __future__ import annotations

import gzip
import logging
import os
import ssl
import zlib
from typing import TYPE_CHECKING

import certifi
import pytest

from airflow_mrs.manager.errors import BadAnswer, InvalidArgument
from airflow_mrs.manager.settings import Settings
from airflow_mrs.manager.transport import (
    MOST_BYTES,
    RedactTickets,
    certificate_refused,
    find_cause,
    make_tls_context,
    reason,
    unpack,
)

from .driver import NORMAL

if TYPE_CHECKING:
    from pathlib import Path


def test_a_refused_certificate_names_the_field_that_mends_it() -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "self-signed certificate"
    refused = certificate_refused(NORMAL, error)
    assert refused.permanent
    assert "self-signed certificate" in str(refused)
    assert "'ca_cert'" in str(refused)


@pytest.mark.parametrize(
    ("message", "args", "written"),
    [
        ("GET /x?ticket=ST-1-abc&a=b", (), "GET /x?ticket=***&a=b"),
        ('%s "GET %s HTTP/1.1" 302', ("h", "/x?TICKET=ST-1"), 'h "GET /x?TICKET=*** HTTP/1.1" 302'),
        ("GET /cas/login;jsessionid=ABC?x", (), "GET /cas/login;jsessionid=***"),
        ("%d connections", (3,), "3 connections"),
    ],
)
def test_tickets_do_not_get_into_the_log(message: str, args: tuple[object, ...], written: str) -> None:
    record = logging.LogRecord("urllib3", logging.DEBUG, "", 0, message, args, None)
    assert RedactTickets().filter(record)
    assert record.getMessage() == written


def test_verification_is_on_unless_switched_off() -> None:
    checked = make_tls_context(NORMAL)
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = make_tls_context(Settings("m", "h", verify=False))
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    "ca_cert",
    [
        *("/no/such/file", "a\0b", __file__, "/dev/zero", "/"),
        "-----BEGIN CERTIFICATE-----\nnonsense",
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n\u00fc\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_a_ca_cert_that_is_none(ca_cert: str) -> None:
    with pytest.raises(InvalidArgument, match="ca_cert"):
        make_tls_context(Settings("m", "h", ca_cert=ca_cert))


def test_a_ca_cert_that_is_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidArgument, match="ca_cert"):
        make_tls_context(Settings("m", "h", ca_cert=str(pipe)))


@pytest.mark.parametrize(
    ("body", "encodings", "words"),
    [
        (gzip.compress(b" " * (MOST_BYTES + 1)), ["gzip"], f"more than {MOST_BYTES} bytes"),
        (gzip.compress(b"{}")[:-1], ["gzip"], "ends too early"),
        (b"{}", ["gzip"], "can't be unpacked"),
        (b"{}", ["gzip", "gzip"], "gzip,gzip"),
        (b"{}", ["br"], "nobody asked for: 'br'"),
        (b"{}", ["x" * 100_000], "characters more"),
    ],
    ids=["long", "cut", "broken", "twice", "br", "a long name"],
)
def test_what_can_not_be_unpacked(body: bytes, encodings: list[str], words: str) -> None:
    with pytest.raises(BadAnswer, match=words) as caught:
        unpack(body, encodings)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("encodings", [[], ["identity"], [" GZIP "], ["deflate"]])
def test_what_can_be_unpacked(encodings: list[str]) -> None:
    body = b" " * MOST_BYTES
    packed = {" GZIP ": gzip.compress(body), "deflate": zlib.compress(body)}
    assert unpack(packed.get("".join(encodings), body), encodings) == body


A_CERTIFICATE = certifi.contents().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
ANOTHER = certifi.contents().split("-----END CERTIFICATE-----")[1] + "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("pasted", "certificates"),
    [
        (A_CERTIFICATE, 1),
        (A_CERTIFICATE + ANOTHER, 2),
        ("# Die Stelle in K\u00f6ln\n" + A_CERTIFICATE + "# \u2713\n" + ANOTHER, 2),
        (A_CERTIFICATE.replace("\n", "\\n"), 1),
        (A_CERTIFICATE.replace("\n", "\r\n") + ANOTHER.replace("\n", "\\r\\n"), 2),
        (A_CERTIFICATE.replace("\n", " "), 1),
        (A_CERTIFICATE.replace("CERTIFICATE", "X509 CERTIFICATE"), 1),
        (A_CERTIFICATE + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 1),
    ],
    ids=["one", "two", "comments", "JSON", "Windows", "a variable", "X509", "a key"],
)
def test_a_ca_cert_as_people_paste_it(pasted: str, certificates: int) -> None:
    context = make_tls_context(Settings("m", "h", ca_cert=pasted))

    assert len(context.get_ca_certs()) == certificates


def nested(cause: Exception) -> Exception:
    outer = RuntimeError("see https://h/?ticket=ST-1")
    outer.__cause__ = ValueError("wrapped", cause)
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (nested(ConnectionRefusedError(111, "Connection refused")), "connection refused"),
        (nested(TimeoutError()), "timed out"),
        (TimeoutError(), "timed out"),
        (
            nested(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")),
            "TLS failed (SSLError)",
        ),
        (nested(KeyError()), "runtime error"),
    ],
)
def test_the_reason_of_a_broken_connection_shows_no_address(error: Exception, words: str) -> None:
    assert reason(error) == words


def test_a_cause_is_found_also_where_causes_go_in_circles() -> None:
    error = RuntimeError()
    error.__context__ = error
    assert find_cause(error, TimeoutError) is None
