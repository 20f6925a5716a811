from __future__ import annotations

import pytest

from airflow_mrs.simulator.journal import Journal
from airflow_mrs.simulator.sso import Refusal, SingleSignOn


class Office:
    """A single sign-on whose time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.journal = Journal(lambda: self.now)
        self.sso = SingleSignOn(
            self.journal.record, "admin", "right", idle_seconds=1200, lock_seconds=300, clock=lambda: self.now
        )

    def log_in(self, password: str = "right") -> str | Refusal:
        session, form = self.sso.new_form()
        fields = {"username": "admin", "password": password, "lt": form.lt, "_eventId": "submit"}
        return self.sso.log_in(session, fields)


def test_the_right_password_grants_tickets() -> None:
    office = Office()
    granting = office.log_in()
    assert isinstance(granting, str)
    service = "https://a:1/web/v1/clusters?x=1"
    ticket = office.sso.grant(granting, service)
    grant = office.sso.redeem(ticket, "https://b:2/web/v1/clusters?x=1")
    assert grant is not None
    assert grant.granting == granting
    assert office.sso.redeem(ticket, service) is None


def test_a_ticket_serves_no_other_service_and_not_for_long() -> None:
    office = Office()
    granting = office.log_in()
    assert isinstance(granting, str)
    assert office.sso.redeem(office.sso.grant(granting, "/web/a"), "/web/b") is None
    late = office.sso.grant(granting, "/web/a")
    office.now += 11
    assert office.sso.redeem(late, "/web/a") is None


def test_a_form_serves_once() -> None:
    office = Office()
    session, form = office.sso.new_form()
    fields = {"username": "admin", "password": "right", "lt": form.lt, "_eventId": "submit"}
    assert isinstance(office.sso.log_in(session, fields), str)
    assert office.sso.log_in(session, fields) is Refusal.STALE


@pytest.mark.parametrize(
    "spoiled",
    [{"lt": "a b"}, {"execution": "e9s9"}, {"_token": "&amp;"}, {"_eventId": ""}],
    ids=lambda spoiled: next(iter(spoiled)),
)
def test_a_spoiled_form_is_no_attempt(spoiled: dict[str, str]) -> None:
    office = Office()
    session, form = office.sso.new_form()
    fields = {"username": "admin", "password": "right", "lt": form.lt, "_eventId": "submit", **spoiled}
    assert office.sso.log_in(session, fields) is Refusal.STALE
    assert office.journal.logins_attempted == 0


def test_five_wrong_passwords_in_a_row_lock_the_account_for_a_while() -> None:
    office = Office()
    assert [office.log_in("wrong") for _ in range(5)] == [Refusal.WRONG] * 5
    assert office.log_in() is Refusal.LOCKED
    office.now += 300
    assert isinstance(office.log_in(), str)


def test_a_right_password_in_between_starts_the_count_anew() -> None:
    office = Office()
    for password in [*["wrong"] * 4, "right", *["wrong"] * 4, "right"]:
        answer = office.log_in(password)
        assert answer is not Refusal.LOCKED
    assert office.journal.logins_succeeded == 2


def test_an_idle_ticket_expires_and_a_used_one_does_not() -> None:
    office = Office()
    granting = office.log_in()
    assert isinstance(granting, str)
    for _ in range(3):
        office.now += 1000
        assert office.sso.grant(granting, "/web/a")
    office.now += 1201
    assert office.sso.grant(granting, "/web/a") is None
