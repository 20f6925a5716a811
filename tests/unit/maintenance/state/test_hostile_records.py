"""Whatever somebody makes of a Variable, it is a record or a ValueError."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_mrs.maintenance.state.record import WindowKey, WindowRecord

RECORD = WindowRecord("1", WindowKey("d", "r", "g"), "mrs_default", 1, ("HBase",), 0.0, None, 1.0)
FIELDS = [*RECORD.to_dict(), *RECORD.to_dict()["holder"], "unheard_of"]

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("open"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
    max_leaves=15,
)
edited = st.dictionaries(st.sampled_from(FIELDS), any_json, max_size=4).map(
    lambda edits: json.dumps({**RECORD.to_dict(), **edits})
)


@example("[" * 60_000)
@example(json.dumps({**RECORD.to_dict(), "lapses": 10**400}))
@given(edited | any_json.map(json.dumps) | st.text())
def test_any_text_is_a_record_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        record = WindowRecord.from_json(text)
        assert WindowRecord.from_json(record.to_json()) == record
        str(record.holder)
