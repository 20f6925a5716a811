"""The operator that saves configuration values."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_mrs.faults import no_retry_of_what_cannot_change
from airflow_mrs.hooks.mrs_manager import MRSManagerHook
from airflow_mrs.manager.arguments import check_cluster_id, check_flag, check_service_name
from airflow_mrs.manager.errors import CommandFailed, InDoubt, InvalidArgument, MRSError
from airflow_mrs.manager.model import Configuration
from airflow_mrs.manager.saving import ConfigurationSave, save
from airflow_mrs.manager.waiting import wait_for_command
from airflow_mrs.notes import NoteKeeper
from airflow_mrs.operators.base import MRSCommandOperator, Undertaking
from airflow_mrs.templates import check_unless_template, is_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_mrs.manager.steps import Procedure
    from airflow_mrs.manager.waiting import Contact


class MRSSaveConfigurationOperator(MRSCommandOperator):
    """
    Saves configuration values of services, and on request lets Manager restart what they affect.

    The same values may be saved twice, so that a lost answer is followed by another request; not so where something is
    restarted: then the task fails, without a retry, and says to look. Below Airflow 3.3, where a retry can't know of
    what the try before it has sent, that goes for every wait that ends before its command.

    Values stand in the DAG, in the rendered fields that Airflow shows and in its database. A secret among them belongs
    in a Variable or a connection, by a template: Airflow masks those.

    :param configurations: the values by service, for instance ``{"HDFS": {"dfs.replication": "2"}}``. (templated)
    :param restart_affected: whether Manager restarts what the change affects. Without it, the values are saved, and
        come into force with the next restart.
    :param cluster_id: the cluster, 1 as a rule. (templated)
    :param mrs_conn_id: the Airflow connection, of type ``mrs``. (templated)
    :param wait_for_completion: whether to wait until the command is over.
    :param deferrable: whether to wait in the triggerer instead of a worker. By default as
        ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two polls, or a timedelta.
    :param timeout: seconds for the whole wait, or a timedelta.
    :return: the command's id; -1 where Manager was done at once.
    """

    template_fields: Sequence[str] = ("configurations", "cluster_id", "mrs_conn_id")
    template_fields_renderers = {"configurations": "json"}  # noqa: RUF012 - Airflow's own type
    ui_color = "#46658a"

    def __init__(
        self,
        *,
        configurations: Mapping[str, Mapping[str, str]] | str,
        restart_affected: bool = False,
        **kwargs: Any,  # noqa: ANN401 - those of every operator that sends a command
    ) -> None:
        super().__init__(**kwargs)
        check_unless_template(_read_configurations, configurations)
        self.configurations = configurations
        self.restart_affected = check_flag(restart_affected, "restart_affected")

    @property
    def subject(self) -> str:
        """What is done, in words."""
        return f"saving the configuration of {', '.join(self.configurations)}"

    def render_template(
        self,
        content: Any,  # noqa: ANN401 - Airflow's signature
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:  # noqa: ANN401
        """
        Render a template: one of the whole as the DAG says, since no text holds values by service; a value as a text.

        :param content: the template, or what holds templates.
        :param context: Airflow's context.
        :param jinja_env: the environment that Airflow has chosen.
        :param seen_oids: what is rendered already.
        """
        if content is self.configurations:
            return BaseOperator.render_template(self, content, context, jinja_env, seen_oids)
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> int:
        """
        Send the request, and wait.

        :return: the command's id; -1 where Manager was done at once.
        """
        deadline = time.time() + self.timeout
        with no_retry_of_what_cannot_change(), MRSManagerHook(self.mrs_conn_id) as hook:
            return self.carry_out(context, hook, self._undertaking(context), deadline)

    def resumed(self, context: Context, event: Mapping[str, Any]) -> Undertaking:  # noqa: ARG002 - there is only one
        """Return the undertaking that a trigger's event speaks of."""
        return self._undertaking(context)

    def _go_on(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401
        with no_retry_of_what_cannot_change(), self._no_second_restart(context):
            return super()._go_on(next_method, next_kwargs, context)

    def _undertaking(self, context: Context) -> Undertaking:
        what = ConfigurationSave(
            _read_configurations(self.configurations),
            check_cluster_id(self.cluster_id),
            self.restart_affected,
        )
        return Undertaking(
            name=str(what),
            submit=lambda contact, kept: save(contact, what, kept),
            wait=lambda contact, command_id: self._wait(context, contact, command_id),
            trigger={"action": str(what)},
        )

    def _wait(self, context: Context, contact: Contact, command_id: int | None) -> Procedure[object]:
        if command_id is None:
            raise TypeError("without a command there is nothing to wait for")
        with self._no_second_restart(context):
            return (yield from wait_for_command(contact, command_id))

    @contextmanager
    def _no_second_restart(self, context: Context) -> Iterator[None]:
        """End it for good where the command may go on, and a retry could not know of it."""
        try:
            yield
        except CommandFailed:
            raise
        except MRSError as error:
            if not self.restart_affected or NoteKeeper(context, self.log).there_is_a_store:
                raise
            raise InDoubt(
                f"{error} A further try would restart again what it has begun to restart: have a look at Manager, and "
                "clear the task if it did not."
            ) from error


def _read_configurations(given: object) -> tuple[Configuration, ...]:
    """Check the form of the values, and show none of them: they may be secret."""
    if isinstance(given, dict) and given and all(map(_is_a_service_with_values, given.items())):
        return tuple(Configuration(service, values) for service, values in given.items())
    raise InvalidArgument(
        'configurations must be texts by service, such as {"HDFS": {"dfs.replication": "2"}}; what is given is not. '
        "(A template of the whole needs render_template_as_native_obj=True.) Nothing was sent."
    )


def _is_a_service_with_values(item: tuple[object, object]) -> bool:
    service, values = item
    check_service_name(service, "a key of configurations")
    if isinstance(values, dict):
        return bool(values) and all(
            name and _is_text(name) and _is_text(value) for name, value in values.items()
        )
    return not isinstance(values, str) and is_template(values)  # no text holds several values


def _is_text(given: object) -> bool:
    return isinstance(given, str) or is_template(given)
