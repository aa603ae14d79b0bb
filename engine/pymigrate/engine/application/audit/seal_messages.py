"""Seals and heads of chains as the contract and an export show them, and back."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from pymigrate.engine.application.audit.asked_times import moment_of
from pymigrate.engine.application.audit.event_messages import read_moment, read_number, read_text
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.v1 import audit_pb2
from pymigrate.v1.shape import to_json_data


def seal_message(seal: Seal) -> audit_pb2.AuditSeal:
    """A seal as the contract shows it."""
    return audit_pb2.AuditSeal(
        number=seal.number,
        time=timestamp(seal.time),
        head_count=seal.head_count,
        root=seal.root,
        previous=seal.previous,
        signature=seal.signature,
        key_id=seal.key_id,
    )


def seal_from(message: audit_pb2.AuditSeal) -> Seal:
    """The seal that a caller shows. Raises InvalidDefinition for one without a number or a time."""
    problems: list[Problem] = []
    time = moment_of(message, "time", problems)
    if message.number < 1:
        problems.append(Problem("number", "must be the seal's, from 1"))
    if time is None or problems:
        told = problems or [Problem("time", "is required: show the seal as ListAuditSeals told it")]
        raise InvalidDefinition(tuple(Problem(f"known_seal.{each.field}", each.description) for each in told))
    return Seal(
        message.number, time, message.head_count, message.root, message.previous, message.signature, message.key_id
    )


def seal_data(seal: Seal) -> dict[str, Any]:
    """A seal as an export shows it."""
    return to_json_data(seal_message(seal))


def seal_of(data: Mapping[str, Any]) -> Seal:
    """The seal that `seal_data` told. Raises ValueError for what it never told."""
    return Seal(
        number=read_number(data, "number"),
        time=read_moment(data, "time"),
        head_count=read_number(data, "headCount"),
        root=read_bytes(data, "root"),
        previous=read_bytes(data, "previous"),
        signature=read_bytes(data, "signature"),
        key_id=read_bytes(data, "keyId"),
    )


def head_data(head: Head) -> dict[str, Any]:
    """A head as an export shows it."""
    known = {"chain": head.chain, "place": head.place, "hash": b64encode(head.hash).decode()}
    return known | {"isBase": True} if head.is_base else known


def head_of(data: Any) -> Head:
    """The head that `head_data` told. Raises ValueError for what it never told."""
    if not isinstance(data, Mapping):
        raise ValueError("is no head of a chain")
    is_base = data.get("isBase", False)
    if not isinstance(is_base, bool):
        raise ValueError("isBase is neither true nor false")
    return Head(read_text(data, "chain"), read_number(data, "place"), read_bytes(data, "hash"), is_base)


def read_bytes(data: Mapping[str, Any], name: str) -> bytes:
    """Bytes of a line, written in Base64. Raises ValueError for what are none."""
    return b64decode(read_text(data, name), validate=True)
