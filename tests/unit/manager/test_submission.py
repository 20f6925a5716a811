from __future__ import annotations

import pytest

from airflow_mrs.manager.change import Action, ServiceChange
from airflow_mrs.manager.errors import (
    AnswerLost,
    CertificateRefused,
    ForeignRedirect,
    MRSError,
    RequestRefused,
    StateUndecided,
    TooLate,
    Unreachable,
    WaitTimedOut,
)
from airflow_mrs.manager.message import Response
from airflow_mrs.manager.model import Configuration
from airflow_mrs.manager.note import Note, Submitted
from airflow_mrs.manager.saving import ConfigurationSave, save
from airflow_mrs.manager.sending import SENT_WITHIN
from airflow_mrs.manager.steps import Ask, Remember, Step
from airflow_mrs.manager.submission import submit

from .driver import TO_LOGIN, Driver, Script, command, page, redirect, service

LOOK = "GET /cluster/1/services/HBase"
SEND = "POST /maintain/cluster/1/service/HBase/stop"
POLL = "GET /common/command/4100/progress"
CONTRADICTING_LOOKS = 6  # after 0, 1, 3, 7, 12, 17 seconds
STOP = ServiceChange(Action.STOP, "HBase")
NOTE = Note(STOP.identity)

UP, DOWN = service("Normal"), service("Not started")
ACCEPTED = command("IN_PROGRESS", 4100)
FAILED = command("FAILED", 4100, progress=50)
FORGOTTEN = command("FAILED", error_code=-1)
LOST = AnswerLost("timed out")
Answers = list[Response | MRSError]


class Try:
    """One try of a task, with what Manager answers and what was noted."""

    def __init__(self, looks: Answers, sends: Answers | None = None, polls: Answers | None = None) -> None:
        self.manager = Script({LOOK: looks, SEND: sends or [ACCEPTED], POLL: polls or [ACCEPTED]})
        self.notes: list[dict[str, str | int]] = []
        self.driver = Driver(self.manager, remember=self.notes.append)

    def submit(self, kept: dict[str, str | int] | None = None, timeout: float = 3600.0) -> Submitted:
        return self.driver.run(submit(self.driver.contact(timeout=timeout), STOP, kept))

    @property
    def phases(self) -> list[str | int]:
        return [note["phase"] for note in self.notes]

    @property
    def sent(self) -> int:
        return self.manager.calls.count(SEND)


# ---- the first try ---------------------------------------------------------------------------------------


def test_it_is_noted_before_it_leaves_and_after_it_was_accepted() -> None:
    first = Try([UP])
    assert first.submit() == Submitted(4100)
    assert first.manager.calls == [LOOK, SEND]
    assert first.notes == [NOTE.submitting(), NOTE.submitted(4100)]


@pytest.mark.parametrize(
    ("words", "outcome", "sent"),
    [
        (["Stopped"], Submitted(over=True), 0),
        (["not started"], Submitted(over=True), 0),
        (["Stopping"], Submitted(), 0),
        (["Starting", "Starting", "Started"], Submitted(4100), 1),
        (["Starting", "Stopped"], Submitted(over=True), 0),
        (["Unknown"], Submitted(4100), 1),
        (["Failed to stop"], Submitted(4100), 1),
        (["Bad"], Submitted(4100), 1),
    ],
)
def test_the_state_decides_what_there_is_to_do(words: list[str], outcome: Submitted, sent: int) -> None:
    first = Try([service(word) for word in words])
    assert first.submit() == outcome
    assert first.sent == sent


@pytest.mark.parametrize("look", [page("", 404), page("<p>?"), page("", 500), Response(200, (), b"{")])
def test_an_unreadable_state_is_no_obstacle(look: Response) -> None:
    first = Try([look])
    assert first.submit() == Submitted(4100)


@pytest.mark.parametrize("look", [Unreachable("refused"), LOST, page("", 503)])
def test_a_manager_that_is_away_is_tried_three_times(look: Response | MRSError) -> None:
    first = Try([look])
    with pytest.raises(Unreachable):
        first.submit()
    assert first.manager.calls == [LOOK] * 3
    assert first.notes == []


