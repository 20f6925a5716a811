"""Who has a cluster, and what of it is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from airflow_mrs.maintenance.state import variables
from airflow_mrs.maintenance.state.record import Phase, WindowKey, WindowRecord, new_id
from airflow_mrs.maintenance.state.store import KEPT, LEASE_SECONDS, RecordUnreadable, WindowStore
from airflow_mrs.maintenance.state.variables import VariablesUnreadable
from airflow_mrs.manager.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.maintenance.state.fakes import Time, Unlisted

STORE = WindowStore.of(Settings("mrs_default", "10.0.0.5", auth="none"), 1)
numbers = count()


def wanted(run_id: str = "one", *before: str) -> WindowRecord:
    """Return the record of a window that wants the cluster; each is later than the one before."""
    return WindowRecord(
        id=f"20260101T000000{next(numbers):06}-00000000",
        holder=WindowKey("a_dag", run_id, "maintenance"),
        mrs_conn_id="mrs_default",
        cluster_id=1,
        before=before,
        opened=0.0,
        cutoff=None,
        lapses=9e9,
    )


def alive(_: WindowRecord) -> bool:
    return True


def dead(_: WindowRecord) -> bool:
    return False


def claim(record: WindowRecord, is_alive: Callable[[WindowRecord], bool] = alive) -> WindowRecord:
    claimed = STORE.claim(record, is_alive)
    assert claimed is not None
    return claimed


def close(record: WindowRecord) -> WindowRecord:
    record = STORE.update(record, WindowRecord.begin_to_close)
    return STORE.update(record, WindowRecord.close)


def test_a_free_cluster_is_taken(airflow: type[Unlisted]) -> None:
    want = wanted("one", "HDFS", "HBase")

    claimed = claim(want)

    assert claimed == replace(want, phase=Phase.OPEN)
    assert STORE.read().records == (claimed,)
    assert STORE.read().claims == ()
    assert WindowStore.all() == [STORE]


def test_a_free_cluster_is_taken_at_once(airflow: type[Unlisted], clock: Time) -> None:
    begun = clock.now
    claim(wanted())

    assert clock.now - begun < (0.1 if hasattr(airflow, "keys") else 5.0)


def test_a_held_one_is_not(airflow: type[Unlisted]) -> None:
    held = claim(wanted("one"))

    assert claim(wanted("two")) == held
    assert STORE.read().records == (held,)
    assert STORE.read().claims == ()


def test_a_closed_one_is_free_again(airflow: type[Unlisted]) -> None:
    close(claim(wanted("one", "Kafka")))

    assert claim(wanted("two", "HBase")).before == ("HBase",)


def test_what_a_dead_one_left_down_is_remembered(airflow: type[Unlisted]) -> None:
    first = claim(wanted("one", "HDFS", "HBase"))

    second = claim(wanted("two", "Hive", "HDFS"), dead)

    assert second.before == ("HDFS", "HBase", "Hive")
    assert STORE.read().successor(first) == second
    assert STORE.read().standing() == [second]


def test_it_is_remembered_over_several_dead_ones(airflow: type[Unlisted]) -> None:
    claim(wanted("one", "HDFS"))
    claim(wanted("two", "HBase"), dead)

    assert claim(wanted("three", "Hive"), dead).before == ("HDFS", "HBase", "Hive")


def test_a_window_that_is_opened_again_keeps_the_cluster(airflow: type[Unlisted]) -> None:
    first = claim(wanted("one", "HBase"))

    again = claim(replace(wanted("one"), before=first.before))

    assert again.before == ("HBase",)
    assert STORE.read().of(first.holder) == again
    assert STORE.read().standing() == [again]


def test_a_claim_of_which_nobody_knows_whether_it_came_through_is_made_anew(
    airflow: type[Unlisted], clock: Time
) -> None:
    airflow.broken = staticmethod(lambda call: call == "set")
    with pytest.raises(VariablesUnreadable):
        STORE.claim(wanted("one"), alive)
    airflow.broken = staticmethod(lambda _: False)

    assert claim(wanted("one")).has_the_cluster


def test_who_came_first_has_it(airflow: type[Unlisted], monkeypatch: pytest.MonkeyPatch, clock: Time) -> None:
    earlier, later = wanted("earlier"), wanted("later")
    STORE.write(later)
    airflow.rows.setdefault("mrs_windows", json.dumps([STORE.key(later)]))
    seen = []

    def withdraw(seconds: float) -> None:
        clock.now += seconds
        seen.append(STORE.read().claims)
        airflow.rows.pop(STORE.key(later), None)

    monkeypatch.setattr(clock, "sleep", withdraw)

    assert claim(earlier).holder == earlier.holder
    assert any(later in claims for claims in seen) or not hasattr(airflow, "keys")


def test_who_came_later_withdraws(airflow: type[Unlisted]) -> None:
    earlier, later = wanted("earlier"), wanted("later")
    STORE.write(earlier)
    airflow.rows.setdefault("mrs_windows", json.dumps([STORE.key(earlier)]))

    assert STORE.claim(later, alive) is None
    assert STORE.read().claims == (earlier,)


def test_the_first_of_several_has_it(airflow: type[Unlisted], clock: Time) -> None:
    """And who waits for others to withdraw does not wait for ever."""
    first, second, third = wanted("first"), wanted("second"), wanted("third")
    for claim_of_another in (first, third):
        STORE.write(claim_of_another)
    airflow.rows.setdefault("mrs_windows", json.dumps([STORE.key(first), STORE.key(third)]))
    begun = clock.now

    assert STORE.claim(second, alive) is None
    assert clock.now - begun < 5.0
    assert STORE.read().claims == (first, third)
    airflow.rows.pop(STORE.key(first))

    assert STORE.claim(second, alive) is None  # the third does not withdraw
    assert clock.now - begun < LEASE_SECONDS
    assert STORE.read().claims == (third,)


def test_of_two_openings_of_a_window_the_last_one_counts(airflow: type[Unlisted]) -> None:
    earlier, later = wanted("one", "HBase").open(), wanted("one", "Hive").open()
    for opening in (later, earlier):
        STORE.write(opening)
        airflow.rows["mrs_windows"] = json.dumps([STORE.key(later), STORE.key(earlier)])

    assert STORE.read().of(earlier.holder) == later


def test_what_has_not_changed_is_not_written(
    airflow: type[Unlisted], monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = STORE.update(claim(wanted("one")), WindowRecord.begin_to_close)
    monkeypatch.setattr(WindowStore, "write", lambda *_: pytest.fail("nothing is to be written"))

    assert STORE.update(closing, WindowRecord.begin_to_close) == closing


def test_an_id_that_is_made_here_is_found_again(airflow: type[Unlisted]) -> None:
    opened = claim(replace(wanted("one"), id=new_id()))

    assert STORE.read().records == (opened,)


def test_a_claim_that_somebody_died_with_bars_nobody(airflow: type[Unlisted], clock: Time) -> None:
    """Whatever the clock of who died says."""
    STORE.write(replace(wanted("died"), opened=clock.now + 9e6, lapses=clock.now + 9e6))

    claimed = claim(wanted("two"), lambda record: record.holder.run_id != "died")

    assert STORE.read().records == (claimed,)
    assert STORE.read().claims == ()


def test_who_stood_still_while_claiming_has_not_got_it(
    airflow: type[Unlisted], monkeypatch: pytest.MonkeyPatch, clock: Time
) -> None:
    """It may have been taken for dead meanwhile."""
    write = WindowStore.write

    def stand_still(store: WindowStore, record: WindowRecord) -> None:
        write(store, record)
        if record.holder.run_id == "slow":
            clock.now += LEASE_SECONDS

    monkeypatch.setattr(WindowStore, "write", stand_still)

    assert STORE.claim(wanted("slow"), alive) is None
    assert STORE.read().records == ()


def test_who_stood_still_before_its_last_word_finds_the_other(
    airflow: type[Unlisted], monkeypatch: pytest.MonkeyPatch, clock: Time
) -> None:
    write, other = WindowStore.write, []

    def stand_still(store: WindowStore, record: WindowRecord) -> None:
        if record.holder.run_id == "slow" and record.phase is Phase.OPEN:
            other.append(claim(wanted("other", "HBase"), dead))
        write(store, record)

    monkeypatch.setattr(WindowStore, "write", stand_still)

    assert STORE.claim(wanted("slow"), alive) == other[0]
    assert STORE.read().standing() == other


@pytest.mark.parametrize("phase", [WindowRecord.close, WindowRecord.begin_to_close, lambda record: record])
def test_a_late_write_says_nothing_of_the_next_window(
    airflow: type[Unlisted], phase: Callable[[WindowRecord], WindowRecord]
) -> None:
    first = close(claim(wanted("one", "HBase")))
    second = claim(wanted("two", "HBase"))

    late = first if phase is WindowRecord.close else replace(first, phase=Phase.CLOSING)
    STORE.write(late)

    assert STORE.read().of(second.holder) == second
    assert second in STORE.read().standing()


def test_a_claim_that_is_written_again_late_does_not_hide_the_window(airflow: type[Unlisted]) -> None:
    want = wanted("one", "HBase")
    opened = claim(want)

    STORE.write(want)

    assert STORE.read().of(opened.holder) == opened
    assert STORE.read().standing() == [opened]


def test_a_record_goes_on_from_what_is_kept(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one", "HBase"))
    STORE.update(opened, WindowRecord.begin_to_close)

    assert STORE.update(opened, WindowRecord.begin_to_close).phase is Phase.CLOSING
    close(opened)
    with pytest.raises(ValueError, match="is closed and can't become closing"):
        STORE.update(opened, WindowRecord.begin_to_close)


def test_a_record_that_was_read_long_ago_is_not_written(airflow: type[Unlisted], clock: Time) -> None:
    opened = claim(wanted("one"))

    def stand_still(record: WindowRecord) -> WindowRecord:
        clock.now += LEASE_SECONDS + 1
        return record.begin_to_close()

    with pytest.raises(RecordUnreadable, match="read too long ago"):
        STORE.update(opened, stand_still)
    assert STORE.read().records == (opened,)


def test_a_record_that_somebody_has_deleted_is_kept_anew(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one", "HBase"))
    del airflow.rows[STORE.key(opened)]

    closing = STORE.update(opened, WindowRecord.begin_to_close)

    assert STORE.read().records == (closing,)


@pytest.mark.parametrize("text", ["", "by hand", "{}", "[]"])
def test_a_cluster_is_not_taken_where_it_is_not_known_who_has_it(airflow: type[Unlisted], text: str) -> None:
    opened = claim(wanted("one"))
    airflow.rows[STORE.key(opened)] = text

    with pytest.raises(RecordUnreadable, match=STORE.key(opened)):
        STORE.claim(wanted("two"), alive)
    assert STORE.read().standing() == []


def test_a_record_under_another_key_is_none(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one"))
    forged = replace(opened, id="20270101T000000000000-00000000")
    airflow.rows[STORE.key(forged)] = opened.to_json()
    airflow.rows.setdefault("mrs_windows", "[]")
    airflow.rows["mrs_windows"] = json.dumps([STORE.key(opened), STORE.key(forged)])

    assert STORE.read().records == (opened,)
    assert STORE.read().unreadable == {STORE.key(forged): f"a copy of {STORE.key(opened)}"}


def test_nothing_grows(airflow: type[Unlisted]) -> None:
    for number in range(4 * KEPT):
        opened = claim(wanted(f"run {number}", "HBase"), dead)
        if number % 3:
            close(opened)

    assert len(airflow.rows) <= 2 * KEPT + 4
    assert STORE.read().standing() == []


def test_of_a_chain_of_windows_that_took_over_none_stands_again(airflow: type[Unlisted]) -> None:
    """A window and several runs of the guard died, and the last one brought all back: weeks ago."""
    claim(wanted("one", "Kafka"))
    for number in range(4):
        last = claim(wanted(f"guard {number}"), dead)
    assert last.before == ("Kafka",)
    close(last)

    for number in range(3 * KEPT):
        claimed = claim(wanted(f"later {number}", "Hive"))
        assert claimed.before == ("Hive",)
        assert claimed.took_over == ()
        close(claimed)
    assert len(STORE.read().records) == KEPT + 1


def test_a_window_that_is_opened_again_and_again_leaves_nothing_that_stands(airflow: type[Unlisted]) -> None:
    for _ in range(4):
        last = claim(wanted("one", "Kafka"))
    close(last)

    for number in range(2 * KEPT):
        close(claim(wanted(f"later {number}")))
    assert STORE.read().standing() == []
    assert len(STORE.read().records) == KEPT + 1


def test_what_was_taken_over_is_forgotten_before_who_did_so(
    airflow: type[Unlisted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stand there again as one that was never closed."""
    lost = claim(wanted("dead", "Kafka"))
    heir = close(claim(wanted("heir", "HBase"), dead))
    deleted: list[str] = []
    delete = variables.delete

    def note_and_delete(key: str) -> None:
        deleted.append(key)
        delete(key)

    monkeypatch.setattr(variables, "delete", note_and_delete)

    for number in range(KEPT + 1):
        close(claim(wanted(f"run {number}")))
        assert [record.holder.run_id for record in STORE.read().standing()] == []

    forgotten = [key for key in deleted if not key.endswith("-claim")]
    assert STORE.key(lost) in forgotten
    assert forgotten.index(STORE.key(lost)) < forgotten.index(STORE.key(heir))


