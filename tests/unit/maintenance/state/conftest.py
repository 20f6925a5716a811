from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mrs.maintenance.state import store as store_module
from airflow_mrs.maintenance.state import variables as module
from tests.unit.maintenance.state.fakes import Listed, Time, Unlisted

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(store_module, "time", clock)
    return clock


@pytest.fixture(params=[Listed, Unlisted], ids=["listed", "unlisted"])
def airflow(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, clock: Time
) -> Iterator[type[Unlisted]]:
    """Airflow's Variables, of a version that lists them and of one that does not."""
    kind: type[Unlisted] = request.param
    monkeypatch.setattr(kind, "rows", {}, raising=False)
    monkeypatch.setattr(kind, "broken", staticmethod(lambda _: False), raising=False)
    monkeypatch.setattr(module, "Variable", kind)
    module._access.cache_clear()
    yield kind
    module._access.cache_clear()
