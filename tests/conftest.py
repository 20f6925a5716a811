from __future__ import annotations

import gc
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.simulator import Simulator
from dev.database import ROOT, STATE, migrated_sqlite
from dev.harness import dag_bundles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAG_FOLDERS = [Path(__file__).parent / "operators" / "dags", ROOT / "example_dags"]


def pytest_configure(config: pytest.Config) -> None:
    """Give this process an Airflow of its own, before anything imports Airflow and finds the developer's."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    # Airflow is millions of objects that stay; looking for garbage among them takes a fifth of a test.
    gc.set_threshold(100_000, 20, 20)
    STATE.mkdir(exist_ok=True)
    folder = TemporaryDirectory(prefix="tests-", dir=STATE)
    config.add_cleanup(folder.cleanup)
    home = Path(folder.name)
    shutil.copyfile(migrated_sqlite(), home / "airflow.db")
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(dag_bundles(DAG_FOLDERS)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as simulators:

        def start(**options: Any) -> Simulator:
            return simulators.enter_context(Simulator(**{"command_seconds": 0.1, **options}))

        yield start