def test_a_record_of_an_earlier_version_is_one(airflow: type[Unlisted]) -> None:
    old = {
        "holder": {"dag_id": "a_dag", "run_id": "old", "group_id": "maintenance", "map_index": -1},
        "mrs_conn_id": "mrs_default",
        "cluster_id": 1,
        "before": ["HBase"],
        "opened": 0.0,
        "cutoff": None,
        "lapses": 9e9,
        "phase": "open",
    }
    airflow.rows[STORE.name] = json.dumps(old)
    airflow.rows["mrs_windows"] = json.dumps([STORE.name])
    airflow.rows[f"{STORE.name}_lock"] = "{}"

    assert WindowStore.all() == [STORE]
    assert claim(wanted("new", "Hive"), dead).before == ("HBase", "Hive")


def test_stores_are_told_apart_by_host_and_port_and_cluster(airflow: type[Unlisted]) -> None:
    settings = [
        Settings("a", "10.0.0.5", auth="none"),
        Settings("b", "10.0.0.6", auth="none"),
        Settings("c", "10.0.0.5", port=28444, auth="none"),
    ]
    stores = [WindowStore.of(one, cluster) for one in settings for cluster in (1, 11)]

    for number, store in enumerate(stores):
        record = replace(wanted(str(number)), cluster_id=(1, 11)[number % 2])
        assert store.claim(record, alive) is not None

    assert len(set(stores)) == 6
    assert sorted(stores, key=str) == sorted(WindowStore.all(), key=str)
    assert all(len(store.read().records) == 1 for store in stores)
    assert WindowStore.of(Settings("d", "fe80::1", auth="none"), 1).name == "mrs_window_fe80_1_28443_1"


