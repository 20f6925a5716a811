"""Getting in, staying in, and not getting in: by both drivers, over TLS against the simulator."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.manager import protocol
from airflow_mrs.manager.client import Client
from airflow_mrs.manager.errors import CertificateRefused, LoginRefused, MRSError, Unreachable
from airflow_mrs.simulator import pages
from tests.integration.conftest import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mrs.simulator import Simulator
    from tests.integration.conftest import Driver

    Simulate = Callable[..., Simulator]
    Connect = Callable[..., Driver]


def test_a_lost_session_is_renewed_once(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    manager = connect(simulator)
    manager.call(protocol.list_clusters())

    simulator.sessions.clear()
    begun = manager.call(protocol.stop_service("HBase"))

    assert begun.id > 0
    assert simulator.journal.logins_succeeded == 2
    assert simulator.journal.accepted("HBase", "stop") == 1


def test_closing_logs_out(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    manager = connect(simulator)
    manager.call(protocol.list_clusters())

    manager.close()

    assert simulator.journal.count("logout") == 1


def test_a_wrong_password_is_tried_once(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()

    for _ in range(3):
        with pytest.raises(LoginRefused, match="'mrs_test'"):
            connect(simulator, password="not this one").call(protocol.list_clusters())

    assert simulator.journal.logins_attempted == 1


def test_threads_with_a_wrong_password_try_it_once_between_them(simulate: Simulate) -> None:
    simulator = simulate()
    settings = settings_of(simulator, password="not this one")
    errors: list[MRSError] = []

    def knock() -> None:
        try:
            Client(settings).call(protocol.list_clusters())
        except MRSError as error:
            errors.append(error)

    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [type(error) for error in errors] == [LoginRefused] * 8
    assert simulator.journal.logins_attempted == 1


def test_a_new_password_is_a_new_try(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    with pytest.raises(LoginRefused):
        connect(simulator, password="not this one").call(protocol.list_clusters())

    assert connect(simulator).call(protocol.list_clusters())


def test_no_credential_goes_to_a_server_that_is_not_trusted(simulate: Simulate, connect: Connect) -> None:
    simulator, stranger = simulate(), simulate()

    with pytest.raises(CertificateRefused, match="ca_cert"):
        connect(simulator, ca_cert=stranger.ca_pem).call(protocol.list_clusters())

    assert simulator.journal.logins_attempted == 0


def test_verification_can_be_switched_off(simulate: Simulate, connect: Connect) -> None:
    assert connect(simulate(), ca_cert=None, verify=False).call(protocol.list_clusters())


def test_the_environment_has_no_say_in_what_is_trusted(
    simulate: Simulate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "/no/such/file")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    assert connect(simulator).call(protocol.list_clusters())


def test_nobody_listens(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate()
    simulator.refuse(600)

    with pytest.raises(Unreachable):
        connect(simulator).call(protocol.list_clusters())


def test_redirects_that_name_another_host_need_known_as(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(known_as="manager.example")

    with pytest.raises(MRSError, match="known_as"):
        connect(simulator).call(protocol.list_clusters())

    assert connect(simulator, known_as=("manager.example",)).call(protocol.list_clusters())


def test_no_form_makes_either_driver_see_another_host_than_we_do(
    simulate: Simulate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = simulate()
    with socket.create_server(("127.0.0.1", 0)) as evil:
        evil.setblocking(False)
        # To some libraries the host ends at the backslash, to others it begins after the '@'.
        form = pages.login
        own = f"{simulator.connection['host']}:{simulator.connection['extra']['cas_port']}"
        action = f"https://127.0.0.1:{evil.getsockname()[1]}\\@{own}/cas/login"
        monkeypatch.setattr(
            pages, "login", lambda *args, **options: form(*args, **options).replace("/cas/login", action)
        )

        assert connect(simulator).call(protocol.list_clusters())

        with pytest.raises(BlockingIOError):
            evil.accept()
    assert simulator.journal.logins_succeeded == 1
