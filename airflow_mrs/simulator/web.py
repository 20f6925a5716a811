"""Manager's REST API, as those see it who have a session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_mrs.simulator import pages
from airflow_mrs.simulator.cluster import Action, Code, Refused
from airflow_mrs.simulator.envelope import Envelope
from airflow_mrs.simulator.guard import LOGIN_CHECK, LOGOUT
from airflow_mrs.simulator.metrics import MetricsQuery
from airflow_mrs.simulator.vocabulary import States, key_properties

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from airflow_mrs.simulator.cluster import Cluster, Command
    from airflow_mrs.simulator.journal import Journal


class Web:
    """`/web/v1`: reads the cluster, and lets it do things."""

    def __init__(
        self,
        cluster: Cluster,
        journal: Journal,
        *,
        states: States = "3x",
        camel_case: bool = False,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._states = states
        self._envelope = partial(Envelope, old_spelling=camel_case)

    def app(self, *more: BaseRoute) -> Starlette:
        """Return the web application, with some more routes."""
        cluster = "/web/v1/cluster/{cluster_id}"
        service = "/web/v1/maintain/cluster/{cluster_id}/service/{service_name}"
        return Starlette(
            routes=[
                Route(LOGIN_CHECK, self._login_check),
                Route(LOGOUT, self._logout),
                Route("/web/v1/clusters", self._clusters),
                Route(f"{cluster}/status", self._cluster_status),
                Route(f"{cluster}/services/{{service_name}}", self._service),
                Route(f"{service}/stop", partial(self._move, Action.STOP), methods=["POST"]),
                Route(f"{service}/start", partial(self._move, Action.START), methods=["POST"]),
                Route("/web/v1/common/command/{command_id}/progress", self._progress),
                Route("/web/v1/config/cluster/{cluster_id}/save", self._save, methods=["POST"]),
                Route("/web/v1/monitor/metrics_info", self._metrics),
                *more,
            ],
            exception_handlers={HTTPException: _error_page, Refused: self._refuse},
        )

    async def _login_check(self, _: Request) -> Response:
        return self._envelope(modify_pwd=False, exist_cluster=True, remind_pwd=False, ref_URL="", token="")

    async def _logout(self, _: Request) -> Response:
        raise Refused(Code.NORMAL_MODE, "There is nobody to log out in normal mode.")

    async def _clusters(self, _: Request) -> Response:
        cluster = {
            "stack": "MRS",
            "id": self._cluster.id,
            "name": "simulated",
            "description": "",
            "version": "MRS 3.1.0" if self._states == "3x" else "MRS 2.1.0",
            "cluster_state": None,
            "stack_model": "Sec" if self._cluster.security else "NoSec",
            "lic_state": "valid",
        }
        return self._envelope(res_obj={"clusters": [cluster]})

    async def _cluster_status(self, request: Request) -> Response:
        self._check_cluster(request)
        return self._envelope(res_obj={"state": "GOOD" if self._cluster.good else "BAD"})

    async def _service(self, request: Request) -> Response:
        self._check_cluster(request)
        service = self._cluster.service(request.path_params["service_name"])
        properties = key_properties(service, healthy=self._cluster.healthy(service.name), states=self._states)
        return self._envelope(res_obj={"key_property": properties})

    async def _move(self, action: Action, request: Request) -> Response:
        self._check_cluster(request)
        body = await _body(request)
        only_self = body.get("only_self", True)
        if not isinstance(only_self, bool) or not isinstance(body.get("user_password"), str | None):
            raise HTTPException(400)
        name = request.path_params["service_name"]
        move = self._cluster.stop if action is Action.STOP else self._cluster.start
        try:
            command = move(name, only_self=only_self)
        except Refused as refused:
            self._journal.record("post refused", service=name, action=action, error=refused.text)
            raise
        return self._accept(command)

    async def _progress(self, request: Request) -> Response:
        command = self._cluster.command(_integer(request, "command_id"))
        failed = command.failed
        return self._envelope(
            id=command.id,
            state=command.state,
            error_code=command.error_code,
            error_description=command.error_description,
            total_progress=command.progress,
            res_obj={
                "cluster_id": self._cluster.id,
                "step_list": [{"name": step.service, "description": str(step)} for step in command.steps],
                "fail_entity_list": [
                    {"fail_entity": step.service, "operation_type": step.action.upper()}
                    for step in ([failed] if failed else [])
                ],
                "total_step_size": command.progress,
            },
        )

    async def _save(self, request: Request) -> Response:
        self._check_cluster(request)
        values, restart = _configurations(await _body(request))
        return self._accept(self._cluster.configure(values, restart=restart))

    async def _metrics(self, request: Request) -> Response:
        try:
            query = MetricsQuery.parse(request.query_params)
        except ValueError as error:
            raise HTTPException(400) from error
        return self._envelope(res_obj=query.answer())

    def _accept(self, command: Command) -> Response:
        self._journal.record(
            "post accepted", service=command.service, action=command.action, command=command.id
        )
        return self._envelope(id=command.id, state=command.state, total_progress=command.progress)

    def _check_cluster(self, request: Request) -> None:
        cluster_id = _integer(request, "cluster_id")
        if cluster_id != self._cluster.id:
            raise Refused(Code.NO_SUCH_CLUSTER, f"The cluster {cluster_id} does not exist.")

    async def _refuse(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101 - tells the type checker what Starlette knows
        return self._envelope(state="FAILED", error_code=error.code, error_description=error.text)


def _integer(request: Request, name: str) -> int:
    try:
        return int(request.path_params[name])
    except ValueError as error:
        raise HTTPException(400) from error


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400) from error
    if not isinstance(body, dict):
        raise HTTPException(400)
    return body


def _configurations(body: Mapping[str, Any]) -> tuple[dict[str, dict[str, str]], bool]:
    """Return the values by component and whether to restart them; HTTP 400 for anything of another shape."""
    try:
        summary = body["configurations_summary"]
        restart = summary["restart_affected_components"]
        values = {
            component["component_name"]: {item["name"]: item["value"] for item in component["configurations"]}
            for component in summary["components"]
        }
    except (KeyError, TypeError) as error:
        raise HTTPException(400) from error
    if not values or not isinstance(restart, bool):
        raise HTTPException(400)
    return values, restart


async def _error_page(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - tells the type checker what Starlette knows
    title = f"HTTP Status {error.status_code}"
    return HTMLResponse(pages.page(title, error.detail), status_code=error.status_code, headers=error.headers)
