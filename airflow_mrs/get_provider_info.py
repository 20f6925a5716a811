"""What Airflow's provider registry is told about this package."""

from __future__ import annotations

from typing import TypedDict


class ConnectionType(TypedDict):
    """A connection type and the hook that answers for it."""

    hook_class_name: str


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` wants it."""
    return {
        "package-name": "airflow-provider-mrs",
        "name": "MRS Manager",
        "description": "Stop and start the services of a Huawei Cloud MRS cluster through MRS Manager.",
    }
