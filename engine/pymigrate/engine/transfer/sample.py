"""A sample of staging's rows that must be found in the source, as often as they were read back."""

import math
from typing import Any

import numpy as np

from pymigrate.engine.domain.sampling import SAMPLED_ROWS_MAX, SAMPLED_SHARE
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.checksum import RowHasher, grouped, sum_of
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.repair import RowsDiffer
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.verification_job import Digests, VerifyJob


def compare_sample(
    job: VerifyJob, rows: int, target: Target, reader: SourceReader, signals: Signals, hasher: RowHasher
) -> Digests:
    """Reads a sample back from the target and finds it in the source. Raises VerificationFailed."""
    try:
        sample = _sample(job, rows, target, hasher, signals)
        missing = _Missing(sample)
        for chunk in reader.chunks(job.relation, job.staging.columns, None):
            missing.find(hasher.each(chunk.batches))
            if not missing.rows:
                break
    finally:
        hasher.close()
    if missing.rows:
        raise RowsDiffer(
            f"dataset {job.dataset}: of {len(sample):,} rows read back from the staging of {job.staging.relation}, "
            f"{missing.rows:,} are not in {job.relation.relation}"
        )
    digest = sum_of(sample)
    return Digests(digest, digest, len(sample))


def _sample(job: VerifyJob, rows: int, target: Target, hasher: RowHasher, signals: Signals) -> Any:
    """The hashes of the rows that the target gives first."""
    wanted = min(math.ceil(rows / SAMPLED_SHARE), SAMPLED_ROWS_MAX)
    found: list[Any] = []
    for batches in grouped(target.read_staging(job.staging)):
        check(signals)
        found.append(hasher.each(batches)[:wanted])
        wanted -= len(found[-1])
        if wanted <= 0:
            break
    return np.concatenate(found) if found else np.array([], np.uint64)


class _Missing:
    """Rows that are looked for, by their hashes; each is to be found as often as it is there."""

    def __init__(self, hashes: Any) -> None:
        self._values, self._counts = np.unique(hashes, return_counts=True)
        self.rows = int(self._counts.sum())

    def find(self, hashes: Any) -> None:
        """Takes those off that are among the hashes."""
        values, counts = np.unique(hashes, return_counts=True)
        at = np.searchsorted(self._values, values)
        is_inside = at < len(self._values)
        at, values, counts = at[is_inside], values[is_inside], counts[is_inside]
        is_wanted = self._values[at] == values
        at, counts = at[is_wanted], counts[is_wanted]
        taken = np.minimum(self._counts[at], counts)
        self._counts[at] -= taken
        self.rows -= int(taken.sum())
