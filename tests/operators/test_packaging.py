"""What Airflow and its users see of the package before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import jsonschema
import pytest

from airflow_mrs.get_provider_info import get_provider_info

HEAVY = ["requests", "aiohttp", "pydantic", "urllib3"]


@pytest.mark.parametrize("schema", ["provider_info.schema.json"])
def test_the_providers_info_is_valid(schema: str) -> None:
    text = files("airflow").joinpath(schema).read_text(encoding="utf-8")

    jsonschema.validate(get_provider_info(), json.loads(text))


@pytest.mark.parametrize(
    "module",
    [
        "operators.service",
        "operators.configuration",
        "sensors.command",
        "sensors.service",
        "sensors.cluster",
        "triggers.command",
        "triggers.service",
        "triggers.cluster",
        "hooks.mrs_manager",
        "maintenance",
    ],
)
def test_an_import_brings_nothing_heavy_in(module: str) -> None:
    program = (
        "import sys, airflow.providers.common.compat.sdk as sdk;"
        "sdk.BaseOperator, sdk.BaseHook, sdk.BaseSensorOperator; import airflow.triggers.base;"
        "before = set(sys.modules);"
        f"import airflow_mrs.{module};"
        "print(*set(sys.modules) - before)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    brought = {name.partition(".")[0] for name in done.stdout.split("\n")[-2].split()}
    assert "airflow_mrs" in brought
    assert not brought & set(HEAVY)
