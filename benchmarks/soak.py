"""Many waits in one event loop for a long time, while sessions drop and Managers restart: nothing may grow, none be lost.

Run it with `python -m benchmarks.soak`; by default it takes ten minutes and a bit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import requests
import structlog

from airflow_mrs.triggers.command import MRSCommandTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGERS = 10
WAITS_BY_COMMAND = 10
SERVICES = ["Kafka", "Storm", "Hue", "Oozie", "Loader", "Flink", "Hive", "Yarn", "Spark2x", "Mapreduce"]
POLL_INTERVAL = 2.0
RESTART_SECONDS = 40.0
DROP_EVERY = 5.0
LOOK_EVERY = 30.0
LINGERING = 35.0
MAY_GROW_BY_MEGABYTES = 100.0


class Manager:
    """A simulated Manager in a process of its own, so that its memory does not count."""

    def __init__(self, number: int, seconds: float) -> None:
        self.conn_id = f"mrs_soak_{number}"
        self.seconds = seconds
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "airflow_mrs.simulator"),
                *("--web-port=0", "--cas-port=0", f"--command-seconds={seconds}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._process.stdout is None:
            raise RuntimeError("the simulator has no output")
        connection = self._process.stdout.readline()
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = connection
        parts = json.loads(connection)
        self._control = f"https://{parts['host']}:{parts['port']}/simulator"

    def tell(self, kind: str, **fields: Any) -> None:  # noqa: ANN401
        """Let something happen in the simulated world."""
        requests.post(
            f"{self._control}/faults", json={"kind": kind, **fields}, verify=False, timeout=10
        ).raise_for_status()

    def journal(self) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(f"{self._control}/journal", verify=False, timeout=30).json()
        return answer

    def begin(self) -> Iterator[MRSCommandTrigger]:
        """Let services go down, and return a trigger for each wait."""
        from airflow_mrs.hooks.mrs_manager import MRSManagerHook  # noqa: PLC0415 - after the environment is set

        with MRSManagerHook(self.conn_id) as hook:
            command = hook.stop_service("HBase")
        deadline = time.time() + self.seconds + 600
        for _ in range(WAITS_BY_COMMAND):
            yield self._trigger(command.id, "HBase", deadline)
        for service in SERVICES:
            self.tell("set_state", service=service, state="stopping", seconds=self.seconds)
            yield self._trigger(None, service, deadline)

    def _trigger(self, command_id: int | None, service: str, deadline: float) -> MRSCommandTrigger:
        return MRSCommandTrigger(
            self.conn_id,
            command_id,
            deadline,
            action="stop",
            service_name=service,
            poll_interval=POLL_INTERVAL,
        )

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@dataclass(frozen=True)
class Look:
    """What this process holds at a moment."""

    megabytes: float
    tasks: int
    connections: int
    files: int

    @classmethod
    def now(cls) -> Look:
        gc.collect()
        process = psutil.Process()
        return cls(
            process.memory_info().rss / 2**20,
            len(asyncio.all_tasks()),
            len(process.net_connections("tcp")),
            process.num_fds(),
        )

    def __str__(self) -> str:
        return f"{self.megabytes:6.1f} MB  {self.tasks:4} tasks  {self.connections:3} connections  {self.files:3} files"


async def wait(trigger: MRSCommandTrigger) -> str:
    async for event in trigger.run():
        return str(event.payload["status"])
    return "no event"


async def drop_sessions(managers: list[Manager]) -> None:
    while True:
        await asyncio.sleep(random.expovariate(1 / DROP_EVERY))
        manager = random.choice(managers)
        try:
            await asyncio.to_thread(manager.tell, "expire_sessions", tickets=random.random() < 0.5)  # noqa: PLR2004
        except requests.ConnectionError:
            continue  # it is restarting


async def restart(managers: list[Manager], seconds: float) -> None:
    for _ in range(2):
        await asyncio.sleep(seconds / 3)
        print("all Managers restart", flush=True)
        for manager in managers:
            await asyncio.to_thread(manager.tell, "switchover", seconds=RESTART_SECONDS)


async def report(begin: float) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        print(f"{time.time() - begin:5.0f} s  {Look.now()}", flush=True)


async def soak(managers: list[Manager], triggers: list[MRSCommandTrigger], seconds: float) -> bool:
    begin = time.time()
    before = Look.now()
    print(f"before   {before}", flush=True)
    waits = [asyncio.create_task(wait(trigger)) for trigger in triggers]
    trouble = [
        asyncio.create_task(drop_sessions(managers)),
        asyncio.create_task(restart(managers, seconds)),
        asyncio.create_task(report(begin)),
    ]
    outcomes = Counter(await asyncio.gather(*waits))
    took = time.time() - begin
    for task in trouble:
        task.cancel()
    await asyncio.gather(*trouble, return_exceptions=True)
    await asyncio.sleep(LINGERING)
    after = Look.now()
    print(f"after    {after}")
    journals = [manager.journal() for manager in managers]
    print(
        f"{dict(outcomes)} of {len(triggers)} waits in {took:.0f} s; "
        f"{sum(journal['logins_succeeded'] for journal in journals)} logins, "
        f"{sum(journal['polls'] for journal in journals)} polls of commands, "
        f"{sum(journal['requests'].get('service', 0) for journal in journals)} looks at services, "
        f"{sum(len(journal['accepted']) for journal in journals)} commands"
    )
    return (
        outcomes == {"success": len(triggers)}
        and (after.tasks, after.connections) == (1, 0)
        and after.megabytes - before.megabytes < MAY_GROW_BY_MEGABYTES
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    warnings.simplefilter("ignore")  # that the control interface's certificate is not verified
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    managers: list[Manager] = []
    try:
        managers.extend(Manager(number, seconds) for number in range(MANAGERS))
        triggers = [trigger for manager in managers for trigger in manager.begin()]
        good = asyncio.run(soak(managers, triggers, seconds))
    finally:
        for manager in managers:
            manager.end()
    sys.exit(0 if good else "Something was lost, or stayed behind.")


if __name__ == "__main__":
    main()
