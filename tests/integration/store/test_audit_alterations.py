"""Whatever one thing somebody changes in a trail is found: any column of any entry, any entry that is gone or moved, any seal or head.

Changes are drawn at random over a copy of a real store's file. What is not found must be the end of a chain that no seal covers yet, and is
told as unsealed.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from pymigrate.engine.adapters.store.unit import SqlUnit
from pymigrate.engine.application.audit.trail import Place, read_piece
from pymigrate.engine.domain.audit_verification import FaultKind, Verdict, Verification
from tests.integration.store.audited import KEY, SqliteFile, connected, written

SEALS, UNSEALED_ROUNDS = 3, 1
ENTRIES = 8 * (SEALS + UNSEALED_ROUNDS)
SEALED = 8 * SEALS
EXAMPLES = 150
TEXTS = (
    *(
        "actor",
        "type",
        "subject",
        "from_state",
        "to_state",
        "revision",
        "detail",
        "origin",
        "method",
        "request_id",
        "trace_id",
    ),
    *("before_digest", "after_digest", "outcome", "failure", "chain", "run"),
)
NUMBERS = ("time", "version", "place", "sequence")


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's file: a trail of three chains, three quarters of which are sealed."""
    place = SqliteFile(tmp_path_factory.mktemp("trail") / "store")

    async def write() -> None:
        store = await place.opened()
        await written(store, SEALS, UNSEALED_ROUNDS)
        await store.close()

    asyncio.run(write())
    return place.path


