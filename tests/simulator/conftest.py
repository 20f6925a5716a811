from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mrs.simulator import Simulator


@pytest.fixture
def visit(simulate: Callable[..., Simulator], tmp_path: Path) -> Callable[..., Visitor]:
    """Start a simulator and return a visitor to it."""

    def start(**options: Any) -> Visitor:
        return Visitor(simulate(**options), tmp_path)

    return start
