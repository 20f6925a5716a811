"""The calls of MRS Manager's API: what to send for each, and how to read its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_mrs.manager.arguments import (
    check_choice,
    check_cluster_id,
    check_command_id,
    check_flag,
    check_service_name,
    check_texts,
    check_whole,
    read_whole,
)
from airflow_mrs.manager.errors import BadAnswer, InvalidArgument, RequestRefused
from airflow_mrs.manager.model import (
    NO_COMMAND,
    Cluster,
    ClusterHealth,
    Command,
    CommandState,
    Configuration,
    FailedEntity,
    Measurement,
    Property,
    Service,
    ServiceState,
    Step,
)
from airflow_mrs.manager.words import MOST_ENTRIES, clean, error_in_words

if TYPE_CHECKING:
    from airflow_mrs.manager.message import Response

T = TypeVar("T")

_GATEWAY_STATUSES = {429, 502, 503, 504}
_REQUEST_TIMEOUT = 408
_FULL = 100
_MOST_METRICS = 10
_MOST_HOSTS = 50
_MOST_VALUES = 150_000
"""No answer of Manager's has more. In memory, each may take twenty times what it takes on the wire."""

_NODE_TYPES = ("active", "standby", "all")
_ALL, _FIRST, _LAST = slice(None), slice(MOST_ENTRIES), slice(-MOST_ENTRIES, None)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    A call of the API.

    :param method: ``GET`` or ``POST``.
    :param path: the path below ``/web/v1``.
    :param read: turns the envelope of the answer into the call's result.
    :param query: names and values behind the path.
    :param body: what is sent as JSON.
    """

    method: str
    path: str
    read: Callable[[Envelope], T]
    query: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, object] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# ---- the calls -------------------------------------------------------------------------------------------


def stop_service(service_name: str, *, cluster_id: int = 1, only_self: bool = True) -> Call[Command]:
    """
    Stop a service.

    :param service_name: the service.
    :param cluster_id: its cluster.
    :param only_self: False also stops the services that depend on it.
    :return: a call that answers with the command that was begun.
    :raises InvalidArgument: for a name or an id that can't stand in a path.
    """
    return _change_service("stop", service_name, cluster_id, only_self=only_self)


def start_service(service_name: str, *, cluster_id: int = 1, only_self: bool = True) -> Call[Command]:
    """
    Start a service.

    :param service_name: the service.
    :param cluster_id: its cluster.
    :param only_self: False also starts the services that it depends on.
    :return: a call that answers with the command that was begun.
    :raises InvalidArgument: for a name or an id that can't stand in a path.
    """
    return _change_service("start", service_name, cluster_id, only_self=only_self)


def _change_service(action: str, service_name: str, cluster_id: int, *, only_self: bool) -> Call[Command]:
    path = f"/maintain/cluster/{check_cluster_id(cluster_id)}/service/{check_service_name(service_name)}/{action}"
    return Call("POST", path, Envelope.command, body={"only_self": check_flag(only_self, "only_self")})


def get_command(command_id: int) -> Call[Command]:
    """
    Ask how far a command is.

    :param command_id: the id that its beginning was answered with.
    :return: a call that answers with the command, FAILED or not.
    :raises InvalidArgument: for an id that is no command's.
    """
    checked = check_command_id(command_id)
    return Call("GET", f"/common/command/{checked}/progress", lambda envelope: envelope.command(checked))


def get_service(
    service_name: str, *, cluster_id: int = 1, status_property: str | None = None
) -> Call[Service]:
    """
    Ask for a service and its state.

    :param service_name: the service.
    :param cluster_id: its cluster.
    :param status_property: the entry of ``key_property`` that carries the state.
    :return: a call that answers with the service.
    :raises InvalidArgument: for a name or an id that can't stand in a path.
    """
    check_service_name(service_name)
    path = f"/cluster/{check_cluster_id(cluster_id)}/services/{service_name}"
    return Call("GET", path, lambda envelope: envelope.service(service_name, cluster_id, status_property))


def list_clusters() -> Call[list[Cluster]]:
    """Return a call that answers with the clusters that Manager administers."""
    return Call("GET", "/clusters", Envelope.clusters)


def get_cluster_health(cluster_id: int = 1) -> Call[ClusterHealth]:
    """
    Ask for the health of a cluster.

    :param cluster_id: the cluster.
    :return: a call that answers with its health.
    :raises InvalidArgument: for an id that can't stand in a path.
    """
    return Call("GET", f"/cluster/{check_cluster_id(cluster_id)}/status", Envelope.cluster_health)


def save_configuration(
    configurations: Sequence[Configuration], *, cluster_id: int = 1, restart_affected: bool = False
) -> Call[Command]:
    """
    Save configuration values.

    :param configurations: the values, by component.
    :param cluster_id: the cluster.
    :param restart_affected: whether Manager restarts what the change affects.
    :return: a call that answers with the command that was begun.
    :raises InvalidArgument: for an id that can't stand in a path, for no values, and for some that are no texts.
    """
    if not (
        isinstance(configurations, list | tuple)
        and configurations
        and all(isinstance(entry, Configuration) and entry.values for entry in configurations)
        and all(
            isinstance(text, str)
            for entry in configurations
            for pair in entry.values.items()
            for text in pair
        )
    ):
        raise InvalidArgument(
            'configurations must be a list with texts by component, such as [Configuration("HDFS", {"dfs.replication": "2"})]; '
            "what is given is not. Nothing was sent."
        )
    components = [
        {
            "component_name": check_service_name(configuration.component_name, "component_name"),
            "configurations": [
                {"name": name, "value": value} for name, value in configuration.values.items()
            ],
            "children": [],
            "classification": [],
        }
        for configuration in configurations
    ]
    body = {
        "id": check_cluster_id(cluster_id),  # which id is meant is not documented; the cluster's fits best
        "configurations_summary": {
            "restart_affected_components": check_flag(restart_affected, "restart_affected"),
            "components": components,
        },
    }
    return Call("POST", f"/config/cluster/{cluster_id}/save", Envelope.command, body=body)


def get_metrics(
    metric_names: Sequence[str],
    *,
    start_time: int,
    end_time: int,
    metric_period: int | None = None,
    hosts: Sequence[str] = (),
    metric_node_type: str | None = None,
) -> Call[dict[str, list[Measurement]]]:
    """
    Ask for measured values.

    :param metric_names: one to ten metrics.
    :param start_time: milliseconds since the epoch.
    :param end_time: milliseconds since the epoch.
    :param metric_period: seconds from one value to the next; Manager's default where None.
    :param hosts: up to fifty hosts; all where empty.
    :param metric_node_type: ``active``, ``standby`` or ``all``; Manager's default where None.
    :return: a call that answers with the values of each metric.
    :raises InvalidArgument: for what Manager does not take.
    """
    check_texts(metric_names, "metric_names", "cpu_usage", least=1, most=_MOST_METRICS)
    check_texts(hosts, "hosts", "node-1", least=0, most=_MOST_HOSTS)
    if check_whole(start_time, "start_time", 1_767_225_600_000) >= check_whole(
        end_time, "end_time", 1_767_229_200_000
    ):
        raise InvalidArgument(
            f"end_time must be later than start_time, such as {start_time + 3_600_000}, not {end_time}. Nothing was sent."
        )
    query = [
        ("metric_names", ",".join(metric_names)),
        ("start_time", str(start_time)),
        ("end_time", str(end_time)),
    ]
    if metric_period is not None:
        query.append(("metric_period", str(check_whole(metric_period, "metric_period", 300))))
    if hosts:
        query.append(("hosts", ",".join(hosts)))
    if metric_node_type is not None:
        query.append(("metric_node_type", check_choice(metric_node_type, "metric_node_type", _NODE_TYPES)))
    return Call("GET", "/monitor/metrics_info", Envelope.metrics, query=tuple(query))


# ---- answers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    What every answer is wrapped in. Older servers spell its keys in camelCase.

    Its texts are cleaned and cut, its lists cut: whoever reads on may log, store and show them.

    :param content: the JSON object of an answer.
    """

    content: Mapping[str, Any]

    @property
    def state(self) -> str:
        """The state in Manager's own word."""
        state = _get(self.content, "state")
        return clean(state.strip()) if isinstance(state, str) else ""

    @property
    def error_code(self) -> int:
        """0, or a code of which no list is published."""
        return read_whole(_get(self.content, "error_code")) or 0

    @property
    def error_description(self) -> str:
        """The text to the code."""
        return _text(_get(self.content, "error_description")).strip()

    @property
    def result(self) -> Mapping[str, Any]:
        """``res_obj``, empty where the answer has none."""
        result = _get(self.content, "res_obj")
        return result if isinstance(result, Mapping) else {}

    def flag(self, name: str) -> bool:
        """Return whether a key of the envelope says yes."""
        return _get(self.content, name) in (True, "true", "True", 1)

    @property
    def failed(self) -> bool:
        """Whether the answer is a refusal."""
        return self.state.upper() == CommandState.FAILED

    def command(self, command_id: int | None = None) -> Command:
        """Read a command; ``command_id`` where it is known, and the answer need not repeat it."""
        found = read_whole(_get(self.content, "id"))
        if command_id is None:
            command_id = found
        elif found is not None and found > 0 and found != command_id:  # 0 and below may stand for none
            raise BadAnswer(f"an answer about another command, {clean(str(found))}")
        word = self.state
        try:
            state = CommandState(word.upper().replace(" ", "_").replace("-", "_"))
        except ValueError:
            state = CommandState.UNKNOWN
        return Command(
            id=NO_COMMAND if command_id is None or command_id < 0 else command_id,
            state=state,
            word=word,
            error_code=self.error_code,
            error_description=self.error_description,
            progress=_percent(_get(self.content, "total_progress"))
            or _percent(_get(self.result, "total_step_size")),
            steps=tuple(
                Step(_text(_get(step, "name")), _text(_get(step, "description")))
                for step in _objects(_get(self.result, "step_list"), _LAST)
            ),
            failed_entities=tuple(
                FailedEntity(_text(_get(entity, "fail_entity")), _text(_get(entity, "operation_type")))
                for entity in _objects(_get(self.result, "fail_entity_list"), _FIRST)
            ),
        )

    def service(self, service_name: str, cluster_id: int, status_property: str | None) -> Service:
        """Read a service."""
        self._require_success()
        properties = tuple(
            Property(_text(_get(entry, "name")), _value(_get(entry, "value")), _text(_get(entry, "type")))
            for entry in _objects(_get(self.result, "key_property"), _FIRST)
        )
        word = _status_word(properties, status_property)
        return Service(service_name, cluster_id, ServiceState.from_word(word), word, properties)

    def clusters(self) -> list[Cluster]:
        """Read the list of clusters."""
        self._require_success()
        return [
            Cluster(
                id=read_whole(_get(entry, "id")) or 0,
                name=_text(_get(entry, "name")),
                version=_text(_get(entry, "version")),
                description=_text(_get(entry, "description")),
                security_mode={"sec": True, "nosec": False}.get(_text(_get(entry, "stack_model")).lower()),
                installing_patch=_text(_get(entry, "cluster_state")).lower() == "installingpatch",
            )
            for entry in _objects(_get(self.result, "clusters"), _FIRST)
        ]

    def cluster_health(self) -> ClusterHealth:
        """Read the health of a cluster."""
        self._require_success()
        try:
            return ClusterHealth(_text(_get(self.result, "state")).strip().upper())
        except ValueError:
            return ClusterHealth.UNKNOWN

    def metrics(self) -> dict[str, list[Measurement]]:
        """Read measured values."""
        self._require_success()
        series = _get(self.result, "metric_datas")
        return {
            _text(name): [
                Measurement(
                    read_whole(_get(entry, "time")) or 0,
                    _number(_get(entry, "value")),
                    _text(_get(entry, "node")),
                )
                for entry in _objects(values)
            ]
            for name, values in (series.items() if isinstance(series, Mapping) else ())
        }

    def _require_success(self) -> None:
        if self.failed or self.error_code:
            raise RequestRefused(
                f"Manager answered {self.state or 'without a state'}, "
                f"{error_in_words(self.error_code, self.error_description)}"
            )


