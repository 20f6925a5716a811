"""Airflow as its users see it: the public REST API."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from dev.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

FINISHED = frozenset({"success", "failed"})

HARMLESS = frozenset({"GET", "PATCH", "DELETE"})
"""What may be sent a second time. Where the database is SQLite, an API server that finds it locked answers 500."""

PAUSES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Task:
    """A task instance."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start: datetime | None
    end: datetime | None

    @property
    def key(self) -> str:
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Task:
        return cls(
            task_id=answer["task_id"],
            map_index=answer["map_index"],
            state=answer["state"],
            try_number=answer["try_number"],
            start=_moment(answer["start_date"]),
            end=_moment(answer["end_date"]),
        )


class AirflowAPI:
    """The calls that a demo and tests need."""

    def __init__(self, base_url: str, *, timeout: float = 150) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self._session = requests.Session()
        # Neither a proxy nor a .netrc of the developer's comes between us and a server on this machine.
        self._session.trust_env = False

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:  # noqa: ANN401
        """Call ``/api/v2`` and return the answer's JSON."""
        if "Authorization" not in self._session.headers:
            # Any visitor is an administrator, but one with a token.
            answer = self._send("GET", f"{self.base_url}/auth/token")
            answer.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        answer = self._send(method, f"{self.base_url}/api/v2{path}", json=body, params=params)
        if not answer.ok:
            raise requests.HTTPError(
                f"{method} {path}: {answer.status_code} {answer.text[:2000]}", response=answer
            )
        return answer.json() if answer.content else None

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send a request, and send it again where that does no harm and the first did no good."""
        for pause in PAUSES if method in HARMLESS else ():
            with suppress(requests.ConnectionError):
                answer = self._session.request(method, url, timeout=self.timeout, **options)
                if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
            time.sleep(pause)
        return self._session.request(method, url, timeout=self.timeout, **options)

    def answers(self) -> bool:
        """Tell whether the API server is there, for users and for tasks."""
        try:
            # The first request to the tasks' side takes seconds: let it be this one, not that of a task.
            return all(
                self._session.get(f"{self.base_url}{path}", timeout=self.timeout).ok
                for path in ("/api/v2/version", "/execution/health")
            )
        except requests.ConnectionError:
            return False

    def health(self) -> dict[str, str | None]:
        """Return the health of each component as Airflow sees it."""
        return {name: part["status"] for name, part in self.call("GET", "/monitor/health").items()}

    def add_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """Store a connection given in the JSON of ``AIRFLOW_CONN_...``."""
        self.call("POST", "/connections", _connection(conn_id, connection))

    def change_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        self.call("PATCH", f"/connections/{conn_id}", _connection(conn_id, connection))

    def delete_connection(self, conn_id: str) -> None:
        self.call("DELETE", f"/connections/{conn_id}")

    def wait_for_dag(self, dag_id: str, *, timeout: float = 300) -> None:
        """Wait until the DAG processor has found the DAG."""

        def found() -> bool:
            if errors := self.call("GET", "/importErrors")["import_errors"]:
                raise RuntimeError("\n".join(f"{e['filename']}:\n{e['stack_trace']}" for e in errors))
            return any(
                dag["dag_id"] == dag_id
                for dag in self.call("GET", "/dags", dag_id_pattern=dag_id, exclude_stale=True)["dags"]
            )

        wait_until(found, f"DAG {dag_id}", timeout=timeout, interval=0.2)

    def unpause(self, dag_id: str) -> None:
        self.wait_for_dag(dag_id)
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": True})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG and return the run's id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        run_id: str = self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        state: str = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return [Task.parse(task) for task in self.call("GET", path, limit=1000)["task_instances"]]

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task, mapped ones as ``task[0]``, ``task[1]``..."""
        return {task.key: task.state for task in self.tasks(dag_id, run_id)}

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 600,
        states: Collection[str] = FINISHED,
        interval: float = 0.2,
    ) -> str:
        """Wait until the run is in one of the states, by default its end, and return it."""

        def state() -> str | None:
            now = self.run_state(dag_id, run_id)
            return now if now in states else None

        return wait_until(state, f"run {run_id} of {dag_id}", timeout=timeout, interval=interval)

    def wait_for_tasks(
        self,
        dag_id: str,
        run_id: str,
        condition: Callable[[dict[str, str | None]], object],
        *,
        timeout: float = 600,
        interval: float = 0.2,
    ) -> dict[str, str | None]:
        """Wait until the states of the tasks fulfil the condition, and return them."""

        def states() -> dict[str, str | None] | None:
            now = self.task_states(dag_id, run_id)
            return now if condition(now) else None

        what = f"the tasks of run {run_id} of {dag_id}"
        return wait_until(states, what, timeout=timeout, interval=interval)

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> list[str]:
        """Return the lines of one try of a task."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, full_content=True, map_index=map_index)["content"]
        return [text for line in content for text in _texts(line)]

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:  # noqa: ANN401
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, map_index=map_index)["value"]

    def delete_xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> None:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        self.call("DELETE", path, map_index=-1)

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Collection[str] | None = None,
        *,
        only_failed: bool = False,
        downstream: bool = True,
    ) -> None:
        """Clear tasks of a run, or all, as the dialog of the UI does."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": only_failed,
            "include_downstream": downstream,
            **({} if task_ids is None else {"task_ids": list(task_ids)}),
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def question(self, dag_id: str, run_id: str, task_id: str) -> Any:  # noqa: ANN401
        """Return what a task asks of people."""
        return self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails")

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that asks people."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self.call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def variables(self) -> dict[str, str]:
        return {
            entry["key"]: entry["value"] for entry in self.call("GET", "/variables", limit=1000)["variables"]
        }

    def set_variable(self, key: str, value: str) -> None:
        """Change a Variable that is there."""
        self.call("PATCH", f"/variables/{key}", {"key": key, "value": value})

    def delete_variable(self, key: str) -> None:
        self.call("DELETE", f"/variables/{key}")

    def set_state(
        self, dag_id: str, run_id: str, state: str, task_id: str | None = None, *, map_index: int = -1
    ) -> None:
        """Mark a task, or without one the whole run, by hand."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        if task_id is None:
            self.call("PATCH", path, {"state": state})
        else:
            index = "" if map_index < 0 else f"/{map_index}"
            self.call("PATCH", f"{path}/taskInstances/{task_id}{index}", {"new_state": state})


def _connection(conn_id: str, connection: Mapping[str, Any]) -> dict[str, Any]:
    extra = connection.get("extra")
    return {
        **connection,
        "connection_id": conn_id,
        **({"extra": json.dumps(extra)} if isinstance(extra, dict) else {}),
    }


def _texts(line: Any) -> Iterator[str]:  # noqa: ANN401 - a text, or JSON
    """Yield what a line of a log says, with what was raised."""
    if isinstance(line, str):
        yield line
        return
    yield line["event"]
    for error in line.get("error_detail") or ():
        yield f"{error['exc_type']}: {error['exc_value']}"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
