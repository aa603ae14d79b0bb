"""An export that is verified without an engine: whole, by its own key or by one that was kept, and whatever somebody did to the file."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from pymigrate.engine.adapters.sealing_keys import PublicKeys
from pymigrate.engine.application.audit.exported import verify_export
from pymigrate.engine.application.audit.exporting import AuditExport, Bounds
from pymigrate.engine.application.audit.trail_lines import LINE_BYTES_MAX, read_line
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.domain.audit_verification import Fault, FaultKind, IsSigned, Verdict
from pymigrate.engine.domain.errors import InvalidDefinition, PermanentError
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import audit_pb2
from tests.unit.application.audit.trails import Trail, make

JSON_LINES, CLOUD_EVENTS = audit_pb2.AUDIT_FORMAT_JSON_LINES, audit_pb2.AUDIT_FORMAT_CLOUD_EVENTS


async def exported(
    trail: Trail, request: audit_pb2.ExportAuditRequest | None = None, bounds: Bounds | None = None
) -> list[bytes]:
    """The lines of an export."""
    export = AuditExport(trail, ManualClock(), trail.public_key, "here", bounds)  # type: ignore[arg-type]  # of the store it gives what is asked for
    pieces = [piece.lines async for piece in export.export(request or audit_pb2.ExportAuditRequest())]
    return b"".join(pieces).splitlines(keepends=True)


def verified(lines: list[bytes], key: str = "", known: Seal | None = None) -> Verdict:
    return verify_export(io.BytesIO(b"".join(lines)), read_keys, key, known)


def read_keys(text: bytes, where: str) -> IsSigned:
    return PublicKeys.read(text, where).is_signed


def fault(lines: list[bytes], key: str = "", known: Seal | None = None) -> Fault:
    found = verified(lines, key, known).fault
    assert found is not None
    return found


def of_kind(lines: list[bytes], kind: str) -> list[int]:
    return [at for at, line in enumerate(lines) if read_line(line)[0] == kind]


def changed(line: bytes, kind: str, **change: Any) -> bytes:
    return json.dumps({kind: {**read_line(line)[1], **change}}).encode() + b"\n"


@pytest.fixture
async def lines() -> list[bytes]:
    """An export of a trail that nobody touched."""
    return await exported(make())


@pytest.mark.parametrize("form", [JSON_LINES, CLOUD_EVENTS])
async def test_an_export_that_nobody_touched_holds_by_its_own_key_and_by_the_one_that_was_kept(form: Any) -> None:
    trail = make()
    found = await exported(trail, audit_pb2.ExportAuditRequest(format=form), Bounds(1, 2, 1))
    for key in ("", trail.public_key):
        assert verified(found, key, trail.seals[0][0]) == Verdict(18, 4, 2, None, 2)


async def test_what_is_altered_in_a_file_is_named(lines: list[bytes]) -> None:
    at = of_kind(lines, "event")[2]
    lines[at] = changed(lines[at], "event", principal="service/eve")
    found = fault(lines)
    assert (found.kind, found.sequence, found.chain, found.place) == (FaultKind.ALTERED, 3, "w1", 2)


async def test_what_is_taken_out_of_a_file_is_named(lines: list[bytes]) -> None:
    del lines[of_kind(lines, "event")[2]]
    assert (fault(lines).kind, fault(lines).place) == (FaultKind.REMOVED, 2)


async def test_what_changes_places_in_a_file_is_named(lines: list[bytes]) -> None:
    first, _, second = of_kind(lines, "event")[2:5]
    lines[first], lines[second] = lines[second], lines[first]
    assert (fault(lines).kind, fault(lines).place) == (FaultKind.REORDERED, 2)


async def test_heads_and_seals_that_are_altered_or_taken_out_are_named(lines: list[bytes]) -> None:
    for kind in ("heads", "seal"):
        at = of_kind(lines, kind)[0]
        found = fault([*lines[:at], *lines[at + 1 :]])
        assert found.kind is FaultKind.SEAL_BROKEN, kind


async def test_a_file_that_is_signed_with_another_key_shows_against_the_one_that_was_kept(lines: list[bytes]) -> None:
    forger = make()
    forged = await exported(forger)
    assert verified(forged).fault is None
    found = fault(forged, make().public_key)
    assert (found.kind, found.seal) == (FaultKind.SEAL_BROKEN, 1)


@pytest.mark.parametrize("cut", [-1, -2, -8])
async def test_a_file_that_ends_before_its_export_did_is_named(lines: list[bytes], cut: int) -> None:
    assert fault(lines[:cut]).kind is FaultKind.TRUNCATED


async def test_a_file_that_was_gone_on_with_holds(lines: list[bytes]) -> None:
    trail = make()
    first = await exported(trail)
    token = read_line(first[-1])[1]["resumeToken"]
    trail.fill(3)
    trail.seal()
    more = await exported(trail, audit_pb2.ExportAuditRequest(resume_token=token))
    assert verified([*first, *more]).fault is None
    assert verified([*first, *more]).event_count == 21
    found = fault([*first, *more, *more])  # written twice
    assert found.kind is FaultKind.REORDERED


async def test_a_position_that_counts_otherwise_is_named(lines: list[bytes]) -> None:
    lines[-1] = changed(lines[-1], "position", eventCount=7)
    assert "up to here there were 7 events" in fault(lines).description


async def test_an_export_that_broke_off_says_why(lines: list[bytes]) -> None:
    lines[-1] = b'{"problem":{"detail":"the engine is stopping"}}\n'
    found = fault(lines)
    assert (found.kind, "the engine is stopping" in found.description) == (FaultKind.TRUNCATED, True)


SPOILS: list[Callable[[bytes], bytes]] = [
    lambda line: b"{\n",
    lambda line: b"null\n",
    lambda line: b"[]\n",
    lambda line: b"{}\n",
    lambda line: b'{"event":7}\n',
    lambda line: b'{"other":{}}\n',
    lambda line: b'{"header":{}}\n',
    lambda line: b'{"specversion":"1.0","type":"com.example.other","data":{}}\n',
    lambda line: b'{"heads":{"heads":7}}\n',
    lambda line: b'{"heads":{"heads":[7]}}\n',
    lambda line: b'{"seal":{"number":"x"}}\n',
    lambda line: b"\xff\xfe\n",
    lambda line: b'{"event":{"detail":"' + b"x" * (LINE_BYTES_MAX + 10) + b'"}}\n',
    lambda line: b"[" * 100_000 + b"\n",
    lambda line: changed(line, "event", time="never"),
    lambda line: changed(line, "event", place=2**70),
]


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_line_that_no_export_has_is_a_fault_and_no_crash(
    lines: list[bytes], spoil: Callable[[bytes], bytes]
) -> None:
    at = of_kind(lines, "event")[2]
    lines[at] = spoil(lines[at])
    assert verified(lines).fault is not None


async def test_empty_lines_say_nothing(lines: list[bytes]) -> None:
    assert verified([line for each in lines for line in (each, b"\n")]).fault is None


@pytest.mark.parametrize("text", [b"", b"hello\n", b'{"event":{}}\n', b'{"header":{"format":"x"}}\n'])
def test_a_file_of_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidDefinition, match="no export of the audit trail"):
        verified([text])


async def test_a_later_version_and_a_part_of_the_trail_are_refused() -> None:
    trail = make()
    part = await exported(trail, audit_pb2.ExportAuditRequest(environment="environments/prod"))
    with pytest.raises(InvalidDefinition, match="holds a part of the trail"):
        verified(part)
    whole = await exported(trail)
    with pytest.raises(InvalidDefinition, match="a later version"):
        verified([changed(whole[0], "header", formatVersion=2), *whole[1:]])


@pytest.mark.parametrize("key", ["x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
async def test_a_key_that_is_none_is_refused(lines: list[bytes], key: str) -> None:
    with pytest.raises(PermanentError, match="public key"):
        verified(lines, key)


async def test_an_export_that_was_gone_on_with_over_retention_holds() -> None:
    trail = make()
    first = await exported(trail)
    token = read_line(first[-1])[1]["resumeToken"]
    gone, trail.entries = trail.entries[:8], trail.entries[8:]
    ends = {entry.chain: entry for entry in gone}
    trail.bases = [Head(chain, entry.place, entry.hash, is_base=True) for chain, entry in sorted(ends.items())]
    trail.seal()
    more = await exported(trail, audit_pb2.ExportAuditRequest(resume_token=token))
    assert verified([*first, *more]).fault is None
    anew = await exported(trail)
    assert verified(anew).fault is None
    assert verified(anew).event_count == 10
    made_up = of_kind(anew, "base")[0]
    anew[made_up] = changed(anew[made_up], "base", place=2)
    assert verified(anew).fault is not None
