"""Where an Airflow keeps what it knows, for a while: in PostgreSQL where that is installed, otherwise in SQLite."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sqlalchemy
from sqlalchemy.exc import OperationalError

from dev.processes import Process, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".airflow"

# It need not outlive a power cut, and is reached by TCP alone: the path of a socket may be too long.
POSTGRESQL_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}
USER = "postgres"  # where we are root


class Database(Protocol):
    """A metadata database: migrated, and empty when it starts."""

    url: str

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def restart(self) -> None:
        """Cut all connections, be away for a moment, and come back with everything that was kept."""
        ...

    def stands_still(self) -> bool:
        """Tell whether somebody has held for a while what all others need."""
        ...


def database(home: Path) -> Database:
    """Return the best database that there is for an Airflow with this home."""
    server = shutil.which("postgres") or next(Path("/usr/lib/postgresql").glob("*/bin/postgres"), None)
    if server is not None and all(map(find_spec, ("psycopg2", "asyncpg"))):
        with suppress(OSError, RuntimeError):  # it does not run here
            return PostgreSQL(home, Path(server).resolve().parent)
    return SQLite(home)


class SQLite:
    """A file, of which one process at a time can write."""

    def __init__(self, home: Path) -> None:
        self._file = home / "airflow.db"
        self.url = f"sqlite:///{self._file}?timeout=60"  # so long one waits for the others

    def start(self) -> None:
        for leftover in self._file.parent.glob("airflow.db*"):
            leftover.unlink()
        shutil.copyfile(migrated_sqlite(), self._file)

    def stop(self) -> None:
        """There is nothing to stop."""

    def restart(self) -> None:
        """There is nothing to restart."""

    def stands_still(self) -> bool:
        with closing(sqlite3.connect(self._file, timeout=2)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
            connection.rollback()
        return False


class PostgreSQL:
    """A server of one's own, whose data are gone when it stops."""

    def __init__(self, home: Path, programs: Path) -> None:
        self._programs = programs
        [self._major, *_] = re.findall(r"\d+", _run(self._command("postgres", "--version")))
        port = free_port()
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
        # Not in the checkout, which may be where the server's user can't go.
        self._folder = Path(tempfile.gettempdir()) / f"airflow-postgresql-{port}"
        self._data = self._folder / "data"
        options = [f"--{name}={value}" for name, value in POSTGRESQL_OPTIONS.items()]
        command = self._command("postgres", "-D", str(self._data), "-p", str(port), *options)
        self._server = Process("postgresql", command, os.environ, home / "components" / "postgresql.log")

    def start(self) -> None:
        template = _once(f"postgresql-{self._major}", self._make_migrated)
        self._start(lambda: shutil.copytree(template, self._data))

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        self._server.signal_family(signal.SIGINT)  # it waits for nobody
        wait_until(lambda: not self._server.running, "the end of PostgreSQL", interval=0.05)
        self._serve()

    def stands_still(self) -> bool:
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            try:
                connection.execute(sqlalchemy.text("SET lock_timeout = '2s'"))
                connection.execute(
                    sqlalchemy.text("LOCK dag_run, task_instance, trigger, job IN EXCLUSIVE MODE")
                )
            except OperationalError:
                return True
        return False

    def _start(self, lay_out: Callable[[], object]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # somebody else's, who was killed
        self._folder.mkdir(mode=0o700)
        self._hand_over(self._folder)
        lay_out()
        self._hand_over(self._data)
        self._serve()

    def _serve(self) -> None:
        self._server.start()
        wait_until(self._answers, "PostgreSQL", timeout=60, interval=0.05)

    def _answers(self) -> bool:
        if not self._server.running:
            raise RuntimeError(f"PostgreSQL ended:\n{self._server.last_words()}")
        try:
            sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool).connect().close()
        except OperationalError:
            return False
        return True

    def _make_migrated(self, template: Path) -> None:
        options = ["--username=airflow", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=1"]
        self._start(lambda: _run(self._command("initdb", f"--pgdata={self._data}", "--no-sync", *options)))
        try:
            _migrate(self.url)
            self._server.stop()
            shutil.copytree(self._data, template)
        finally:
            self.stop()

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Have the kernel end it when we are gone, and let it be another user than root, who it refuses to be."""
        user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", *user, "--pdeathsig=QUIT", str(self._programs / program), *arguments]

    @staticmethod
    def _hand_over(path: Path) -> None:
        if os.geteuid() == 0:
            for each in (path, *path.rglob("*")):
                shutil.chown(each, USER, USER)


def migrated_sqlite() -> Path:
    """Return an empty database of the installed Airflow."""
    return _once("sqlite", lambda template: _migrate(f"sqlite:///{template}"))


def _once(name: str, make: Callable[[Path], object]) -> Path:
    """Return what was made for the installed Airflow; migrating a database takes longer than copying it."""
    folder = STATE / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    template = folder / f"airflow-{version('apache-airflow')}-{name}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=folder) as unfinished:
                make(Path(unfinished) / name)
                (Path(unfinished) / name).rename(template)
    return template


def _migrate(url: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **without_airflow(os.environ),
            "AIRFLOW_HOME": home,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        }
        airflow_cli(["db", "migrate"], environment)


def without_airflow(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep what a developer has set up for another Airflow out of this one."""
    return {name: value for name, value in environment.items() if not name.startswith("AIRFLOW_")}


def airflow_cli(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run an ``airflow`` command and return what it prints."""
    return _run([sys.executable, "-P", "-m", "airflow", *arguments], environment)


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout
