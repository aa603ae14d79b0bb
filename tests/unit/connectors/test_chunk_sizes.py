"""How large chunks are: small at first, never much larger than asked for, and whole groups of rows where a target keeps such."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from pymigrate.engine.adapters.connectors.chunk_sizes import RowPace, dividing, growing
from pymigrate.engine.ports.relations import SourceRelation

ROW_BYTES = 8


def test_chunks_hold_little_at_first_and_twice_as_much_each_time() -> None:
    assert list(itertools.islice(growing(20_000_000), 6)) == [
        2_500_000,
        5_000_000,
        10_000_000,
        20_000_000,
        20_000_000,
        20_000_000,
    ]


def test_small_chunks_are_all_alike() -> None:
    assert list(itertools.islice(growing(3_000_000), 3)) == [3_000_000] * 3


@pytest.mark.parametrize(
    ("chunk_bytes", "chunk_rows"), [(20_000_000, 0), (80_000, 0), (64_000_000, 122_880), (8_000, 5_000)]
)
def test_a_pace_asks_for_no_more_rows_than_a_chunk_still_holds(chunk_bytes: int, chunk_rows: int) -> None:
    pace = RowPace(SourceRelation("t", chunk_bytes=chunk_bytes, chunk_rows=chunk_rows), rows_max=262_144)
    chunks = [rows_of_a_chunk(pace) for _ in range(6)]
    assert all(rows * ROW_BYTES <= chunk_bytes for rows in chunks)
    if chunk_rows and chunk_rows * ROW_BYTES <= chunk_bytes:
        assert chunks == [chunk_rows] * 6
    else:
        assert chunks[-1] == chunk_bytes // ROW_BYTES


def rows_of_a_chunk(pace: RowPace) -> int:
    rows = 0
    while True:
        rows += pace.rows
        if pace.fills(pa.record_batch({"x": np.zeros(pace.rows, np.int64)})):
            return rows


@pytest.mark.parametrize(("rows", "batch"), [(10_000, 8_192), (8_192, 8_192), (700, 512), (1, 1)])
def test_batches_of_a_scan_divide_a_group_of_rows(rows: int, batch: int) -> None:
    assert dividing(122_880, rows) == batch
    assert 122_880 % batch == 0
    assert dividing(0, rows) == rows
