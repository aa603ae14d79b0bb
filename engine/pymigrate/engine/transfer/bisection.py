"""Which rows differ between a source and its staging: both are read a few times more, and narrowed down by digests of buckets.

Rows fall into buckets by the hash of their key, so that two versions of one row meet, or by their own hash where there is no key: then
both sides are multisets. Each reading narrows down by 65,536: only rows of buckets whose digests differ are looked at again, by
further bits, until few enough are left to hold their hashes. Held are bucket digests (4 MB), then hashes (of at most
HELD_ROWS_MAX rows), then the rows that differ (at most ROWS_MAX, of BYTES_MAX); never a whole side.

The first reading of the source also proves that it still is what was copied; later ones take from it only rows that have the hash of one
that was copied, so that nothing else ever comes out of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.transfer.checksum import RowHasher

BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS
NARROWINGS_MAX = 3
HELD_ROWS_MAX = 2_000_000
ROWS_MAX = 10_000
BYTES_MAX = 64_000_000
UNCOUNTED = -1
Batches = Sequence[pa.RecordBatch]
Read = Callable[[], Iterator[Batches]]


@dataclass(frozen=True, slots=True)
class Found:
    """What differs. `missing`: rows of the source that staging lacks; `surplus`: rows of staging that the source does not have, or not
    so often. `is_whole`: all of them are held, not the first ones only; `rows` counts the more of both sides, UNCOUNTED where there were
    too many to hold even their hashes."""

    missing: tuple[pa.RecordBatch, ...] = ()
    surplus: tuple[pa.RecordBatch, ...] = ()
    rows: int = 0
    is_whole: bool = True

    @property
    def is_counted(self) -> bool:
        """Whether it is known how many differ."""
        return self.rows != UNCOUNTED


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides, each to be read several times, and the columns that are the key (their places; none: there is no key)."""

    source: Read
    staging: Read
    columns: tuple[ColumnInfo, ...]
    key: tuple[int, ...]


def bisect(sides: Sides, hasher: RowHasher, is_unchanged: Callable[[int, int], bool]) -> Found | None:
    """The rows that differ; None where `is_unchanged` (of the source's rows and the sum of their hashes) says no."""
    trail = _Trail()
    for number in range(NARROWINGS_MAX):
        there, here = _Buckets(trail, number), _Buckets(trail, number)
        rows, total = there.read(sides.source(), hasher, sides.key)
        if not number and not is_unchanged(rows, total):
            return None
        here.read(sides.staging(), hasher, sides.key)
        differing = there.differs(here)
        trail = trail.with_level(differing)
        if there.rows_in(differing) + here.rows_in(differing) <= HELD_ROWS_MAX:
            break
    else:
        return Found(rows=UNCOUNTED, is_whole=False)
    source = _Held(trail, sides.source(), hasher, sides.key)
    staging = _Held(trail, sides.staging(), hasher, sides.key)
    return _fetched(sides, hasher, source, staging)


class _Trail:
    """The buckets that differ, level by level: level n goes by the n-th BUCKET_BITS of a hash."""

    def __init__(self, levels: tuple[Any, ...] = ()) -> None:
        self._levels = levels

    def with_level(self, differing: Any) -> "_Trail":
        """With one more."""
        return _Trail((*self._levels, differing))

    def is_on(self, places: Any) -> Any:
        """Of which of the hashes every bucket differs."""
        mask = np.ones(len(places), bool)
        for number, differing in enumerate(self._levels):
            mask &= differing[bucket(places, number)]
        return mask


def bucket(places: Any, level: int) -> Any:
    """The bucket of each hash at a level."""
    return ((places >> np.uint64(level * BUCKET_BITS)) & np.uint64(BUCKETS - 1)).astype(np.int64)


