"""The sensor that waits for a service to be up or down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_mrs.manager.arguments import check_choice, check_cluster_id, check_service_name
from airflow_mrs.sensors.base import MRSSensor
from airflow_mrs.templates import check_unless_template
from airflow_mrs.triggers.service import STATES, MRSServiceTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence


class MRSServiceSensor(MRSSensor):
    """
    Waits until a service is up, or down, whoever started or stopped it.

    It behaves the same in poke, reschedule and deferrable mode. It rides out outages of Manager of up to ten
    minutes. With ``soft_fail``, a time-out skips; a broken connection, a wrong password or a refused
    certificate never do. A state whose word is not known is waited out: it may change.

    :param service_name: the service, for instance ``HBase``. (templated)
    :param state: ``up`` or ``down``. (templated)
    :param cluster_id: the cluster it belongs to, 1 as a rule. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poke_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    """

    template_fields: Sequence[str] = ("service_name", "state", "cluster_id", "mrs_conn_id")

    def __init__(
        self,
        *,
        service_name: str,
        state: Literal["up", "down"] | str = "up",  # noqa: PYI051 - or a template
        cluster_id: int | str = 1,
        **kwargs: Any,  # noqa: ANN401 - those of every sensor
    ) -> None:
        super().__init__(**kwargs)
        check_unless_template(check_service_name, service_name)
        check_unless_template(check_choice, state, "state", STATES)
        check_unless_template(check_cluster_id, cluster_id)
        self.service_name = service_name
        self.state = state
        self.cluster_id = cluster_id

    def trigger(self, deadline: float, not_before: float = 0.0) -> MRSServiceTrigger:
        """Return the trigger that waits for the service."""
        return MRSServiceTrigger(
            self.mrs_conn_id,
            self.service_name,
            self.state,
            deadline,
            cluster_id=self.cluster_id,
            poll_interval=self.poke_interval,
            not_before=not_before,
        )
