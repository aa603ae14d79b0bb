"""Exchanging rows of staged parts: the parts that hold surplus rows are written anew without them, and a part of its own brings the
missing ones.

Files have no transactions. A crash leaves some parts written anew and the lane of repairs where it was: the next verification finds what
is left to do.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pymigrate.engine.adapters.connectors.part_formats import format_of_part, read_parts
from pymigrate.engine.adapters.connectors.parts_store import move
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.transfer.checksum import RowHasher

DRAFT = ".repair.draft"


def take_out(staging: Staging, parts: Sequence[Path], surplus: Sequence[pa.RecordBatch]) -> None:
    """Writes anew the parts that hold surplus rows, each without as many of them as are given. Raises FailedPrecondition, with nothing
    changed, where they are not there so often."""
    hasher = RowHasher()
    try:
        due = Counter(map(int, hasher.each(surplus)))
        kept = {path: _kept(hasher, staging, path, due) for path in parts if due.total()}
    finally:
        hasher.close()
    if due.total():
        raise FailedPrecondition(f"{due.total():,} rows to take out of the staging are not there as they were read")
    for path, mask in kept.items():
        if not mask.all():
            draft = path.with_name(DRAFT)
            table = pa.Table.from_batches(read_parts([path], staging.columns)).filter(pa.array(mask)).combine_chunks()
            format_of_part(path).write(draft, staging.columns, table.to_batches())
            move(draft, path)


def _kept(
    hasher: RowHasher, staging: Staging, path: Path, due: Counter[int]
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which rows of a part stay; takes off what is due."""
    masks = [np.ones(0, bool)]
    for batch in read_parts([path], staging.columns):
        hashes = hasher.each([batch])
        mask = np.ones(len(hashes), bool)
        for at in np.flatnonzero(np.isin(hashes, np.array(list(due), np.uint64))):
            value = int(hashes[at])
            if due[value]:
                due[value] -= 1
                mask[at] = False
        masks.append(mask)
    return np.concatenate(masks)
