"""Bodies that come slowly, and bodies that are long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MEGABYTE = 1_000_000
_PARTS = 10
_OPENING, _CLOSING = b'{"id": 1, "state": "COMPLETE", "error_description": "', b'"}'


async def dripping(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    """Yield a body byte by byte."""
    for byte in body:
        yield bytes([byte])
        await asyncio.sleep(seconds)


async def flooding(megabytes: int) -> AsyncIterator[bytes]:
    """Yield a JSON object of so many megabytes, which nobody ever holds as a whole."""
    yield _OPENING
    part = b" " * (MEGABYTE // _PARTS)
    for _ in range(megabytes * _PARTS - 1):
        yield part
        await asyncio.sleep(0)  # lets it be noticed that the client has gone
    yield part[len(_OPENING) + len(_CLOSING) :] + _CLOSING
