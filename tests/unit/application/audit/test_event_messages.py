"""Entries of the stream as the audit trail shows and exports them, and back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.audit.event_messages import entry_of, event_data, event_message
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.v1.shape import to_json_data

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**53)
MOMENTS = st.integers(0, 10**15).map(lambda count: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=count))
FAILURES = st.none() | st.builds(Failure, TEXTS, TEXTS, TEXTS, st.booleans())


@st.composite
def entries(draw: st.DrawFn) -> FeedEntry:
    """Any entry that a store may hold: of a run the place is the event's sequence."""
    run, place = draw(TEXTS), draw(NUMBERS)
    texts = {
        name: draw(TEXTS)
        for name in (
            *("type", "subject", "actor", "from_state", "to_state", "revision", "detail", "origin", "method"),
            *("request_id", "trace_id", "before_digest", "after_digest", "outcome", "chain"),
        )
    }
    return FeedEntry(
        id=draw(NUMBERS),
        position="",
        time=draw(MOMENTS),
        run=run,
        sequence=place if run else 0,
        failure=draw(FAILURES),
        version=draw(NUMBERS),
        place=place,
        hash=draw(st.binary(max_size=32)),
        **texts,
    )


@given(entries())
def test_what_is_exported_is_what_the_contract_shows(entry: FeedEntry) -> None:
    assert event_data(entry) == to_json_data(event_message(entry))


@given(entries())
def test_what_is_exported_is_read_back_as_it_was(entry: FeedEntry) -> None:
    assert entry_of(orjson.loads(orjson.dumps(event_data(entry)))) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": "7"},
        {"sequence": True},
        {"time": "yesterday"},
        {"time": "2026-01-01T00:00:00"},
        {"time": None},
        {"hash": "%%%"},
        {"detail": 7},
        {"failure": "no"},
        {"failure": {"isTemporary": 1}},
    ],
)
def test_what_was_never_exported_is_refused(change: dict[str, Any]) -> None:
    known = event_data(FeedEntry(1, "", datetime(2026, 1, 1, tzinfo=UTC), "create", "environments/e", "me"))
    with pytest.raises(ValueError):  # noqa: PT011 (whatever it says)
        entry_of(known | change)
