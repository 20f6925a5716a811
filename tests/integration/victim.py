"""A process that asks rogue servers, one after the other, and says what that cost it: memory, and the lag of its loop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
import time
from contextlib import closing
from pathlib import Path

from airflow_mrs.manager import protocol
from airflow_mrs.manager.aio import AsyncClient
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.session import forget_refusals
from airflow_mrs.manager.settings import Settings


def kilobytes(field: str) -> int:
    """Read a line of what Linux knows of the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def ask_by_requests(settings: Settings, _: list[float]) -> None:
    with closing(Client(settings)) as client:
        client.call(protocol.get_command(1))


def ask_by_aiohttp(settings: Settings, lags: list[float]) -> None:
    async def watch() -> None:
        while True:
            # Of this thread's own time: on a busy machine, the clock on the wall tells of others.
            before = time.thread_time()
            await asyncio.sleep(0.001)
            lags.append(time.thread_time() - before)

    async def ask() -> None:
        watching = asyncio.create_task(watch())
        client = AsyncClient(settings)
        try:
            await asyncio.sleep(0)
            await client.call(protocol.get_command(1))
        finally:
            await client.close()
            await asyncio.sleep(0.002)
            watching.cancel()

    asyncio.run(ask())


def main(driver: str, ca_cert: str, ports: dict[str, int]) -> None:
    ask = {"requests": ask_by_requests, "aiohttp": ask_by_aiohttp}[driver]
    trim = ctypes.CDLL(None).malloc_trim
    for kind, port in ports.items():
        settings = Settings("rogue", "127.0.0.1", port, ca_cert=ca_cert, timeout=5.0)
        outcome, ours, lags = "an answer", True, [0.0]
        forget_refusals()
        gc.collect()
        trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # which lets the peak begin anew
        before = kilobytes("VmRSS")
        try:
            ask(settings, lags)
        except Exception as error:  # noqa: BLE001 - whatever gets through
            outcome, ours = f"{type(error).__name__}: {error}", isinstance(error, MRSError)
        grown = (kilobytes("VmHWM") - before) / 1024
        print(json.dumps([kind, outcome, ours, grown, max(lags)]), flush=True)  # noqa: T201 - for the test


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
