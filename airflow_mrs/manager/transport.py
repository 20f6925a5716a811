"""What both drivers share: whom to trust, how much to read, and how to name a broken connection."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import stat
import zlib
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import certifi

from airflow_mrs.manager.errors import AnswerLost, BadAnswer, CertificateRefused, InvalidArgument, Unreachable
from airflow_mrs.manager.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mrs.manager.errors import MRSError
    from airflow_mrs.manager.settings import Settings

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 1024 * 1024
"""No answer of Manager's is larger, as it comes and unpacked; of anything larger the rest is not read."""

_TOO_LONG = f"an answer of more than {MOST_BYTES} bytes"
_PACKED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

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
    context.options |= ssl.OP_NO_RENEGOTIATION  # which a server could go on with for ever
    if not settings.verify:
        log.warning(
            "%s: certificates are not verified, so that anybody in between can read the password", settings
        )
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
            context.load_verify_locations(cafile=_plain_file(settings.ca_cert))
    except (OSError, ValueError) as error:
        reason = "no PEM certificates are in it"
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            reason = os.strerror(error.errno or 0).lower()
        raise InvalidArgument(
            f"{settings}: 'ca_cert' in the connection's extra must be the path of a PEM file, readable on every "
            f"worker and triggerer, or the PEM text itself: {reason}."
        ) from None
    return context


def _plain_file(path: str) -> str:
    """Return the path of a file that has an end: a pipe or a device may have none."""
    expanded = os.path.expanduser(path)  # noqa: PTH111 - the other one fails where a user is not known
    if not stat.S_ISREG(os.stat(expanded).st_mode):  # noqa: PTH116
        raise ValueError("no plain file")
    return expanded


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


class TooMuch(OSError):
    """More came over the wire than belongs to an answer. An error of the system's kind, since both libraries expect those."""


@dataclass(slots=True)
class Traffic:
    """
    What one request has sent and received, head and framing included, as the socket sees it.

    :param begun: whether any of the request has left.
    :param received: the bytes that have come since.
    :param over: whether the answer was read to its end, so that nothing more belongs to it.
    """

    begun: bool = False
    received: int = 0
    over: bool = False

    def receive(self, count: int) -> None:
        """Count what has come, before a library makes anything of it."""
        self.received += count
        if count and (self.over or self.received > MOST_BYTES):
            raise TooMuch


def unpack(body: bytes | bytearray, encodings: Sequence[str]) -> bytes:
    """
    Undo a compression that was not asked for, but no further than an answer may be long.

    :param body: what came.
    :param encodings: the values of ``Content-Encoding``.
    :return: the body itself.
    :raises BadAnswer: for one that is too long, broken, or packed in another way or twice.
    """
    encoding = ",".join(encodings).strip().lower()
    if not body or encoding in {"", "identity"}:
        return bytes(body)
    if encoding not in _PACKED:
        raise BadAnswer(f"an answer in an encoding that nobody asked for: {clean(ascii(encoding))}")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = unpacker.decompress(body, MOST_BYTES)
    except zlib.error:
        raise BadAnswer("an answer that can't be unpacked") from None
    if not unpacker.eof:
        raise BadAnswer(_TOO_LONG if unpacker.unconsumed_tail else "an answer that ends too early")
    return plain


def fault(settings: Settings, error: Exception, traffic: Traffic) -> MRSError:
    """
    Name what a library raised within a request, whatever that is.

    :param settings: the connection.
    :param error: what the library raised.
    :param traffic: what has gone over the wire.
    :return: the error to raise.
    """
    if traffic.received > MOST_BYTES:
        return BadAnswer(_TOO_LONG)
    certificate = find_cause(error, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return certificate_refused(settings, certificate)
    if traffic.begun:
        return AnswerLost(f"no answer: {reason(error)}")
    return Unreachable(f"no connection: {reason(error)}")


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
