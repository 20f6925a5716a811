"""Become one component of Airflow: ``python -P launch.py scheduler --skip-serve-logs``."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_the_parent() -> None:
    """Have the kernel send SIGTERM when whoever started us is gone, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            sys.exit("the parent is gone already")


def main() -> None:
    end_with_the_parent()
    # Importing Airflow makes millions of objects that stay; looking for garbage among them takes a
    # third of the API server's start.
    gc.set_threshold(100_000, 20, 20)
    sys.argv[0] = "airflow"
    from airflow.__main__ import main as airflow  # noqa: PLC0415

    if "scheduler" in sys.argv:
        # Tasks are its forks, and need not import this each on their own.
        import airflow_mrs.maintenance  # noqa: F401, PLC0415

    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
