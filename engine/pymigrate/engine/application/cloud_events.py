"""Entries of the stream as CloudEvents 1.0, structured as JSON: what a receiver outside is told of everything that happens."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pymigrate.engine.application.findings import FINDING_TYPES
from pymigrate.engine.application.projections import failure_message
from pymigrate.engine.domain.run import Run
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.posts import Message
from pymigrate.engine.ports.store import Unit
from pymigrate.v1.shape import to_json_data

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "io.pymigrate."
ID_DIGITS = 32
SEQUENCE_DIGITS = 10


class CloudEvents:
    """Makes the messages. `instance` is what this engine is called outside."""

    def __init__(self, instance: str) -> None:
        self._source = f"/{instance}"

    def messages(self, unit: Unit, entries: Sequence[FeedEntry]) -> list[list[Message]]:
        """One message for each entry."""
        runs = {name: unit.runs.get(name) for name in {entry.run for entry in entries if entry.run}}
        return [[self._message(entry, runs.get(entry.run))] for entry in entries]

    def _message(self, entry: FeedEntry, run: Run | None) -> Message:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": event_id(entry),
            "source": self._source,
            "type": f"{TYPE_PREFIX}{event_type(entry)}",
            "subject": entry.subject,
            "time": entry.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": _data(entry),
        }
        if entry.run:
            event |= {"partitionkey": entry.run, "sequence": f"{entry.sequence:0{SEQUENCE_DIGITS}d}"}
        if run is not None and run.traceparent:
            event["traceparent"] = run.traceparent
        return Message(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(), CONTENT_TYPE)


def event_id(entry: FeedEntry) -> str:
    """The same for the same entry, however often it is told, and another for any other, of other engines too."""
    parts = (entry.id, entry.time.isoformat(), entry.type, entry.subject, entry.run, entry.sequence)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:ID_DIGITS]


def event_type(entry: FeedEntry) -> str:
    """`run.succeeded`, `kpi.crossed`; what somebody did has its action's first word, for what follows may be names: `audit.approve`."""
    if entry.run or entry.type in FINDING_TYPES:
        return entry.type
    return f"audit.{entry.type.partition(' ')[0]}"


def _data(entry: FeedEntry) -> dict[str, Any]:
    """What is known of it, in the contract's words; what is empty is left out."""
    failure = failure_message(entry.failure)
    known: Iterable[tuple[str, Any]] = (
        ("run", entry.run),
        ("sequence", entry.sequence),
        ("type", entry.type),
        ("subject", entry.subject),
        ("actor", entry.actor),
        ("fromState", entry.from_state),
        ("toState", entry.to_state),
        ("failure", to_json_data(failure) if failure is not None else None),
        ("version", entry.version),
        ("revision", entry.revision),
        ("detail", entry.detail),
    )
    return {name: value for name, value in known if value}
