"""The trail of a real store, taken elsewhere: what an export holds is what the store holds, on both databases, and nothing is missed where
many write at once."""

import io
import random
from collections.abc import Sequence
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.sealing_keys import PublicKeys
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.application.audit.event_messages import entry_of
from pymigrate.engine.application.audit.exported import verify_export
from pymigrate.engine.application.audit.exporting import AuditExport, Bounds
from pymigrate.engine.application.audit.retention import AuditRetention
from pymigrate.engine.application.audit.sealing import SealMaking
from pymigrate.engine.application.audit.trail_lines import read_line
from pymigrate.engine.domain.audit_verification import FaultKind, IsSigned, Verdict
from pymigrate.engine.ports.feed import as_written
from pymigrate.engine.ports.store import Store
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import audit_pb2
from tests.integration.store.audited import KEY, Place, sealing, verified, written
from tests.integration.store.test_audit_faults import SEALS, empty_place, place
from tests.integration.store.test_postgres_feed import write_in_order_but_commit_in_reverse

__all__ = ["empty_place", "place"]
SMALL = Bounds(piece_bytes_max=6_000, entries_page=7, heads_per_line_max=1)


def read_keys(text: bytes, where: str) -> IsSigned:
    return PublicKeys.read(text, where).is_signed


async def exported(store: Store, token: str = "", bounds: Bounds | None = None) -> list[bytes]:
    """Lines."""
    export = AuditExport(store, SystemClock(), KEY.public_keys, "here", bounds)
    request = audit_pb2.ExportAuditRequest(resume_token=token)
    return b"".join([piece.lines async for piece in export.export(request)]).splitlines(keepends=True)


def holds(lines: Sequence[bytes]) -> Verdict:
    return verify_export(io.BytesIO(b"".join(lines)), read_keys, KEY.public_key)


def events(lines: Sequence[bytes]) -> list[Any]:
    return [content for kind, content in map(read_line, lines) if kind == "event"]


async def test_an_export_holds_everything_that_the_store_holds(place: Place) -> None:
    store = await place.opened()
    kept = await store.read(lambda unit: unit.seals.passed("", "", 10_000).entries)
    lines = await exported(store)
    await store.close()
    assert [as_written(entry_of(event)) for event in events(lines)] == list(kept)
    assert holds(lines) == await verified(place)
    assert (holds(lines).seal_count, holds(lines).fault) == (SEALS, None)


async def test_an_export_in_small_pieces_is_the_same(place: Place) -> None:
    store = await place.opened()
    whole, small = await exported(store), await exported(store, bounds=SMALL)
    await store.close()
    assert events(small) == events(whole)
    assert holds(small) == holds(whole)
    assert sum(read_line(line)[0] == "position" for line in small) > SEALS


async def test_what_somebody_did_to_the_store_shows_in_its_export(place: Place) -> None:
    place.run("UPDATE feed_entry SET actor = ? WHERE id = 9", "eve")
    store = await place.opened()
    found = holds(await exported(store)).fault
    await store.close()
    assert found is not None
    assert (found.kind, found.sequence) == (FaultKind.ALTERED, 9)


async def test_what_retention_leaves_is_exported_with_what_proves_it(place: Place) -> None:
    store = await place.opened()
    first = await exported(store)
    clock = ManualClock()
    clock.advance(400 * 86_400)
    await AuditRetention(store, clock, SealMaking(KEY, clock), 1).step()
    anew, more = await exported(store), await exported(store, read_line(first[-1])[1]["resumeToken"])
    await store.close()
    assert len(events(anew)) < len(events(first))
    assert any(read_line(line)[0] == "base" for line in anew)
    assert holds(anew).fault is None
    assert holds([*first, *more]).fault is None


async def test_an_entry_that_commits_late_is_in_the_export_that_goes_on(postgres_database: str) -> None:
    store = await PostgresStore.open(postgres_database, SystemClock(), random.Random(3))
    lines: list[bytes] = []
    for _ in write_in_order_but_commit_in_reverse(postgres_database, ["a", "b", "c"]):
        lines.extend(await exported(store, read_line(lines[-1])[1]["resumeToken"] if lines else ""))
    lines.extend(await exported(store, read_line(lines[-1])[1]["resumeToken"]))
    await store.close()
    assert [event["subject"] for event in events(lines)] == ["a", "b", "c"]


async def test_seals_stay_behind_what_they_are_over_while_several_write(empty_place: Place) -> None:
    store = await empty_place.opened()
    await written(store, 2)
    lines: list[bytes] = await exported(store)
    for _ in range(3):
        await sealing(store).step()
        lines.extend(await exported(store, read_line(lines[-1])[1]["resumeToken"]))
    await store.close()
    assert holds(lines).fault is None
