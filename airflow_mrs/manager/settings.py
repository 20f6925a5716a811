"""Where a Manager is and how to get in: what an Airflow connection holds, checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_mrs.manager.errors import InvalidArgument

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The settings of one connection. Two equal ones may share a session.

    :param name: what messages call the connection: its Airflow connection id.
    :param host: the floating IP of Manager, or a DNS name of it.
    :param port: the port of the web application.
    :param login: the user of Manager.
    :param password: the user's password.
    :param auth: ``cas`` logs in through the CAS server (security mode), ``none`` does not (normal mode).
        By default ``cas`` where a login is set.
    :param cas_port: the port of the CAS server.
    :param cas_url: the address of the CAS application, only where it is not ``https://host:cas_port/cas``.
    :param verify: whether certificates are verified.
    :param ca_cert: what to verify them against: the path of a PEM file, or PEM text. By default the public
        certificate authorities.
    :param timeout: seconds that a whole request may take.
    :param status_property: the entry of ``key_property`` that carries a service's state. By default the first
        one of type ``STATUS`` that is not named health and has a known state for its value.
    :param known_as: the host names and addresses by which Manager names itself in redirects, where they are
        not ``host``.
    :raises InvalidArgument: when a value can't be right.
    """

    name: str
    host: str
    port: int = 28443
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str | None = None
    cas_port: int = 20009
    cas_url: str | None = None
    verify: bool = True
    ca_cert: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    status_property: str | None = None
    known_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_host(f"{self}: host", self.host)
        for host in self.known_as:
            _check_host(f"{self}: known_as", host)
        for field_name, port, usual in (("port", self.port, 28443), ("cas_port", self.cas_port, 20009)):
            if not 0 < port <= _HIGHEST_PORT:
                raise InvalidArgument(
                    f"{self}: {field_name} must be the number of a port, such as {usual}, not {port!r}."
                )
        if not 0 < self.timeout < float("inf"):
            raise InvalidArgument(
                f"{self}: timeout must be a positive number of seconds, such as 30, not {self.timeout!r}."
            )
        if self.auth not in {"cas", "none", None}:
            raise InvalidArgument(f"{self}: auth must be 'cas' or 'none', not {self.auth!r}.")
        if self.auth is None and self.password and not self.login:
            raise InvalidArgument(
                f"{self}: there is a password, but login is missing. Set it, or set auth to 'none' for a cluster in "
                "normal mode."
            )
        if self.uses_cas and not (self.login and self.password):
            raise InvalidArgument(
                f"{self}: auth is 'cas', but login or password is missing. Set both, or set auth to 'none' "
                "for a cluster in normal mode."
            )
        if self.cas_url is not None and not _is_https(self.cas_url):
            raise InvalidArgument(
                f"{self}: cas_url must be an address like https://host:20009/cas, without user or query."
            )

    def __str__(self) -> str:
        return f"MRS connection {self.name!r}"

    @property
    def uses_cas(self) -> bool:
        """Whether a session begins with a login at the CAS server."""
        return self.auth == "cas" or (self.auth is None and bool(self.login))

    @property
    def web_origin(self) -> str:
        """The origin of Manager's web application, for instance ``https://10.0.0.5:28443``."""
        return f"https://{_in_url(self.host)}:{self.port}"

    @property
    def cas_base(self) -> str:
        """The address of the CAS application, without a slash at its end."""
        return (self.cas_url or f"https://{_in_url(self.host)}:{self.cas_port}/cas").rstrip("/")


def _check_host(field_name: str, host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise InvalidArgument(
                f"{field_name} must be a host name or an address, such as 10.0.0.5, without scheme, port or path, not "
                f"{host!r}."
            ) from None


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme == "https"
            and parts.hostname
            and parts.username is None
            and not (parts.query or parts.fragment)
            and parts.port != 0
        )
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
