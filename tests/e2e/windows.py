"""Runs with maintenance windows, and what can be seen of them on both sides."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from dev.processes import wait_until
from dev.rest import FINISHED
from tests.e2e import holding

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mrs.simulator import Simulator
    from dev.harness import Airflow

OPEN, CLOSE, VERDICT = "maintenance.open", "maintenance.close", "maintenance.verdict"
STOPS = ["maintenance.stop_HBase", "maintenance.stop_Hive"]
STARTS = ["maintenance.start_Hive", "maintenance.start_HBase"]
WORK = "maintenance.work"
THERE_AND_BACK = ["stop HBase", "stop Hive", "start Hive", "start HBase"]
GUARD = "guard"


class Run:
    """A run of a DAG."""

    def __init__(self, airflow: Airflow, dag_id: str, **conf: Any) -> None:
        airflow.api.wait_for_dag(dag_id)
        self.api, self.dag_id = airflow.api, dag_id
        self.run_id = airflow.api.trigger(dag_id, conf)

    @property
    def states(self) -> dict[str, str | None]:
        return self.api.task_states(self.dag_id, self.run_id)

    @property
    def is_over(self) -> bool:
        return self.api.run_state(self.dag_id, self.run_id) in FINISHED

    def end(self) -> str:
        return self.api.wait_for_run(self.dag_id, self.run_id)

    def wait_for(self, state: str, task_id: str) -> None:
        self.api.wait_for_tasks(self.dag_id, self.run_id, lambda states: states.get(task_id) == state)

    def mark(self, state: str, task_id: str | None = None) -> None:
        self.api.set_state(self.dag_id, self.run_id, state, task_id)

    def clear(self, task_ids: list[str] | None = None, *, only_failed: bool = False) -> None:
        self.api.clear(self.dag_id, self.run_id, task_ids, only_failed=only_failed)

    def tries(self, task_id: str, map_index: int = -1) -> int:
        tasks = self.api.tasks(self.dag_id, self.run_id)
        [task] = [task for task in tasks if (task.task_id, task.map_index) == (task_id, map_index)]
        return task.try_number

    def log(self, task_id: str, map_index: int = -1) -> str:
        tries = self.tries(task_id, map_index)
        return "\n".join(
            self.api.task_log(self.dag_id, self.run_id, task_id, try_number=tries, map_index=map_index)
        )


class Work:
    """Work that goes on until a file is there."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "done"
        self.conf = {"work": "wait", "file": str(self._file)}

    def wait_for(self) -> None:
        wait_until(self._file.with_suffix(".here").exists, "the work to begin")

    def be_done(self) -> None:
        self._file.touch()


def an_hour_passes(manager: Simulator) -> None:
    """Let what is under way in the cluster come to its end, and what comes after it be quick."""
    for service in manager.cluster._services.values():
        service.seconds = 0.1
    holding.an_hour_passes(manager)


def sent(manager: Simulator) -> list[str]:
    """Name the commands that reached the cluster, in their order."""
    return [f"{command.action} {command.service}" for command in manager.cluster.commands]


def is_back(manager: Simulator) -> bool:
    return all(service.state == "started" for service in manager.cluster.services.values())


def records(airflow: Airflow) -> dict[str, dict[str, Any]]:
    """Return what is kept of windows, by Variable, the oldest first."""
    variables = sorted(airflow.api.variables().items())
    return {key: json.loads(value) for key, value in variables if key.startswith("mrs_window_")}


def newest(airflow: Airflow) -> str:
    """Name the Variable of the window that was opened last."""
    return list(records(airflow))[-1]


def all_closed(airflow: Airflow) -> bool:
    """Tell whether windows are known, and each was closed or taken over by one that was, so that the guard has nothing to do."""
    known = records(airflow).values()
    taken_over = {id_ for record in known for id_ in record["took_over"]}
    return {record["phase"] for record in known if record["id"] not in taken_over} == {"closed"}


def lapse(airflow: Airflow) -> None:
    """Let the time be over by which the last window should have been closed."""
    key = newest(airflow)
    airflow.api.set_variable(key, json.dumps({**records(airflow)[key], "lapses": time.time() - 1}))


def look_after(airflow: Airflow) -> tuple[str, str]:
    """Let the guard look; return the colour of its run and its report."""
    run = Run(airflow, GUARD)
    return run.end(), run.log("report")
