"""The trail as lines that a file holds: each a JSON object of one kind, plain or as a CloudEvent 1.0, written and read.

| kind | what it says |
| --- | --- |
| header | the first: which engine, when, of what part of the trail, and the public key that its seals are signed with |
| base | the last link of a chain that retention has taken away: what is there goes on from it |
| event | an event, as the contract's AuditEvent |
| heads | heads of chains that the next seal is made over |
| seal | a seal, as the contract's AuditSeal |
| position | how far it goes up to here, and the token to go on with; the last one of an export says that it is the end |
| problem | why an export over REST broke off |
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from pymigrate.engine.application.audit.event_messages import event_data
from pymigrate.engine.application.cloud_events import TYPE_PREFIX, event_id, event_type
from pymigrate.engine.ports.feed import FeedEntry

HEADER, BASE, EVENT, HEADS, SEAL, POSITION, PROBLEM = (
    *("header", "base", "event", "heads", "seal", "position"),
    "problem",
)
KINDS: Final = frozenset({HEADER, BASE, EVENT, HEADS, SEAL, POSITION, PROBLEM})
FORMAT_NAME, FORMAT_VERSION = "pymigrate-audit-trail", 1
TRAIL_PREFIX = f"{TYPE_PREFIX}trail."
ID_DIGITS = 32
# A line of another's making must not fill the memory of whoever verifies it.
LINE_BYTES_MAX = 4 * 1024 * 1024
LINE_END = b"\n"


class LineForm(Protocol):
    """How lines are written."""

    def event(self, entry: FeedEntry) -> bytes:
        """The line of an event."""
        ...

    def other(self, kind: str, content: Mapping[str, Any]) -> bytes:
        """The line of anything else."""
        ...


class JsonLines:
    """Each line is `{"<kind>": {...}}`."""

    def event(self, entry: FeedEntry) -> bytes:
        """The line of an event."""
        return orjson.dumps({EVENT: event_data(entry)}) + LINE_END

    def other(self, kind: str, content: Mapping[str, Any]) -> bytes:
        """The line of anything else."""
        return orjson.dumps({kind: content}) + LINE_END


class CloudEventLines:
    """Each line is a CloudEvent. An event has the type and the id that it is posted with to receivers outside, from a source of its own,
    since its data says more; anything else is of a type `io.pymigrate.trail.<kind>`. `instance` is what this engine is called outside."""

    def __init__(self, instance: str) -> None:
        self._source = f"/{instance}/audit"

    def event(self, entry: FeedEntry) -> bytes:
        """The line of an event."""
        data = event_data(entry)
        named = {"id": event_id(entry), "type": f"{TYPE_PREFIX}{event_type(entry)}", "time": data["time"]}
        subject = {"subject": entry.subject} if entry.subject else {}
        return self._line(named | subject, data)

    def other(self, kind: str, content: Mapping[str, Any]) -> bytes:
        """The line of anything else."""
        digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
        named = {"id": digest[:ID_DIGITS], "type": f"{TRAIL_PREFIX}{kind}"}
        time = {"time": content["time"]} if "time" in content else {}
        return self._line(named | time, content)

    def _line(self, named: Mapping[str, str], data: Mapping[str, Any]) -> bytes:
        event = {"specversion": "1.0", "source": self._source, **named}
        return orjson.dumps(event | {"datacontenttype": "application/json", "data": data}) + LINE_END


def read_line(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """The kind and the content of a line, in either form. Raises ValueError for what is none."""
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"has more than {LINE_BYTES_MAX:,} bytes")
    found = orjson.loads(line)
    if not isinstance(found, dict):
        raise ValueError("is no object")
    kind, content = _cloud_event(found) if "specversion" in found else _plain(found)
    if not isinstance(content, dict):
        raise ValueError("says nothing")
    return kind, content


def _plain(found: dict[str, Any]) -> tuple[str, Any]:
    if len(found) != 1 or not found.keys() <= KINDS:
        raise ValueError(f"is none of {', '.join(sorted(KINDS))}")
    return next(iter(found.items()))


def _cloud_event(found: dict[str, Any]) -> tuple[str, Any]:
    type_ = found.get("type")
    if not isinstance(type_, str) or not type_.startswith(TYPE_PREFIX):
        raise ValueError("is no CloudEvent of a trail")
    kind = type_.removeprefix(TRAIL_PREFIX) if type_.startswith(TRAIL_PREFIX) else EVENT
    if kind not in KINDS:
        raise ValueError(f"is none of {', '.join(sorted(KINDS))}")
    return kind, found.get("data")
