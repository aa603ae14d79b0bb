"""Entries of the stream as CloudEvents 1.0."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pymigrate.engine.application.cloud_events import CONTENT_TYPE, CloudEvents, event_id
from pymigrate.engine.domain.run import Failure, Run, RunAggregate
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.testing.store import MemoryStore

RUN = "environments/e/plans/p/runs/r"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FAILED = FeedEntry(
    id=7,
    position="0.7",
    time=TIME,
    type="phase.failed",
    subject=f"{RUN}/phases/sales",
    actor="engine",
    run=RUN,
    sequence=4,
    from_state="staging",
    to_state="failed",
    failure=Failure("DATA_REFUSED", "Zeile 3 „ä“ is refused", "phases.sales"),
    revision="abc",
)
APPROVED = FeedEntry(id=8, position="0.8", time=TIME, type="approve sales/go", subject=RUN, actor="local")


async def told(*entries: FeedEntry, traceparent: str = "") -> list[dict[str, Any]]:
    """The events of entries, of which one run is stored."""
    store = MemoryStore()
    run = Run(RUN, "environments/e/plans/p", "k", "h", TIME, "api", traceparent=traceparent)
    await store.transact(lambda unit: unit.runs.insert(RunAggregate(run), b""))
    found = await store.read(lambda unit: CloudEvents("acme").messages(unit, entries))
    assert all(message.content_type == CONTENT_TYPE for each in found for message in each)
    return [json.loads(message.body) for each in found for message in each]


async def test_an_event_of_a_run_says_what_happened_in_the_contract_s_words() -> None:
    event = (await told(FAILED))[0]
    assert event["specversion"] == "1.0"
    assert (event["source"], event["type"], event["subject"]) == ("/acme", "io.pymigrate.phase.failed", FAILED.subject)
    assert event["time"] == "2026-01-02T03:04:05.678901Z"
    assert event["datacontenttype"] == "application/json"
    assert (event["partitionkey"], event["sequence"]) == (RUN, "0000000004")
    assert event["data"] == {
        "run": RUN,
        "sequence": 4,
        "type": "phase.failed",
        "subject": FAILED.subject,
        "actor": "engine",
        "fromState": "staging",
        "toState": "failed",
        "failure": {"reason": "DATA_REFUSED", "message": "Zeile 3 „ä“ is refused", "field": "phases.sales"},
        "revision": "abc",
    }


async def test_attributes_are_named_as_the_specification_demands_and_none_is_empty() -> None:
    for event in await told(FAILED, APPROVED, traceparent=TRACEPARENT):
        assert {"specversion", "id", "source", "type"} <= event.keys()
        assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in event.keys() - {"datacontenttype"})
        assert all(isinstance(value, str) and value for name, value in event.items() if name != "data")


async def test_the_trace_of_a_run_goes_along() -> None:
    assert (await told(FAILED, traceparent=TRACEPARENT))[0]["traceparent"] == TRACEPARENT
    assert "traceparent" not in (await told(FAILED))[0]


async def test_what_somebody_did_has_a_type_without_names_in_it() -> None:
    event = (await told(APPROVED))[0]
    assert event["type"] == "io.pymigrate.audit.approve"
    assert event["data"]["type"] == "approve sales/go"
    assert "sequence" not in event


async def test_what_was_found_beyond_a_bound_keeps_its_type() -> None:
    assert (await told(replace(APPROVED, type="kpi.crossed")))[0]["type"] == "io.pymigrate.kpi.crossed"


async def test_ids_are_the_same_for_the_same_entry_and_others_for_others() -> None:
    assert (await told(FAILED))[0]["id"] == (await told(FAILED))[0]["id"] == event_id(FAILED)
    others = [
        replace(FAILED, id=8),
        replace(FAILED, time=TIME.replace(year=2027)),
        replace(FAILED, subject="s"),
        APPROVED,
    ]
    assert len({event_id(each) for each in [FAILED, *others]}) == 5
