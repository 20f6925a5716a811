"""What a server can do to a process that asks it: next to nothing, whatever it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.integration import victim
from tests.integration.rogue import KINDS, rogues


class Cost(NamedTuple):
    """What an answer came to."""

    outcome: str
    ours: bool
    megabytes: float
    lag: float

    @property
    def is_low(self) -> bool:
        return self.ours and len(self.outcome) < 10_000 and self.megabytes < 64 and self.lag < 1


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells how much memory a process had at its peak"
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("driver", ["requests", "aiohttp"])
def test_whatever_a_server_answers_is_an_error_of_ours_and_costs_little(driver: str) -> None:
    with rogues() as (ports, ca_cert):
        asking = subprocess.run(
            [sys.executable, "-m", victim.__name__, driver, ca_cert, json.dumps(ports)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=850,
        )
    costs = {kind: Cost(*cost) for kind, *cost in map(json.loads, asking.stdout.splitlines())}
    assert costs.keys() == KINDS.keys()
    assert {kind: cost for kind, cost in costs.items() if not cost.is_low} == {}
