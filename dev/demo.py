"""The main job, to look at: a nightly maintenance window between a real Airflow and a simulated Manager."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from airflow_mrs.simulator import Simulator
from airflow_mrs.simulator.narrator import in_words
from dev.harness import ROOT, STATE, Airflow
from dev.rest import FINISHED, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mrs.simulator.journal import Entry
    from dev.rest import AirflowAPI

DAG_ID = "example_mrs_maintenance"
SERVICE = "HBase"
COMMAND_SECONDS = 12.0
RUN_TIMEOUT = 300.0
THERE_AND_BACK = ["started", "stopping", "stopped", "starting", "started"]

LEFT = 46
"""Width of Airflow's side, in characters."""


class Story:
    """Tells what happens on both sides, each line when it happens."""

    def __init__(self) -> None:
        self._begin = time.time()
        self.over = False

    def airflow(self, text: str) -> None:
        self._print(text, "")

    def manager(self, entry: Entry) -> None:
        if not self.over and (text := in_words(entry)):
            self._print("", text)

    def _print(self, left: str, right: str) -> None:
        print(f"{time.time() - self._begin:6.1f} s  {left:{LEFT}}{right}".rstrip(), flush=True)


def main() -> None:
    """Run the demo; the exit status is 0 only if Airflow and Manager tell the same story."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow up until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(0 if demonstrate(keep=keep) else 1)
    except KeyboardInterrupt:
        sys.exit("\nEnded before the end; nothing was left running.")


def demonstrate(*, keep: bool) -> bool:
    print("Starting a simulated Manager and a real Airflow; that takes about half a minute.", flush=True)
    airflow = Airflow(
        STATE / "demo", ROOT / "example_dags", settings={"operators": {"default_deferrable": True}}
    )
    with Simulator(command_seconds=COMMAND_SECONDS) as simulator, airflow:
        airflow.api.add_connection("mrs_default", simulator.connection)
        airflow.api.wait_for_dag(DAG_ID)
        story = Story()
        story.airflow(f"AIRFLOW: {DAG_ID}")
        simulator.journal.on_entry(story.manager)
        run_id = airflow.api.trigger(DAG_ID)
        state = _follow(airflow.api, run_id, story)
        story.over = True
        good = _account(airflow.api.tasks(DAG_ID, run_id), state, simulator)
        if keep:
            print(f"\nAirflow is at {airflow.url}/dags/{DAG_ID} until you press Ctrl-C.", flush=True)
            threading.Event().wait()
    return good


def _follow(api: AirflowAPI, run_id: str, story: Story) -> str:
    """Tell each change of a task's state until the run is over, and return the run's."""
    told: dict[str, str | None] = {}
    deadline = time.monotonic() + RUN_TIMEOUT
    while True:
        state = api.run_state(DAG_ID, run_id)
        for task in sorted(api.tasks(DAG_ID, run_id), key=_by_start):
            if task.state is not None and told.get(task.key) != task.state:
                told[task.key] = task.state
                story.airflow(f"{task.key:16}{task.state}")
        if state in FINISHED:
            return state
        if time.monotonic() > deadline:
            raise TimeoutError(f"{DAG_ID} was not over within {RUN_TIMEOUT:.0f} s")
        time.sleep(0.3)


def _account(tasks: list[Task], run_state: str, simulator: Simulator) -> bool:
    """Put both views side by side, and tell whether they agree."""
    journal = simulator.journal
    changes = journal.state_changes(SERVICE)
    words = [changes[0].details["was"], *(change.details["state"] for change in changes)] if changes else []
    sent = {action: journal.accepted(SERVICE, action) for action in ("stop", "start")}
    right = [
        " -> ".join(words[:3]),
        *([f"{'':8}-> " + " -> ".join(words[3:])] if words[3:] else []),
        *(
            f"{change.details['state']} after {change.at - before.at:.1f} s"
            for before, change in _moves(changes)
        ),
        f"commands: {sent['stop']} stop, {sent['start']} start",
        f"{journal.logins_succeeded} logins, {journal.polls} polls",
    ]
    left = [f"{task.key:16}{task.state or '-':10}{_seconds(task)}" for task in sorted(tasks, key=_by_start)]
    left.append(f"{'run':16}{run_state}")
    print(f"\n{'AIRFLOW':{LEFT}}{SERVICE} IN MANAGER")
    for index in range(max(len(left), len(right))):
        print(f"{_at(left, index):{LEFT}}{_at(right, index)}".rstrip())
    good = (
        run_state == "success"
        and all(task.state == "success" for task in tasks)
        and words == THERE_AND_BACK
        and sent == {"stop": 1, "start": 1}
    )
    print("\nBoth tell the same story." if good else "\nThat is not what should have happened.", flush=True)
    return good


def _moves(changes: list[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Pair the beginning of each stop and start with its end."""
    return zip(changes[::2], changes[1::2], strict=False)


def _seconds(task: Task) -> str:
    return (
        "" if task.start is None or task.end is None else f"{(task.end - task.start).total_seconds():5.1f} s"
    )


def _by_start(task: Task) -> tuple[bool, float]:
    return task.start is None, task.start.timestamp() if task.start else 0.0


def _at(lines: list[str], index: int) -> str:
    return lines[index] if index < len(lines) else ""


if __name__ == "__main__":
    main()
