"""The main job, to look at: maintenance windows between a real Airflow and a simulated Manager.

One goes well; in the other a stop fails half-way. All services come back both times, and Airflow says which was which.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from itertools import zip_longest
from typing import TYPE_CHECKING

from airflow_mrs.simulator import Simulator
from airflow_mrs.simulator.narrator import in_words
from dev.database import ROOT, STATE
from dev.harness import Airflow
from dev.rest import FINISHED, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mrs.simulator.journal import Entry
    from dev.rest import AirflowAPI

DAG_ID = "maintenance"
SERVICES = ["HBase", "Hive", "HDFS"]
FAILS = "Hive"
SECONDS = {"HDFS": 8.0, "HBase": 2.0, "Hive": 2.0}
RUN_TIMEOUT = 300.0

TOLD = {"command started", "state", "command ended"}
"""The events of Manager's side that are told; how often somebody logged in is counted at the end."""

LEFT = 46
"""Width of Airflow's side, in characters."""


class Story:
    """Tells what happens on both sides, each line when it happens."""

    def __init__(self) -> None:
        self._begin = time.time()
        self.over = True

    def airflow(self, text: str) -> None:
        self._print(text, "")

    def manager(self, entry: Entry) -> None:
        if not self.over and entry.event in TOLD and (text := in_words(entry)):
            self._print("", text)

    def _print(self, left: str, right: str) -> None:
        print(f"{time.time() - self._begin:6.1f} s  {left:{LEFT}}{right}".rstrip(), flush=True)


def main() -> None:
    """Run the demo; the exit status is 0 only if Airflow and Manager tell the same story."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Airflow up until Ctrl-C")
    keep = parser.parse_args().keep
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # the first is ignored by what a shell runs in the background
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(0 if demonstrate(keep=keep) else 1)
    except KeyboardInterrupt:
        sys.exit("\nEnded before the end; nothing was left running.")


def demonstrate(*, keep: bool) -> bool:
    print("Starting a simulated Manager and a real Airflow; that takes about half a minute.", flush=True)
    airflow = Airflow(
        STATE / "demo", ROOT / "dev" / "dags", settings={"operators": {"default_deferrable": True}}
    )
    with Simulator(command_seconds=1.0, service_seconds=SECONDS) as simulator, airflow:
        airflow.api.add_connection("mrs_default", simulator.connection)
        airflow.api.wait_for_dag(DAG_ID)
        story = Story()
        simulator.journal.on_entry(story.manager)
        good = _run_a_window(airflow.api, simulator, story, "All goes well", "success")
        simulator.cluster.fail_next(FAILS, "stop", text=f"An instance of {FAILS} does not let go.")
        good &= _run_a_window(airflow.api, simulator, story, f"The stop of {FAILS} fails half-way", "failed")
        print(
            "\nBoth tell the same story." if good else "\nThat is not what should have happened.", flush=True
        )
        if keep:
            print(f"\nAirflow is at {airflow.url}/dags/{DAG_ID} until you press Ctrl-C.", flush=True)
            threading.Event().wait()
    return good


def _run_a_window(api: AirflowAPI, simulator: Simulator, story: Story, title: str, wanted: str) -> bool:
    """Let a run go by, put both views of it side by side, and tell whether they agree."""
    print(f"\n{title}\n{'-' * len(title)}", flush=True)
    commands = len(simulator.cluster.commands)
    logins, polls = simulator.journal.logins_succeeded, simulator.journal.polls
    story.over = False
    run_id = api.trigger(DAG_ID)
    state = _follow(api, run_id, story)
    story.over = True
    sent = simulator.cluster.commands[commands:]
    right = [
        *(f"{command.action:6}{command.service:7}{command.state}" for command in sent),
        "",
        *(f"{name:7}{simulator.cluster.service(name).state}" for name in SERVICES),
        f"{simulator.journal.logins_succeeded - logins} logins, {simulator.journal.polls - polls} polls",
    ]
    tasks = sorted(api.tasks(DAG_ID, run_id), key=_by_start)
    left = [f"{_label(task):14}{task.state or '-':16}{_seconds(task)}" for task in tasks]
    left.append(f"{'run':14}{state}")
    print(f"\n{'AIRFLOW':{LEFT}}MANAGER")
    for ours, theirs in zip_longest(left, right, fillvalue=""):
        print(f"{ours:{LEFT}}{theirs}".rstrip())
    return (
        state == wanted
        and simulator.cluster.good
        and _agree(tasks, [f"{c.action}_{c.service}" for c in sent])
    )


def _follow(api: AirflowAPI, run_id: str, story: Story) -> str:
    """Tell each change of a task's state until the run is over, and return the run's."""
    told: dict[str, str | None] = {}
    deadline = time.monotonic() + RUN_TIMEOUT
    while True:
        state = api.run_state(DAG_ID, run_id)
        for task in sorted(api.tasks(DAG_ID, run_id), key=_by_start):
            if task.state is not None and told.get(task.key) != task.state:
                told[task.key] = task.state
                story.airflow(f"{_label(task):14}{task.state}")
        if state in FINISHED:
            return state
        if time.monotonic() > deadline:
            raise TimeoutError(f"{DAG_ID} was not over within {RUN_TIMEOUT:.0f} s")
        time.sleep(0.3)


def _agree(tasks: Sequence[Task], sent: Sequence[str]) -> bool:
    """Tell whether each command is that of a task that ran, and the services were stopped before they were started."""
    ran = {_label(task) for task in tasks if task.start is not None}
    stops = [command for command in sent if command.startswith("stop")]
    starts = [command for command in sent if command.startswith("start")]
    in_order = [*sent] == [*stops, *starts]
    return in_order and set(sent) <= ran and len(set(sent)) == len(sent) and "report" in ran


def _label(task: Task) -> str:
    return task.key.rpartition(".")[2]


def _seconds(task: Task) -> str:
    return (
        "" if task.start is None or task.end is None else f"{(task.end - task.start).total_seconds():5.1f} s"
    )


def _by_start(task: Task) -> tuple[bool, float]:
    return task.start is None, task.start.timestamp() if task.start else 0.0


if __name__ == "__main__":
    main()