def test_a_service_that_does_not_settle_in_time() -> None:
    first = Try([service("Starting")])
    with pytest.raises(WaitTimedOut, match="Nothing was sent"):
        first.submit(timeout=30)
    assert first.sent == 0


def test_a_refusal_is_an_error_and_leaves_no_doubt() -> None:
    first = Try([UP], [command("FAILED", error_code=-30, error_description="busy")])
    with pytest.raises(RequestRefused, match="error -30: busy"):
        first.submit()
    assert first.phases == ["submitting", "done"]
    assert first.sent == 1


def test_a_post_redirected_to_the_login_is_sent_again_after_it() -> None:
    first = Try([UP], [TO_LOGIN, ACCEPTED])
    assert first.submit() == Submitted(4100)
    assert first.sent == 2


def test_a_refused_connection_is_tried_again() -> None:
    first = Try([UP], [Unreachable("refused"), Unreachable("refused"), ACCEPTED])
    assert first.submit() == Submitted(4100)
    first = Try([UP], [Unreachable("refused")])
    with pytest.raises(Unreachable):
        first.submit()
    assert first.manager.calls == [LOOK, SEND] * 3
    assert first.phases == [*["submitting"] * 3, "done"]


def test_a_refused_certificate_is_not_tried_again() -> None:
    first = Try([UP], [CertificateRefused("unknown authority")])
    with pytest.raises(CertificateRefused):
        first.submit()
    assert first.sent == 1


def test_a_foreign_redirect_in_answer_to_the_request_leaves_the_doubt() -> None:
    first = Try([UP], [redirect("https://elsewhere.example/")])
    with pytest.raises(ForeignRedirect):
        first.submit()
    assert first.phases == ["submitting"]


@pytest.mark.parametrize(
    ("answer", "words", "outcome"),
    [
        (command("COMPLETE"), ["Started", "Stopped"], Submitted(over=True)),
        (command("COMPLETE"), ["Started", "Unknown"], Submitted(over=True)),
        (command("IN_PROGRESS"), ["Started"], Submitted()),
        (command("COMPLETE", 0), ["Started"], Submitted(0)),
    ],
)
def test_ids_that_are_none(answer: Response, words: list[str], outcome: Submitted) -> None:
    assert Try([service(word) for word in words], [answer]).submit() == outcome


# ---- a lost answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost", [LOST, page("", 429), page("", 500), page("", 502), page("<p>?"), Response(200, (), b"{")]
)
@pytest.mark.parametrize(("word", "over"), [("Stopping", False), ("Stopped", True)])
def test_a_lost_answer_to_an_accepted_request(lost: Response | MRSError, word: str, over: bool) -> None:
    first = Try([UP, UP, service(word)], [lost])
    assert first.submit() == Submitted(over=over)
    assert first.sent == 1


def test_a_lost_request_is_sent_once_more_when_the_service_clearly_stays_as_it_was() -> None:
    first = Try([UP], [LOST, ACCEPTED])
    assert first.submit() == Submitted(4100)
    assert first.manager.calls == [LOOK, SEND, *[LOOK] * CONTRADICTING_LOOKS, SEND]
    assert first.driver.pauses == [1, 2, 4, *[5] * (CONTRADICTING_LOOKS - 4)]


def test_a_request_lost_twice_is_for_a_human() -> None:
    first = Try([UP], [LOST])
    with pytest.raises(StateUndecided, match="lost twice"):
        first.submit()
    assert (first.sent, first.phases[-1]) == (2, "submitting")


def test_a_lost_answer_and_an_unreadable_state() -> None:
    first = Try([UP, service("Unknown")], [LOST])
    with pytest.raises(StateUndecided, match=r"not known whether .* is 'Unknown'"):
        first.submit()
    assert (first.sent, first.phases) == (1, ["submitting"])


def test_a_lost_answer_at_the_deadline_is_not_looked_into_in_haste() -> None:
    first = Try([UP], [LOST])
    with pytest.raises(StateUndecided):
        first.submit(timeout=5)
    assert first.sent == 1
    assert first.driver.pauses == [1, 2, 2]