def open_envelope(response: Response) -> Envelope:
    """
    Return the envelope of an answer.

    :param response: the response to a call, no redirect.
    :raises RequestRefused: for HTTP 4xx, by which nothing was done.
    :raises BadAnswer: for everything else that is no envelope: a 5xx, a page, broken or foreign JSON.
    """
    status = response.status
    if status in _GATEWAY_STATUSES or status >= 500 or status == _REQUEST_TIMEOUT:  # noqa: PLR2004
        raise BadAnswer(
            f"HTTP {status}", retry_after=_retry_after(response), gateway=status in _GATEWAY_STATUSES
        )
    if status >= 400:  # noqa: PLR2004
        hint = "; the user may lack the role Manager_operator" if status == 403 else ""  # noqa: PLR2004
        raise RequestRefused(f"HTTP {status}{hint}")
    if not 200 <= status < 300:  # noqa: PLR2004
        raise BadAnswer(f"HTTP {status}")
    if sum(map(response.body.count, (b"{", b"[", b","))) > _MOST_VALUES:
        raise BadAnswer(f"HTTP {status} with more than {_MOST_VALUES} values")
    try:
        content = _parse(response)
    except (ValueError, RecursionError):
        kind = "an HTML page" if response.body.lstrip()[:1] == b"<" else "something that is not JSON"
        raise BadAnswer(f"HTTP {status} with {kind}") from None
    if not isinstance(content, Mapping):
        raise BadAnswer(f"HTTP {status} with JSON that is no object")
    return Envelope(content)