@contextmanager
def altered(trail: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the file in which anything may be done; in memory, and gone at the end."""
    with connected(trail) as kept:
        copy = sqlite3.connect(":memory:", isolation_level=None)
        kept.backup(copy)
    copy.execute("DROP INDEX ix_feed_entry_chain_place")
    try:
        yield copy
    finally:
        copy.close()


def verdict_of(copy: sqlite3.Connection, page: int = 7) -> Verdict:
    """What is found, read in pieces that seldom end where a seal does."""
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=NullPool)
    with engine.connect() as connection:
        unit = SqlUnit(connection)
        verification = Verification(unit.seals.bases(), KEY.is_signed)
        place, is_end = Place(), False
        while not is_end:
            stretches, is_end = read_piece(unit, place, page)
            for stretch in stretches:
                place = stretch.place
                verification.entries(stretch.entries)
                if stretch.seal is not None:
                    verification.seal(stretch.seal, stretch.heads)
    return verification.finish()


def link_of(copy: sqlite3.Connection, number: int) -> tuple[str, int, int]:
    """The chain of an entry, its place in it, and the chain's length."""
    chain, place = copy.execute(
        "SELECT coalesce(chain, run), coalesce(place, sequence) FROM feed_entry WHERE id = ?", (number,)
    ).fetchone()
    (length,) = copy.execute("SELECT count(*) FROM feed_entry WHERE coalesce(chain, run) = ?", (chain,)).fetchone()
    return chain, place, length


numbers = st.integers(1, ENTRIES)


@given(number=numbers, column=st.sampled_from(TEXTS), text=st.sampled_from(["x", "é", "writers/0", "\0", "OK "]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_text_that_is_altered_is_found(trail: Path, number: int, column: str, text: str) -> None:
    with altered(trail) as copy:
        chain, place, _ = link_of(copy, number)
        (before,) = copy.execute(f"SELECT {column} FROM feed_entry WHERE id = ?", (number,)).fetchone()
        if before == text or (column == "chain" and text == chain):
            return
        copy.execute(f"UPDATE feed_entry SET {column} = ? WHERE id = ?", (text, number))
        fault = verdict_of(copy).fault
        assert fault is not None
        if column not in {"chain", "run"}:
            assert (fault.kind, fault.sequence, fault.chain, fault.place) == (FaultKind.ALTERED, number, chain, place)


@given(number=numbers, column=st.sampled_from(NUMBERS), by=st.integers(-3, 3).filter(bool))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_number_that_is_altered_is_found(trail: Path, number: int, column: str, by: int) -> None:
    with altered(trail) as copy:
        with contextlib.suppress(
            sqlite3.IntegrityError
        ):  # two steps of a run with one sequence are refused by the table itself
            copy.execute(f"UPDATE feed_entry SET {column} = coalesce({column}, 5) + ? WHERE id = ?", (by, number))
        same = "SELECT 1 FROM feed_entry WHERE id = ? AND place = sequence"
        if not copy.total_changes or copy.execute(same, (number,)).fetchone():
            return  # a step whose place was written down: it is that place
        assert verdict_of(copy).fault is not None


@given(number=numbers, at=st.integers(0, 31), to=st.integers(0, 255))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_byte_of_a_hash_that_is_altered_is_found(trail: Path, number: int, at: int, to: int) -> None:
    with altered(trail) as copy:
        (digest,) = copy.execute("SELECT hash FROM feed_entry WHERE id = ?", (number,)).fetchone()
        forged = digest[:at] + bytes([to]) + digest[at + 1 :]
        copy.execute("UPDATE feed_entry SET hash = ? WHERE id = ?", (forged, number))
        fault = verdict_of(copy).fault
        assert (fault is None) == (forged == digest)


@given(gone=st.sets(numbers, min_size=1, max_size=6))
@settings(max_examples=EXAMPLES, deadline=None)
def test_entries_that_are_gone_are_missed_or_are_the_unsealed_end_of_their_chains(trail: Path, gone: set[int]) -> None:
    with altered(trail) as copy:
        links = [link_of(copy, number) for number in gone]
        sealed = {chain: length * SEALS // (SEALS + UNSEALED_ROUNDS) for chain, _, length in links}
        ends = {
            chain: {place for other, place, _ in links if other == chain}
            == set(range(length - sum(other == chain for other, _, _ in links) + 1, length + 1))
            for chain, _, length in links
        }
        is_unsealed_end = all(ends[chain] and place > sealed[chain] for chain, place, _ in links)
        copy.execute(f"DELETE FROM feed_entry WHERE id IN ({', '.join(map(str, gone))})")
        verdict = verdict_of(copy)
        if is_unsealed_end:
            assert (verdict.fault, verdict.unsealed_count) == (None, ENTRIES - SEALED - len(gone))
        else:
            assert verdict.fault is not None
            assert verdict.fault.kind in {FaultKind.REMOVED, FaultKind.TRUNCATED}


@given(cut=numbers)
@settings(max_examples=ENTRIES, deadline=None)
def test_a_trail_that_is_cut_off_anywhere_is_found_up_to_the_last_seal(trail: Path, cut: int) -> None:
    with altered(trail) as copy:
        copy.execute("DELETE FROM feed_entry WHERE id >= ?", (cut,))
        verdict = verdict_of(copy)
        if cut > SEALED:
            assert (verdict.fault, verdict.unsealed_count) == (None, cut - 1 - SEALED)
        else:
            assert verdict.fault is not None
            assert verdict.fault.kind is FaultKind.TRUNCATED


@given(one=numbers, other=numbers)
@settings(max_examples=EXAMPLES, deadline=None)
def test_two_entries_of_a_chain_that_changed_places_are_found(trail: Path, one: int, other: int) -> None:
    with altered(trail) as copy:
        if one == other or link_of(copy, one)[0] != link_of(copy, other)[0]:
            return
        for old, new in ((one, -1), (other, one), (-1, other)):
            copy.execute("UPDATE feed_entry SET id = ? WHERE id = ?", (new, old))
        fault = verdict_of(copy).fault
        assert fault is not None
        assert fault.kind is FaultKind.REORDERED


@given(
    number=st.integers(1, SEALS),
    column=st.sampled_from(["number", "time", "head_count", "root", "previous", "signature", "key_id"]),
)
def test_any_seal_that_is_altered_is_found(trail: Path, number: int, column: str) -> None:
    with altered(trail) as copy:
        copy.execute("PRAGMA foreign_keys = 0")
        value = f"{column} + 7" if column in {"number", "time", "head_count"} else "x'00'"
        copy.execute(f"UPDATE audit_seal SET {column} = {value} WHERE number = ?", (number,))
        fault = verdict_of(copy).fault
        assert fault is not None
        assert fault.kind is FaultKind.SEAL_BROKEN


@given(
    row=st.integers(1, 3 * SEALS),
    change=st.sampled_from(
        ["SET place = place + 1", "SET hash = x'00'", "SET chain = 'x'", "SET is_base = 1", "SET seal = 9", None]
    ),
)
def test_any_head_of_a_seal_that_is_altered_or_gone_is_found(trail: Path, row: int, change: str | None) -> None:
    with altered(trail) as copy:
        what = f"UPDATE audit_seal_head {change}" if change else "DELETE FROM audit_seal_head"
        copy.execute(f"{what} WHERE rowid = ?", (row,))
        fault = verdict_of(copy).fault
        assert fault is not None
        assert fault.kind is FaultKind.SEAL_BROKEN


@given(chain=st.sampled_from(["writers/0", "other", ""]), place=st.integers(0, 8))
def test_a_base_that_somebody_makes_up_is_found(trail: Path, chain: str, place: int) -> None:
    with altered(trail) as copy:
        digest = bytes(32)
        if chain == "writers/0" and place:
            statement = "SELECT hash FROM feed_entry WHERE chain = ? AND place = ?"
            (digest,) = copy.execute(statement, (chain, place)).fetchone()
            copy.execute("DELETE FROM feed_entry WHERE chain = ? AND place <= ?", (chain, place))
        copy.execute("INSERT INTO audit_base (chain, place, hash) VALUES (?, ?, ?)", (chain, place, digest))
        assert verdict_of(copy).fault is not None


def test_a_trail_that_nobody_touched_holds_in_pieces_of_any_size(trail: Path) -> None:
    for page in (1, 2, 3, 8, 100):
        with altered(trail) as copy:
            verdict = verdict_of(copy, page)
            assert (verdict.fault, verdict.event_count, verdict.unsealed_count) == (None, ENTRIES, ENTRIES - SEALED)
