"""Entries of the stream as the audit trail shows them, and back: what is exported is read again to be verified."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymigrate.engine.application.projections import failure_message, timestamp
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.v1 import audit_pb2

MILLISECOND_MICROSECONDS = 1_000


def event_message(entry: FeedEntry) -> audit_pb2.AuditEvent:
    """An entry as the contract shows it."""
    return audit_pb2.AuditEvent(
        sequence=entry.id,
        time=timestamp(entry.time),
        principal=entry.actor,
        origin=entry.origin,
        action=entry.type,
        subject=entry.subject,
        method=entry.method,
        run=entry.run,
        version=entry.version,
        revision=entry.revision,
        from_state=entry.from_state,
        to_state=entry.to_state,
        before_digest=entry.before_digest,
        after_digest=entry.after_digest,
        detail=entry.detail,
        outcome=entry.outcome,
        request_id=entry.request_id,
        trace_id=entry.trace_id,
        chain=entry.chain,
        place=entry.place,
        hash=entry.hash,
        failure=failure_message(entry.failure),
    )


def event_data(entry: FeedEntry) -> dict[str, Any]:
    """The same as plain data in the one shape, as `to_json_data` would give it, in a twentieth of the time: a trail has millions."""
    failure = None if entry.failure is None else _failure_data(entry.failure)
    known = (
        ("sequence", entry.id),
        ("time", moment_text(entry.time)),
        ("principal", entry.actor),
        ("origin", entry.origin),
        ("action", entry.type),
        ("subject", entry.subject),
        ("method", entry.method),
        ("run", entry.run),
        ("version", entry.version),
        ("revision", entry.revision),
        ("fromState", entry.from_state),
        ("toState", entry.to_state),
        ("beforeDigest", entry.before_digest),
        ("afterDigest", entry.after_digest),
        ("detail", entry.detail),
        ("outcome", entry.outcome),
        ("requestId", entry.request_id),
        ("traceId", entry.trace_id),
        ("chain", entry.chain),
        ("place", entry.place),
        ("hash", b64encode(entry.hash).decode()),
        ("failure", failure),
    )
    return {name: value for name, value in known if value or value == {}}


def entry_of(data: Mapping[str, Any]) -> FeedEntry:
    """The entry that `event_data` told. Raises ValueError for what it never told."""
    try:
        run, place = read_text(data, "run"), read_number(data, "place")
        failure = data.get("failure")
        return FeedEntry(
            id=read_number(data, "sequence"),
            position="",
            time=read_moment(data, "time"),
            type=read_text(data, "action"),
            subject=read_text(data, "subject"),
            actor=read_text(data, "principal"),
            run=run,
            sequence=place if run else 0,
            from_state=read_text(data, "fromState"),
            to_state=read_text(data, "toState"),
            failure=None if failure is None else _failure(failure),
            version=read_number(data, "version"),
            revision=read_text(data, "revision"),
            detail=read_text(data, "detail"),
            origin=read_text(data, "origin"),
            method=read_text(data, "method"),
            request_id=read_text(data, "requestId"),
            trace_id=read_text(data, "traceId"),
            before_digest=read_text(data, "beforeDigest"),
            after_digest=read_text(data, "afterDigest"),
            outcome=read_text(data, "outcome"),
            chain=read_text(data, "chain"),
            place=place,
            hash=b64decode(read_text(data, "hash"), validate=True),
        )
    except (AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"is no event: {error}") from error


def moment_text(moment: datetime) -> str:
    """A moment as protobuf's JSON writes it: no, three or six digits behind the second."""
    plain = moment.astimezone(UTC).replace(tzinfo=None)
    if plain.microsecond % MILLISECOND_MICROSECONDS:
        return f"{plain.isoformat(timespec='microseconds')}Z"
    return f"{plain.isoformat(timespec='milliseconds' if plain.microsecond else 'seconds')}Z"


def read_moment(data: Mapping[str, Any], name: str) -> datetime:
    """A moment of a line. Raises ValueError for what is none."""
    found = datetime.fromisoformat(read_text(data, name))
    if found.tzinfo is None:
        raise ValueError(f"{name} is no time")
    return found


def read_text(data: Mapping[str, Any], name: str) -> str:
    """A text of a line; empty where it is left out. Raises ValueError for what is none."""
    found = data.get(name, "")
    if not isinstance(found, str):
        raise ValueError(f"{name} is no text")
    return found


def read_number(data: Mapping[str, Any], name: str) -> int:
    """A whole number of a line; 0 where it is left out. Raises ValueError for what is none."""
    found = data.get(name, 0)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValueError(f"{name} is no whole number")
    return found


def _failure_data(failure: Failure) -> dict[str, Any]:
    known = {
        "reason": failure.reason,
        "message": failure.message,
        "field": failure.field,
        "isTemporary": failure.is_temporary,
    }
    return {name: value for name, value in known.items() if value}


def _failure(data: Mapping[str, Any]) -> Failure:
    is_temporary = data.get("isTemporary", False)
    if not isinstance(is_temporary, bool):
        raise ValueError("isTemporary is neither true nor false")
    return Failure(read_text(data, "reason"), read_text(data, "message"), read_text(data, "field"), is_temporary)
