"""A certification authority of the simulator's own, and the certificates it issues."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Literal

import trustme

Certificate = Literal["good", "expired", "other_host"]


class Certificates:
    """One authority, and the TLS context that both listeners share."""

    def __init__(self, host: str, certificate: Certificate = "good") -> None:
        self._authority = trustme.CA()
        names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), host]
        if certificate == "other_host":
            names = ["other.invalid"]
        self._names = [name for name in dict.fromkeys(names) if re.fullmatch(r"[\w.-]+|[0-9a-fA-F:]+", name)]
        today = datetime.now(UTC)
        last_day = today - timedelta(days=1) if certificate == "expired" else None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*self._names, not_after=last_day).configure_cert(self.context)

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority."""
        return self._authority.cert_pem.bytes().decode()
