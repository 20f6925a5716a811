"""Sets the clock of every Python process that is started under ``dev.at``: Python imports this by itself."""

from __future__ import annotations

import genericpath
import os
import time

import time_machine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import now

AHEAD = float(os.environ["CLOCK_AHEAD"])

time_machine.travel(time.time() + AHEAD).start()

modified = genericpath.getmtime


def getmtime(filename: int | str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> float:
    """Return when a file was changed, by the same clock: Airflow parses again what was changed since it last did."""
    return modified(filename) + AHEAD


os.path.getmtime = genericpath.getmtime = getmtime


@compiles(now, "postgresql")
def _by_the_same_clock(*_: object, **__: object) -> str:
    return f"(now() + interval '{AHEAD} seconds')"


@compiles(now, "sqlite")
def _by_the_same_clock_too(*_: object, **__: object) -> str:
    return f"datetime('now', '{AHEAD} seconds')"
