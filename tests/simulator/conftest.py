from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mrs.simulator import Simulator

from .visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Start simulators that end with the test."""
    with ExitStack() as simulators:

        def start(**options: Any) -> Simulator:
            return simulators.enter_context(Simulator(**{"command_seconds": 0.1, **options}))

        yield start


@pytest.fixture
def visit(simulate: Callable[..., Simulator], tmp_path: Path) -> Callable[..., Visitor]:
    """Start a simulator and return a visitor to it."""

    def start(**options: Any) -> Visitor:
        return Visitor(simulate(**options), tmp_path)

    return start
