"""The hook: an Airflow connection becomes a session with MRS Manager."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import BaseHook

from airflow_mrs.connection import CONNECTION_TYPE, DEFAULT_PORT, read_settings
from airflow_mrs.manager import protocol
from airflow_mrs.manager.arguments import (
    check_cluster_id,
    check_command_id,
    check_seconds,
    check_service_name,
    check_text,
)
from airflow_mrs.manager.errors import MRSError
from airflow_mrs.manager.waiting import Contact, wait_for_command
from airflow_mrs.manager.words import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow_mrs.manager.client import Client
    from airflow_mrs.manager.model import Cluster, ClusterHealth, Command, Configuration, Measurement, Service
    from airflow_mrs.manager.settings import Settings


class MRSManagerHook(BaseHook):
    """
    Talks to MRS Manager with the settings of an Airflow connection.

    It logs in at the first call and renews a lost session by itself. Use it as a context manager, or
    :meth:`close` it: that logs out. One hook serves one thread.

    :param mrs_conn_id: the connection, of type ``mrs``.
    :raises ValueError: for what can't be the id of a connection.
    """

    conn_name_attr = "mrs_conn_id"
    default_conn_name = "mrs_default"
    conn_type = CONNECTION_TYPE
    hook_name = "MRS Manager"

    def __init__(self, mrs_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mrs_conn_id = check_text(mrs_conn_id, "mrs_conn_id", self.default_conn_name)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form of a connection shows."""
        return {
            "hidden_fields": ["schema"],
            "relabeling": {"host": "Floating IP of Manager"},
            "placeholders": {
                "port": str(DEFAULT_PORT),
                "login": "empty for a cluster in normal mode",
                "extra": '{"cas_port": 20009, "ca_cert": "/path/of/ca.pem"}',
            },
        }

    @cached_property
    def settings(self) -> Settings:
        """
        The settings of the connection.

        :raises InvalidArgument: when the connection can't be right.
        """
        connection = self.get_connection(self.mrs_conn_id)
        return read_settings(self.mrs_conn_id, connection, connection.extra_dejson)

    @classmethod
    async def get_settings_async(cls, mrs_conn_id: str) -> Settings:
        """
        Look a connection up without blocking the event loop.

        :param mrs_conn_id: the connection.
        :return: its settings.
        :raises InvalidArgument: when the connection can't be right.
        """
        connection = await get_async_connection(mrs_conn_id, cls)
        return read_settings(mrs_conn_id, connection, await get_async_extra_dejson(connection))

    @cached_property
    def client(self) -> Client:
        """The session with Manager. It is begun at the first call."""
        from airflow_mrs.manager.client import Client  # noqa: PLC0415 - requests, only where it is used

        return Client(self.settings)

    def get_conn(self) -> Client:
        """Return the session with Manager."""
        return self.client

    def close(self) -> None:
        """Log out and close the connections. The next call logs in again."""
        if "client" in self.__dict__:
            self.client.close()
            del self.client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def test_connection(self) -> tuple[bool, str]:
        """
        Log in and list the clusters.

        :return: whether that worked, and what to tell the user.
        """
        try:
            with self:
                clusters = self.list_clusters()
        except MRSError as error:
            return False, str(error)
        names = listed([f"{cluster.name} (id {cluster.id}, {cluster.version})" for cluster in clusters])
        return True, f"Connected to MRS Manager; its clusters: {names or 'none'}."

    def stop_service(self, service_name: str, *, cluster_id: int = 1, only_self: bool = True) -> Command:
        """
        Begin to stop a service. The command then runs in Manager: see :meth:`wait_for_command`.

        This sends the request, whatever the service's state: the operators look before they do.

        :param service_name: the service, for instance ``HBase``.
        :param cluster_id: its cluster.
        :param only_self: False also stops the services that depend on it.
        :return: the command; its ``id`` is what to wait for.
        :raises RequestRefused: when Manager answers that it does not do it.
        :raises AnswerLost: when nobody knows whether Manager accepted it.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        return self._begin(protocol.stop_service(service_name, cluster_id=cluster_id, only_self=only_self))

    def start_service(self, service_name: str, *, cluster_id: int = 1, only_self: bool = True) -> Command:
        """
        Begin to start a service. The command then runs in Manager: see :meth:`wait_for_command`.

        This sends the request, whatever the service's state: the operators look before they do.

        :param service_name: the service, for instance ``HBase``.
        :param cluster_id: its cluster.
        :param only_self: False also starts the services that it depends on.
        :return: the command; its ``id`` is what to wait for.
        :raises RequestRefused: when Manager answers that it does not do it.
        :raises AnswerLost: when nobody knows whether Manager accepted it.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        return self._begin(protocol.start_service(service_name, cluster_id=cluster_id, only_self=only_self))

    def get_command(self, command_id: int | str) -> Command:
        """
        Ask how far a command is.

        :param command_id: the command.
        :return: the command, with state, progress and what it failed on.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        call = protocol.get_command(check_command_id(command_id))
        return self.client.call(call)

    def wait_for_command(
        self,
        command_id: int | str,
        *,
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 3600.0,
    ) -> Command:
        """
        Wait for a command, through outages of Manager.

        :param command_id: the command.
        :param poll_interval: seconds between two polls, or a timedelta.
        :param timeout: seconds for the whole wait, or a timedelta.
        :return: the command as it ended, COMPLETE.
        :raises ValueError: for seconds that are none.
        :raises CommandFailed: when it failed.
        :raises WaitTimedOut: when the time is over; the command goes on.
        :raises ContactLost: when Manager gives no answer for ten minutes.
        """
        number = check_command_id(command_id)
        interval = check_seconds(poll_interval, "poll_interval")
        seconds = check_seconds(timeout, "timeout", 3600)
        now = time.time()
        contact = Contact(f"{self.settings}: command {number}", interval, now + seconds, now)
        return self.client.run(wait_for_command(contact, number), self.log)

    def get_service(self, service_name: str, *, cluster_id: int = 1) -> Service:
        """
        Ask for a service and its state.

        :param service_name: the service.
        :param cluster_id: its cluster.
        :return: the service.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        check_service_name(service_name)
        check_cluster_id(cluster_id)
        call = protocol.get_service(
            service_name, cluster_id=cluster_id, status_property=self.settings.status_property
        )
        return self.client.call(call)

    def list_clusters(self) -> list[Cluster]:
        """
        List the clusters that Manager administers: one, as a rule.

        :return: the clusters.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        return self.client.call(protocol.list_clusters())

    def get_cluster_health(self, cluster_id: int = 1) -> ClusterHealth:
        """
        Ask for the health of a cluster.

        :param cluster_id: the cluster.
        :return: ``GOOD``, ``BAD`` or ``UNKNOWN``.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        call = protocol.get_cluster_health(cluster_id)
        return self.client.call(call)

    def save_configuration(
        self, configurations: Sequence[Configuration], *, cluster_id: int = 1, restart_affected: bool = False
    ) -> Command:
        """
        Save configuration values.

        :param configurations: the values, by component.
        :param cluster_id: the cluster.
        :param restart_affected: whether Manager restarts what the change affects.
        :return: the command; its ``id`` is what to wait for.
        :raises RequestRefused: when Manager answers that it does not do it.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        call = protocol.save_configuration(
            configurations, cluster_id=cluster_id, restart_affected=restart_affected
        )
        return self._begin(call)

    def get_metrics(
        self,
        metric_names: Sequence[str],
        *,
        start_time: int,
        end_time: int,
        metric_period: int | None = None,
        hosts: Sequence[str] = (),
        metric_node_type: str | None = None,
    ) -> dict[str, list[Measurement]]:
        """
        Ask for measured values.

        :param metric_names: one to ten metrics.
        :param start_time: milliseconds since the epoch.
        :param end_time: milliseconds since the epoch.
        :param metric_period: seconds from one value to the next; Manager's default where None.
        :param hosts: up to fifty hosts; all where empty.
        :param metric_node_type: ``active``, ``standby`` or ``all``; Manager's default where None.
        :return: the values of each metric.
        :raises MRSError: see :mod:`airflow_mrs.manager.errors`.
        """
        call = protocol.get_metrics(
            metric_names,
            start_time=start_time,
            end_time=end_time,
            metric_period=metric_period,
            hosts=hosts,
            metric_node_type=metric_node_type,
        )
        return self.client.call(call)

    def _begin(self, call: protocol.Call[Command]) -> Command:
        command = self.client.call(call)
        protocol.require_accepted(command, f"{self.settings}: {call}")
        return command