def _parse(response: Response) -> object:
    try:
        return _loads(response.body)
    except UnicodeDecodeError:  # any other encoding than JSON's own is the declared one
        return _loads(response.text)


def _loads(text: str | bytes) -> object:
    return json.loads(text, strict=False, parse_float=_parse_float)


def _parse_float(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number  # an id may be written as 4100.0


def require_accepted(command: Command, name: str) -> None:
    """
    Require that the answer to a request that changes something is no refusal.

    :param command: what was answered.
    :param name: what the message begins with.
    :raises RequestRefused: when Manager answered FAILED, or with an error and no command.
    """
    if command.state is CommandState.FAILED or (command.error_code and command.id == NO_COMMAND):
        raise RequestRefused(f"{name}: Manager refused it with {command.failure}.")


def _retry_after(response: Response) -> float | None:
    value = (response.header("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return float(value)
    wanted = _moment(value)
    asked = _moment(response.header("Date") or "")  # by the clock that the wanted one is by, too
    if asked is None:
        asked = response.received
    return None if wanted is None or asked is None else max(0.0, wanted - asked)


def _moment(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _status_word(properties: tuple[Property, ...], status_property: str | None) -> str:
    if status_property is not None:
        named = (p for p in properties if p.name.casefold() == status_property.casefold())
        return next((_text(p.value) for p in named), "")
    candidates = [
        _text(p.value) for p in properties if p.type.upper() == "STATUS" and "health" not in p.name.casefold()
    ]
    known = (word for word in candidates if ServiceState.from_word(word) is not ServiceState.UNKNOWN)
    return next(known, candidates[0] if candidates else "")


def _get(mapping: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    if name in mapping:
        return mapping[name]
    head, *tail = name.split("_")
    return mapping.get(head + "".join(word.capitalize() for word in tail))


def _objects(value: object, which: slice = _ALL) -> list[Mapping[str, Any]]:
    return [entry for entry in value[which] if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, list | dict) else clean(str(value))


def _value(value: object) -> str | float | None:
    return clean(value) if isinstance(value, str) else value if isinstance(value, int | float) else None


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _percent(value: object) -> int:
    number = _number(value)
    return int(min(max(number, 0), _FULL)) if number is not None and number == number else 0  # noqa: PLR0124 - NaN
