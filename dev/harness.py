"""A real Airflow for a while: each component a process of its own, all of them gone at the end."""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import sqlalchemy

from dev.database import ROOT, airflow_cli, database, without_airflow
from dev.processes import Process, free_port, stop_all, undisturbed, wait_until
from dev.rest import AirflowAPI

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psutil

POLICIES = ROOT / "dev" / "policies"

API_SERVER = "api-server"
JOB_TYPES = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}

Settings = Mapping[str, Mapping[str, Any]]

# Airflow's defaults are meant for a cluster that runs for months. Here somebody waits for one machine.
BRISK: Settings = {
    "core": {
        "executor": "LocalExecutor",
        "load_examples": False,
        "dags_are_paused_at_creation": False,  # and yet none runs by itself: see POLICIES
        "max_active_tasks_per_dag": 1000,
        "simple_auth_manager_all_admins": True,
    },
    "api": {"workers": 1, "maximum_page_limit": 1000},
    "dag_processor": {"parsing_processes": 1, "refresh_interval": 5, "bundle_refresh_check_interval": 1},
    "scheduler": {
        "scheduler_idle_sleep_time": 0.2,
        "scheduler_heartbeat_sec": 1,
        "trigger_timeout_check_interval": 2,
    },
    "triggerer": {"job_heartbeat_sec": 1, "triggerer_health_check_threshold": 10},
}


