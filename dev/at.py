"""Run Python with the clock set, in all the processes that it starts: ``python -m dev.at '2026-10-25 02:30 Europe/Berlin' -m pytest``."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo


def moment(text: str) -> datetime:
    """Read a date and a time of day, with an offset, or a time zone behind it, or in UTC."""
    day, of_day, *zone = text.replace("T", " ", 1).split()
    read = datetime.fromisoformat(f"{day} {of_day}")
    return read if read.tzinfo else read.replace(tzinfo=ZoneInfo(*zone or ["UTC"]))


def main() -> None:
    at, *arguments = sys.argv[1:]
    real = time.time() - float(os.environ.get("CLOCK_AHEAD", "0"))
    os.environ["CLOCK_AHEAD"] = str(moment(at).timestamp() - real)
    # Not by libfaketime, under which Python 3.11 does not wake from its sleep.
    folders = [str(Path(__file__).parent / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main()
