"""What both drivers share: whom to trust, how much to read, and how to name a broken connection."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from base64 import b64decode
from typing import TYPE_CHECKING

import certifi

from airflow_mrs.manager.errors import CertificateRefused, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mrs.manager.settings import Settings

MOST_BYTES = 8 * 1024 * 1024
"""No answer of Manager's is larger; of anything larger the rest is not read."""

_PEM = re.compile("-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END", re.DOTALL)
_SECRET_IN_URL = re.compile(r"(ticket=|;jsessionid=)[^&\s\"']+", re.IGNORECASE)


def make_tls_context(
    settings: Settings, context_class: type[ssl.SSLContext] = ssl.SSLContext
) -> ssl.SSLContext:
    """
    Build the TLS context of a connection. It reads files, so it belongs in a thread where a loop runs.

    No variable of the environment has a say in it.

    :param settings: ``verify`` and ``ca_cert`` decide.
    :param context_class: the class of the context.
    :return: the context.
    :raises InvalidArgument: when ``ca_cert`` is neither PEM text nor the path of a PEM file.
    """
    context = context_class(ssl.PROTOCOL_TLS_CLIENT)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # Lets a server's own certificate be trusted directly, as a shipped one has to be.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        if settings.ca_cert is None:
            context.load_verify_locations(cafile=certifi.where())
        elif "-----BEGIN" in settings.ca_cert:
            context.load_verify_locations(cadata=_certificates(settings.ca_cert))
        else:
            context.load_verify_locations(cafile=os.path.expanduser(settings.ca_cert))  # noqa: PTH111
    except (OSError, ValueError) as error:
        reason = "no PEM certificates are in it"
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            reason = os.strerror(error.errno or 0).lower()
        raise InvalidArgument(
            f"{settings}: 'ca_cert' in the connection's extra must be the path of a PEM file, readable on every "
            f"worker and triggerer, or the PEM text itself: {reason}."
        ) from None
    return context


def _certificates(pasted: str) -> bytes:
    r"""
    Return the certificates of a PEM text, in DER. Around them may stand anything: comments with umlauts, a key.

    On the way through forms, variables of the environment and JSON, ends of lines become spaces, or ``\n`` in two letters.
    """
    bodies: list[str] = _PEM.findall(pasted)
    if not bodies:
        raise ValueError("no certificate")
    return b"".join(b64decode(re.sub(r"\\[rn]|\s", "", body), validate=True) for body in bodies)


def certificate_refused(settings: Settings, error: ssl.SSLCertVerificationError) -> CertificateRefused:
    """
    Name a certificate that failed verification, and the field of the connection that would mend it.

    :param settings: the connection.
    :param error: what OpenSSL says.
    :return: the error to raise.
    """
    return CertificateRefused(
        f"{settings}: the certificate of Manager was refused: {error.verify_message.rstrip('.')}. Put the certificate authority "
        "that signed it, or the certificate itself, into 'ca_cert' of the connection's extra, and reach Manager by "
        "a name that the certificate carries; setting 'verify' to false gives up the check. No credential was sent."
    )


def find_cause(error: BaseException, kind: type[OSError]) -> OSError | None:
    """
    Find the system's error behind a library's.

    :param error: what the library raised.
    :param kind: the class looked for.
    :return: the first error of that class among the causes and arguments; None where there is none.
    """
    return next((cause for cause in _causes(error) if isinstance(cause, kind)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Go from a library's error to what is behind it: causes, contexts, and errors among the arguments."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        candidate = pending.pop(0)
        if isinstance(candidate, BaseException) and id(candidate) not in seen:
            seen.add(id(candidate))
            yield candidate
            pending += [candidate.__cause__, candidate.__context__, getattr(candidate, "reason", None)]
            pending += [getattr(candidate, "os_error", None), *candidate.args]


def reason(error: BaseException) -> str:
    """
    Say in a few words why a connection broke. A library's own text may hold addresses with tickets in them.

    :param error: what the library raised.
    :return: the system's words for it, or the name of the error.
    """
    if (cause := find_cause(error, ssl.SSLError)) is not None:
        return f"TLS failed ({getattr(cause, 'reason', None) or type(cause).__name__})"
    if isinstance(error, TimeoutError) or find_cause(error, TimeoutError) is not None:
        return "timed out"
    if find_cause(error, socket.gaierror) is not None:
        return "the host's name is not known"
    for candidate in _causes(error):
        if isinstance(candidate, OSError) and candidate.errno:
            return os.strerror(candidate.errno).lower()
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


class RedactTickets(logging.Filter):
    """Takes the tickets out of the addresses that an HTTP library writes to its log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, never drop it."""
        message = record.getMessage()
        redacted = _SECRET_IN_URL.sub(r"\1***", message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        return True