def test_a_service_that_moves_the_other_way_is_no_proof() -> None:
    first = Try([UP, *[service("Starting")] * 7, DOWN], [LOST])
    assert first.submit() == Submitted(over=True)
    assert first.sent == 1


# ---- standing still between the note and the request -----------------------------------------------------


class Frozen:
    """Stands still for a while before the note is asked for, while it is kept, or before the request leaves."""

    def __init__(self, first: Try, where: str, times: int, seconds: float = SENT_WITHIN + 0.1) -> None:
        self.driver, self.where, self.times, self.seconds = first.driver, where, times, seconds
        self.keep = first.driver.remember
        self.driver.before, self.driver.remember = self.before, self.remember

    def before(self, step: Step) -> None:
        if isinstance(step, Remember) and step.note["phase"] == "submitting":
            self.stand_still("before the note")
        if isinstance(step, Ask) and step.call.method == "POST":
            self.stand_still("before the request")

    def remember(self, note: dict[str, str | int]) -> None:
        if note["phase"] == "submitting":
            self.stand_still("in the note")
        self.keep(note)

    def stand_still(self, where: str) -> None:
        if where == self.where and self.times:
            self.times -= 1
            self.driver.clock.now += self.seconds


WHERE = ["before the note", "in the note", "before the request"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("times", [1, 2])
def test_who_stood_still_looks_again_and_notes_again_before_anything_is_sent(where: str, times: int) -> None:
    first = Try([UP])
    Frozen(first, where, times)
    assert first.submit() == Submitted(4100)
    assert first.manager.calls == [*[LOOK] * (times + 1), SEND]
    assert first.phases == [*["submitting"] * (times + 1), "submitted"]


@pytest.mark.parametrize("where", WHERE)
def test_who_stands_still_again_and_again_sends_nothing_and_says_so(where: str) -> None:
    first = Try([UP])
    Frozen(first, where, 3)
    with pytest.raises(TooLate, match="nothing was sent"):
        first.submit()
    assert (first.sent, first.phases) == (0, [*["submitting"] * 3, "done"])


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("word", "over"), [("Stopping", False), ("Stopped", True)])
def test_what_was_done_meanwhile_is_not_done_again(where: str, word: str, over: bool) -> None:
    first = Try([UP, service(word)])
    Frozen(first, where, 1, seconds=7200.0)
    assert first.submit() == Submitted(over=over)
    assert first.sent == 0


def test_a_moment_is_not_too_long() -> None:
    first = Try([UP])
    Frozen(first, "in the note", 1, seconds=SENT_WITHIN - 0.1)
    assert first.submit() == Submitted(4100)
    assert first.manager.calls == [LOOK, SEND]


def test_who_stands_still_after_a_lost_answer_finds_out_again() -> None:
    first = Try([UP], [LOST, ACCEPTED])
    frozen = Frozen(first, "before the request", 0)
    keep = frozen.keep

    def freeze_at_the_second(note: dict[str, str | int]) -> None:
        frozen.times = int(len(first.notes) == 1)
        keep(note)

    frozen.keep = freeze_at_the_second
    assert first.submit() == Submitted(4100)
    looks = [LOOK] * CONTRADICTING_LOOKS
    assert first.manager.calls == [LOOK, SEND, *looks, *looks, SEND]


@pytest.mark.parametrize("restart_affected", [False, True])
@pytest.mark.parametrize("where", WHERE)
def test_who_stood_still_before_a_save_notes_again(where: str, restart_affected: bool) -> None:
    call = "POST /config/cluster/1/save"
    what = ConfigurationSave((Configuration("HDFS", {"dfs.replication": "2"}),), 1, restart_affected)
    for times, sent in ((1, 1), (2, 1), (3, 0)):
        first = Try([])
        first.manager.answers[call] = [ACCEPTED]
        Frozen(first, where, times)
        procedure = save(first.driver.contact(), what, None)
        if sent:
            assert first.driver.run(procedure) == Submitted(4100)
        else:
            with pytest.raises(TooLate):
                first.driver.run(procedure)
        assert first.manager.calls.count(call) == sent
        assert first.phases[-1] == ("submitted" if sent else "done")