def test_a_window_is_found_by_its_key_alone(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one"))

    assert WindowStore.find(opened.holder) == STORE
    assert WindowStore.find(wanted("two").holder) is None


def test_a_window_may_be_one_that_can_not_be_read(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one"))
    airflow.rows[STORE.key(opened)] = "by hand"

    with pytest.raises(RecordUnreadable):
        WindowStore.find(opened.holder)


def test_durations_are_kept_beside_it(airflow: type[Unlisted]) -> None:
    assert STORE.read_durations() == {}

    STORE.write_durations({"HBase": {"stop": 12.5}})

    assert STORE.read_durations() == {"HBase": {"stop": 12.5}}
    assert STORE.read().records == ()


@pytest.mark.parametrize(
    "text",
    [
        "by hand",
        "[]",
        '{"HBase": 1}',
        '{"HBase": {"stop": "long"}}',
        '{"HBase": {"stop": -600}}',
        '{"HBase": {"stop": NaN}}',
        '{"HBase": {"stop": Infinity}}',
        '{"HBase": {"stop": 1e300}}',
        '{"HBase": {"stop": ' + "9" * 400 + "}}",
        "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_durations_that_somebody_has_edited_are_named(airflow: type[Unlisted], text: str) -> None:
    airflow.rows["mrs_durations_10.0.0.5_28443_1"] = text

    with pytest.raises(RecordUnreadable, match="mrs_durations_"):
        STORE.read_durations()


# ---- what somebody has written into it ---------------------------------------------------------------------


def test_a_record_about_another_cluster_is_none(airflow: type[Unlisted]) -> None:
    opened = claim(wanted("one"))
    airflow.rows[STORE.key(opened)] = replace(opened, cluster_id=2).to_json()

    assert list(STORE.read().unreadable) == [STORE.key(opened)]
    with pytest.raises(RecordUnreadable, match="another cluster, 2"):
        STORE.update(opened, WindowRecord.begin_to_close)


def test_another_windows_record_is_not_updated(airflow: type[Unlisted]) -> None:
    opened, other = claim(wanted("one")), wanted("two")
    airflow.rows[STORE.key(opened)] = other.open().to_json()

    with pytest.raises(RecordUnreadable, match="a copy of"):
        STORE.update(opened, WindowRecord.begin_to_close)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_windows_that_have_taken_each_other_over_are_named(airflow: type[Unlisted], length: int) -> None:
    """Else none of them would stand, and nobody would bring back what they left down."""
    records = [wanted(str(number)).open() for number in range(length)]
    for number, record in enumerate(records):
        STORE.write(replace(record, took_over=(records[(number + 1) % length].id,)))
        variables.enlist(STORE.key(record))
    sound = wanted("sound").open()
    STORE.write(sound)
    variables.enlist(STORE.key(sound))

    windows = STORE.read()

    assert set(windows.unreadable) == {STORE.key(record) for record in records}
    assert windows.standing() == [sound]


@pytest.mark.parametrize("text", ["8 MB", "deep"])
def test_what_is_giant_or_deep_is_named_in_short(airflow: type[Unlisted], text: str) -> None:
    opened = claim(wanted("one"))
    airflow.rows[STORE.key(opened)] = {"8 MB": opened.to_json() + " " * 8_000_000, "deep": "[" * 30_000}[text]

    with pytest.raises(RecordUnreadable) as caught:
        STORE.read().require_readable()
    assert len(str(caught.value)) < 1000
    with pytest.raises(RecordUnreadable):
        STORE.update(opened, WindowRecord.begin_to_close)


STRAYS = [
    "mrs_window_",
    "mrs_window_notes",
    "mrs_window_10.0.0.5_28443",
    "mrs_window_10.0.0.5_28443_1_20260101T000000000000-00000000-old",
    "mrs_window_10.0.0.5_28443_1_20260101T000000000000-00000000-claim-claim",
    "mrs_window_{{ 7 * 7 }}_28443_1",
    "mrs_window_10.0.0.5_28443_\u0661",
]


@pytest.mark.parametrize("key", STRAYS, ids=ascii)
def test_what_is_named_like_a_window_and_is_none_is_a_stray(airflow: type[Unlisted], key: str) -> None:
    opened = claim(wanted("one"))
    airflow.rows[key] = "anything"
    variables.enlist(key)

    assert WindowStore.strays() == [key]
    assert WindowStore.all() == [STORE]
    assert STORE.read().records == (opened,)
