from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_mrs.faults import no_retry_of_what_cannot_change, raise_from_event
from airflow_mrs.manager import errors
from airflow_mrs.manager.errors import (
    AnswerLost,
    CertificateRefused,
    CommandFailed,
    ForeignRedirect,
    InvalidArgument,
    LoginRefused,
    MRSError,
    StateUndecided,
    TooLate,
    Unreachable,
    WaitTimedOut,
)


@pytest.mark.parametrize("kind", [InvalidArgument, LoginRefused, CertificateRefused, ForeignRedirect])
def test_what_can_not_change_is_not_retried(kind: type[MRSError]) -> None:
    with pytest.raises(AirflowFailException, match="why"), no_retry_of_what_cannot_change():
        raise kind("why")


@pytest.mark.parametrize(
    "kind", [Unreachable, TooLate, AnswerLost, CommandFailed, StateUndecided, WaitTimedOut]
)
def test_what_can_change_is(kind: type[MRSError]) -> None:
    with pytest.raises(kind), no_retry_of_what_cannot_change():
        raise kind("why")


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MRSError)]


@pytest.mark.parametrize(("name", "kind"), [*((kind.__name__, kind) for kind in KINDS), ("Odd", MRSError)])
def test_an_event_brings_its_error_back(name: str, kind: type[MRSError]) -> None:
    with pytest.raises(MRSError, match="why") as caught:
        raise_from_event({"status": "error", "error": name, "message": "why"})
    assert type(caught.value) is kind