def test_each_request_is_noted_that_is_sent() -> None:
    for unsent in (TO_LOGIN, LOST, Unreachable("refused")):
        first = Try([UP], [unsent, ACCEPTED])
        first.submit()
        assert first.phases == ["submitting", "submitting", "submitted"]


# ---- a further try ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["IN_PROGRESS", "NEW", "PAUSED"])
def test_a_running_command_is_waited_for(state: str) -> None:
    second = Try([UP], polls=[command(state, 4100)])
    assert second.submit(NOTE.submitted(4100)) == Submitted(4100)
    assert second.manager.calls == [POLL]


@pytest.mark.parametrize(
    ("poll", "words", "outcome", "sent"),
    [
        (FAILED, ["Normal"], Submitted(4100), 1),
        (FAILED, ["Stopping"], Submitted(), 0),
        (command("COMPLETE"), ["Stopped"], Submitted(4100, over=True), 0),
        (command("COMPLETE"), ["Unknown"], Submitted(4100, over=True), 0),
        (command("COMPLETE"), ["Normal", "Normal", "Stopped"], Submitted(over=True), 0),
        (command("COMPLETE"), ["Normal"], Submitted(4100), 1),
        (command("COMPLETE"), ["STARTED"], Submitted(4100), 1),
        (FORGOTTEN, ["Stopped"], Submitted(4100, over=True), 0),
        (FORGOTTEN, ["Stopping"], Submitted(), 0),
        (FORGOTTEN, ["Normal"], Submitted(4100), 1),
        (page("", 404), ["Stopping"], Submitted(), 0),
        (page("", 404), ["Normal"], Submitted(4100), 1),
    ],
)
def test_a_command_that_is_over(poll: Response, words: list[str], outcome: Submitted, sent: int) -> None:
    second = Try([service(word) for word in words], polls=[poll])
    assert second.submit(NOTE.submitted(4100)) == outcome
    assert second.sent == sent


def test_a_forgotten_command_and_an_unreadable_state() -> None:
    second = Try([page("", 404)], polls=[FORGOTTEN])
    with pytest.raises(StateUndecided):
        second.submit(NOTE.submitted(4100))
    assert second.sent == 0


def test_a_try_that_died_while_it_was_sending_leaves_it_to_the_state() -> None:
    assert Try([service("Stopping")]).submit(NOTE.submitting()) == Submitted()
    undecided = Try([service("Unknown")])
    with pytest.raises(StateUndecided):
        undecided.submit(NOTE.submitting())
    untouched = Try([UP])
    assert untouched.submit(NOTE.submitting()) == Submitted(4100)
    assert untouched.manager.calls == [*[LOOK] * CONTRADICTING_LOOKS, SEND]
    assert undecided.sent == 0


@pytest.mark.parametrize(
    "kept",
    [
        None,
        NOTE.done(),
        Note(ServiceChange(Action.START, "HBase").identity).submitted(4100),
        Note(ServiceChange(Action.STOP, "Hive").identity).submitting(),
        Note(ServiceChange(Action.STOP, "HBase", 2).identity).submitting(),
    ],
)
def test_notes_that_tell_nothing(kept: dict[str, str | int] | None) -> None:
    fresh = Try([UP])
    assert fresh.submit(kept) == Submitted(4100)
    assert fresh.manager.calls == [LOOK, SEND]


def test_a_state_that_hides_movement_never_proves_that_a_request_was_not_accepted() -> None:
    """MRS 2.x says *started* until a service is *stopped*."""
    unchanged = Try([service("STARTED")], [LOST])
    with pytest.raises(StateUndecided):
        unchanged.submit()
    assert unchanged.manager.calls.count(SEND) == 1
    assert unchanged.phases == ["submitting"]

    stopped_at_last = Try([*[service("STARTED")] * 40, service("STOPPED")], [LOST])
    assert stopped_at_last.submit() == Submitted(over=True)
    assert stopped_at_last.manager.calls.count(SEND) == 1