class _Buckets:
    """Count and sum of the rows' hashes modulo 2^64, by bucket."""

    def __init__(self, trail: _Trail, level: int) -> None:
        self._trail, self._level = trail, level
        self.counts = np.zeros(BUCKETS, np.int64)
        self.sums = np.zeros(BUCKETS, np.uint64)

    def read(self, groups: Iterable[Batches], hasher: RowHasher, key: tuple[int, ...]) -> tuple[int, int]:
        """Takes a side in; its rows and the sum of their hashes, whether they are looked at or not."""
        rows, total = 0, 0
        for batches in groups:
            places, hashes = hasher.pairs(batches, key)
            rows += len(hashes)
            total = (total + int(hashes.sum(dtype=np.uint64))) % 2**64
            mask = self._trail.is_on(places)
            at = bucket(places[mask], self._level)
            self.counts += np.bincount(at, minlength=BUCKETS)
            np.add.at(self.sums, at, hashes[mask])
        return rows, total

    def differs(self, other: "_Buckets") -> Any:
        """Which buckets are not the same on both sides."""
        return (self.counts != other.counts) | (self.sums != other.sums)

    def rows_in(self, differing: Any) -> int:
        """How many rows are in these buckets."""
        return int(self.counts[differing].sum())


class _Held:
    """How often each row's hash is in the buckets that differ, on one side."""

    def __init__(self, trail: _Trail, groups: Iterable[Batches], hasher: RowHasher, key: tuple[int, ...]) -> None:
        found: list[Any] = []
        for batches in groups:
            places, hashes = hasher.pairs(batches, key)
            found.append(hashes[trail.is_on(places)])
        hashes = np.concatenate(found) if found else np.array([], np.uint64)
        self.values, self.counts = np.unique(hashes, return_counts=True)

    def without(self, other: "_Held") -> dict[int, int]:
        """The hashes that are here more often than there, and how much more often."""
        at = np.searchsorted(other.values, self.values)
        at[at == len(other.values)] = 0
        there = np.zeros(len(self.values), np.int64)
        if len(other.values):
            is_there = other.values[at] == self.values
            there[is_there] = other.counts[at[is_there]]
        more = self.counts - there
        return {int(value): int(times) for value, times in zip(self.values[more > 0], more[more > 0], strict=True)}


def _fetched(sides: Sides, hasher: RowHasher, source: _Held, staging: _Held) -> Found:
    missing, surplus = source.without(staging), staging.without(source)
    rows = max(sum(missing.values()), sum(surplus.values()))
    is_whole = sum(missing.values()) + sum(surplus.values()) <= ROWS_MAX
    schema = arrow_schema(sides.columns)
    lacking, is_lacking_whole = _pick(sides.source(), hasher, missing, schema)
    spare, is_spare_whole = _pick(sides.staging(), hasher, surplus, schema)
    return Found(tuple(lacking), tuple(spare), rows, is_whole and is_lacking_whole and is_spare_whole)


def _pick(
    groups: Iterator[Batches], hasher: RowHasher, wanted: dict[int, int], schema: pa.Schema
) -> tuple[list[pa.RecordBatch], bool]:
    """The rows with these hashes, each so many times, within the limits, and whether those are all."""
    due, picked, size = dict(wanted), list[pa.RecordBatch](), 0
    hashes_due = np.array(sorted(wanted), np.uint64)
    left = min(sum(due.values()), ROWS_MAX)
    for batches in groups if left else ():
        rows = [batch for batch in batches if batch.num_rows]
        hashes = hasher.each(rows)
        table = pa.Table.from_batches(rows, schema)
        at: list[int] = []
        for place in np.flatnonzero(np.isin(hashes, hashes_due)):
            value = int(hashes[place])
            if due[value] and len(at) < left:
                due[value] -= 1
                at.append(int(place))
        if at:
            taken = table.take(pa.array(at)).combine_chunks().to_batches()
            size += sum(batch.nbytes for batch in taken)
            left -= len(at)
            picked.extend(taken)
        if not left or size > BYTES_MAX:
            break
    return picked, not any(due.values())
