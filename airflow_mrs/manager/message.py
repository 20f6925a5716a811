"""A request and a response, as plain values: all that the protocol and its drivers exchange."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# No others: some codecs of Python's take hours for a long page, some make text that can't be sent back.
_CHARSET = re.compile(r"charset=[\"' ]*(iso-8859-(?:1[0-13-6]|[1-9])|gbk|gb2312|gb18030)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request to be sent as it is: without following redirects, without cookies of the sender's own.

    ``headers`` and ``body`` carry cookies and credentials, so neither is shown.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url.partition('?')[0]}>"


@dataclass(frozen=True, slots=True)
class Response:
    """A response, read to its end; ``received`` is when, in seconds since the epoch, where that is known."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    received: float | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as text. A page in a wrong or unknown encoding is still a page."""
        if self.body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return self.body.decode("utf-16", errors="replace")
        charset = _CHARSET.search(self.header("Content-Type") or "")
        return self.body.decode(charset[1] if charset else "utf-8", errors="replace")


Flow = Generator[Request, Response, T]
"""A conversation: yields requests, is sent their responses, returns what came of it."""
