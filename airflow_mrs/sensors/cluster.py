"""The sensor that waits for a cluster to be in good health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mrs.manager.arguments import check_cluster_id
from airflow_mrs.sensors.base import MRSSensor
from airflow_mrs.templates import check_unless_template
from airflow_mrs.triggers.cluster import MRSClusterHealthTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence


class MRSClusterHealthSensor(MRSSensor):
    """
    Waits until the health of a cluster is GOOD: after a start, that may take some minutes.

    It behaves the same in poke, reschedule and deferrable mode. It rides out outages of Manager of up to ten
    minutes. With ``soft_fail``, a time-out skips; a broken connection, a wrong password or a refused
    certificate never do.

    :param cluster_id: the cluster, 1 as a rule. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poke_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    """

    template_fields: Sequence[str] = ("cluster_id", "mrs_conn_id")

    def __init__(self, *, cluster_id: int | str = 1, **kwargs: Any) -> None:  # noqa: ANN401 - those of every sensor
        super().__init__(**kwargs)
        check_unless_template(check_cluster_id, cluster_id)
        self.cluster_id = cluster_id

    def trigger(self, deadline: float, not_before: float = 0.0) -> MRSClusterHealthTrigger:
        """Return the trigger that waits for the cluster."""
        return MRSClusterHealthTrigger(
            self.mrs_conn_id,
            self.cluster_id,
            deadline,
            poll_interval=self.poke_interval,
            not_before=not_before,
        )