class Airflow:
    """An Airflow that runs inside a ``with`` block.

    Its components are ``api-server``, ``scheduler``, ``dag-processor``, ``triggerer`` and, where there are
    more, ``triggerer-2`` and so on. What earlier runs left in the same home is removed.
    """

    def __init__(
        self,
        home: Path,
        dags: Path | Sequence[Path],
        *,
        connections: Mapping[str, str] | None = None,
        triggerers: int = 1,
        parallelism: int = 4,
        log_level: str = "INFO",
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.dags = [dags] if isinstance(dags, Path) else list(dags)
        self.database = database(self.home)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.api = AirflowAPI(self.url)
        self._given: Settings = {
            "core": {"parallelism": parallelism},
            "logging": {"logging_level": log_level},
        }
        self._settings = settings or {}
        self._environment = {
            **without_airflow(os.environ),
            **{f"AIRFLOW_CONN_{conn_id.upper()}": text for conn_id, text in (connections or {}).items()},
            **(environment or {}),
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join([str(POLICIES), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        self._last_job_before: dict[str, int] = {}
        self.components = {name: self._component(name) for name in _names(triggerers)}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything on a clean home and wait until all of it is healthy."""
        self._prepare_home()
        self.database.start()
        for name in self.components:
            self._start(name)
        self.wait_until_healthy()

    def stop(self, grace: float = 8) -> None:
        """Stop everything; tasks have the grace period to come to their end."""
        api_server = self.components[API_SERVER]
        with undisturbed():
            # What is still running wants to tell the API server how it ended.
            stop_all((c for c in self.components.values() if c is not api_server), grace)
            api_server.stop()
            self.database.stop()

    def start_component(self, name: str) -> None:
        self._start(name)
        self.wait_until_healthy()

    def stop_component(self, name: str, grace: float = 10) -> None:
        self.components[name].stop(grace)

    def kill(self, name: str) -> None:
        """End a component, and what it has started, as a power cut does."""
        self.components[name].kill()

    def restart(self, name: str) -> None:
        self.stop_component(name)
        self.start_component(name)

    def add_triggerer(self) -> str:
        """Start one more triggerer and return its name."""
        name = f"triggerer-{sum(map(_is_triggerer, self.components)) + 1}"
        self.components[name] = self._component(name)
        self.start_component(name)
        return name

    def remove_component(self, name: str) -> None:
        self.components.pop(name).stop()

    def freeze(self, name: str) -> None:
        """Let a component stand still, as on a machine that swaps or whose network is gone."""
        self.components[name].signal_family(signal.SIGSTOP)
        while self.database.stands_still():
            # All others would stand still with it, which is not what is to be seen.
            self.thaw(name)
            self.components[name].signal_family(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.components[name].signal_family(signal.SIGCONT)

    def restart_what_has_ended(self) -> None:
        """Start again what has ended by itself, as a service manager does: a scheduler does so when its database goes."""
        for name, component in self.components.items():
            if component.wanted and not component.running:
                self._start(name)

    def wait_until_healthy(self, timeout: float = 600) -> None:
        """Wait until every component that was started has reported for work."""
        wait_until(self._healthy, "Airflow to be healthy", timeout=timeout, interval=0.1)

    def tables(self) -> list[str]:
        """Name the tables of the metadata database."""
        return sqlalchemy.inspect(self._engine()).get_table_names()

    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Read rows of the metadata database."""
        with self._engine().connect() as connection:
            return [dict(row) for row in connection.execute(sqlalchemy.text(query), values).mappings()]

    def execute(self, statement: str, **values: object) -> None:
        """Change rows of the metadata database."""
        with self._engine().begin() as connection:
            connection.execute(sqlalchemy.text(statement), values)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run that is still going on, as Airflow let users do for long; now it has to be done in the database."""
        for table in ("xcom", "task_instance", "dag_run"):
            self.execute(f"DELETE FROM {table} WHERE dag_id = :dag AND run_id = :run", dag=dag_id, run=run_id)

    def task_process(self, dag_id: str, run_id: str, task_id: str) -> psutil.Process:
        """Return the process in which a task runs right now."""
        [row] = self.rows(
            "SELECT pid FROM task_instance WHERE dag_id = :dag AND run_id = :run AND task_id = :task",
            dag=dag_id,
            run=run_id,
            task=task_id,
        )
        [process] = [p for p in self.components["scheduler"].family() if p.pid == row["pid"]]
        return process

    def cli(self, *arguments: str) -> str:
        """Run an ``airflow`` command against this Airflow and return what it prints."""
        return airflow_cli(arguments, self._environment)

    def _engine(self) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine(self.database.url, poolclass=sqlalchemy.NullPool)

    def _component(self, name: str) -> Process:
        kind = _kind(name)
        options = {
            API_SERVER: ["--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]],
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        return Process(
            name,
            # Without -P this folder would come first on the path, for Airflow too.
            [sys.executable, "-P", str(ROOT / "dev" / "launch.py"), kind, *options.get(kind, [])],
            self._environment,
            self.home / "components" / f"{name}.log",
        )

    def _prepare_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        for leftover in ("logs", "components"):
            shutil.rmtree(self.home / leftover, ignore_errors=True)
        config = configparser.ConfigParser(interpolation=None)
        layers: list[Settings] = [BRISK, self._where(), self._given, self._settings]
        for settings in layers:
            config.read_dict(settings)
        # A file, not the environment, so that `AIRFLOW_HOME=... airflow ...` works from another shell; and
        # there before the start, as otherwise each component would write one at the same time.
        with _private_file(self.home / "airflow.cfg") as file:
            config.write(file)

    def _where(self) -> Settings:
        return {
            "core": {
                "execution_api_server_url": f"{self.url}/execution/",
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            },
            "api": {"base_url": self.url, "secret_key": secrets.token_hex(16)},
            "api_auth": {"jwt_secret": secrets.token_hex(32)},
            "dag_processor": {"dag_bundle_config_list": json.dumps(dag_bundles(self.dags))},
            "database": {"sql_alchemy_conn": self.database.url},
        }

    def _start(self, name: str) -> None:
        self._last_job_before[name] = self.rows("SELECT max(id) AS id FROM job")[0]["id"] or 0
        self.components[name].start()

    def _healthy(self) -> bool:
        wanted = [component for component in self.components.values() if component.wanted]
        for component in wanted:
            if not component.running:
                raise RuntimeError(f"{component.name} ended:\n{component.last_words()}")
        return all(self._reported_for_work(component.name) for component in wanted)

    def _reported_for_work(self, name: str) -> bool:
        if name == API_SERVER:
            return self.api.answers()
        kind, before = _kind(name), self._last_job_before[name]
        jobs = self.rows(
            "SELECT id FROM job WHERE job_type = :type AND state = 'running' AND id > :before",
            type=JOB_TYPES[kind],
            before=before,
        )
        younger = [
            component
            for component in self.components.values()
            if component.wanted
            and _kind(component.name) == kind
            and self._last_job_before[component.name] >= before
        ]
        return len(jobs) >= len(younger)


def dag_bundles(folders: Iterable[Path]) -> list[dict[str, object]]:
    """Return what Airflow's ``dag_bundle_config_list`` says of folders with DAGs."""
    return [
        {
            "name": f"{number}-{folder.name}",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder.resolve())},
        }
        for number, folder in enumerate(folders)
    ]


def _kind(name: str) -> str:
    """Tell what ``triggerer-2`` is."""
    return name.rstrip("-0123456789")


def _is_triggerer(name: str) -> bool:
    return _kind(name) == "triggerer"


def _names(triggerers: int) -> list[str]:
    """Name the components, the slowest to start first."""
    more = [f"triggerer-{number}" for number in range(2, triggerers + 1)]
    return [API_SERVER, "scheduler", "dag-processor", *["triggerer"][:triggerers], *more]


def _private_file(path: Path) -> TextIO:
    """Open a new file that only its owner can read."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
