"""What Airflow's provider registry is told about this package."""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` wants it."""
    integration = "MRS Manager"
    return {
        "package-name": "airflow-provider-mrs",
        "name": integration,
        "description": "Maintenance of big-data clusters: stop, start and configure services through MRS Manager.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://support.huaweicloud.com/intl/en-us/mrs/index.html",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": ["airflow_mrs.hooks.mrs_manager"]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": ["airflow_mrs.operators.service", "airflow_mrs.operators.configuration"],
            }
        ],
        "sensors": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_mrs.sensors.command",
                    "airflow_mrs.sensors.service",
                    "airflow_mrs.sensors.cluster",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_mrs.triggers.command",
                    "airflow_mrs.triggers.service",
                    "airflow_mrs.triggers.cluster",
                ],
            }
        ],
        "connection-types": [
            {
                "connection-type": "mrs",
                "hook-class-name": "airflow_mrs.hooks.mrs_manager.MRSManagerHook",
                "hook-name": integration,
            }
        ],
    }
