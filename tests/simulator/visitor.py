"""A plain client of the simulator: it knows HTTP and HTML forms, and nothing of the package under test."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mrs.simulator import Simulator


class HiddenInputs(HTMLParser):
    """The hidden inputs of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "input" and attributes.get("type") == "hidden":
            self.values[attributes["name"] or ""] = attributes["value"] or ""


class Visitor:
    """A browser that trusts the simulator's authority."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        ca_file = folder / "ca.pem"
        ca_file.write_text(simulator.ca_pem)
        self.simulator = simulator
        self.web = f"https://127.0.0.1:{simulator.web_port}"
        self.cas = f"https://127.0.0.1:{simulator.cas_port}"
        self.session = requests.Session()
        self.session.verify = str(ca_file)
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.web + path, timeout=60, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self.session.post(self.web + path, json=json, allow_redirects=False, timeout=60, **options)

    def log_in(self, password: str | None = None, **fields: str) -> requests.Response:
        """Send the login form, and return what comes of it after all redirects."""
        page = self.session.get(f"{self.cas}/cas/login", timeout=60)
        return self.session.post(
            f"{self.cas}/cas/login",
            params={"service": f"{self.web}/web/cas_security_check.htm"},
            data={
                "username": self.simulator.user,
                "password": password or self.simulator.password,
                **HiddenInputs(page.text).values,
                "submit": "Login",
                **fields,
            },
            timeout=60,
        )

    def login_check(self) -> requests.Response:
        return self.get("/web/v1/access/login_check")

    def enter(self) -> Visitor:
        """Log in for good."""
        if self.simulator.mode == "security":
            self.log_in()
        assert self.login_check().json()["state"] == "COMPLETE"
        return self

    def move(self, action: str, service: str, *, only_self: bool = True) -> requests.Response:
        path = f"/web/v1/maintain/cluster/1/service/{service}/{action}"
        return self.post(path, {"only_self": only_self})

    def progress(self, command: int) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"/web/v1/common/command/{command}/progress").json()
        return answer

    def properties(self, service: str) -> dict[str, Any]:
        answer = self.get(f"/web/v1/cluster/1/services/{service}").json()
        return {item["name"]: item["value"] for item in answer["res_obj"]["key_property"]}
