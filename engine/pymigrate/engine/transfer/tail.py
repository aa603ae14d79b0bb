"""Proof that staging that has caught up holds what its source holds, while nobody can write to that.

- `count` and `none` compare the exact counts alone: with writes blocked that is cheap, and nothing less is trusted;
- `sampled` reads all of both sides up to SAMPLED_BYTES_MAX of source data; of more, the first seventh of the rows that the target gives
  must be found in the source, as often as it was read back;
- `full` reads all of both.

Of transformed rows the source is read whole at every level, through the transforms: nothing else tells how many there are to be, and a
sample would not tell of rows that are missing. Both sides are compared whole at every level above `count`.
"""

from collections.abc import Callable, Iterable

import pyarrow as pa

from pymigrate.engine.domain.errors import VerificationFailed
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.checksum import grouped
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.sample import compare_sample
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.staging_checks import check_key, check_references
from pymigrate.engine.transfer.verification import Verification
from pymigrate.engine.transfer.verification_job import Digests, Level, VerifyJob


def verify_tail(
    job: VerifyJob,
    source_rows: int,
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    signals: Signals,
    means: Means = DEFAULT,
) -> Verification:
    """Compares staging with the source, which has `source_rows`. Raises VerificationFailed, and says what differs."""
    target = open_target()
    try:
        staged = target.count_staging(job.staging)
        if staged != source_rows and not job.is_transformed:
            raise _failed(job, f"{job.relation.relation} has {source_rows:,} rows and {staged:,} are staged")
        digests = _compared(job, staged, target, open_source, signals, means)
        if job.is_transformed:
            source_rows = staged
        check_key(job, target)
        dangling = check_references(job, target)
    finally:
        target.close()
    return Verification(source_rows, staged, "", digests.source, digests.target, digests.rows, dangling)


def _compared(
    job: VerifyJob,
    rows: int,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    is_counted = job.level in {Level.COUNT, Level.NONE}
    if is_counted and not job.is_transformed:
        return Digests()
    copied = sum(target.checkpoint(job.staging, lane)[0].bytes for lane in job.lanes)
    with means.read(open_source, signals) as reader:
        if job.level is Level.SAMPLED and copied > job.sampled_bytes_max and not job.is_transformed:
            return compare_sample(job, rows, target, reader, signals, means.hasher())

        def read(source: Source) -> tuple[str, int]:
            chunks = source.chunks(job.relation, job.staging.columns, None)
            return _digest((batch for chunk in chunks for batch in chunk.batches), signals, means)

        if is_counted:
            _, there = reader.call(read)
            if there != rows:
                raise _failed(job, f"{job.relation.relation} comes to {there:,} rows and {rows:,} are staged")
            return Digests()
        reading = reader.start(read)
        found, found_rows = _digest(target.read_staging(job.staging), signals, means)
        expected, expected_rows = reader.wait(reading)
    if (found, found_rows) != (expected, expected_rows):
        raise _failed(
            job,
            f"{job.relation.relation} has {expected_rows:,} rows with digest {expected}, and {found_rows:,} rows with digest {found} "
            "are staged",
        )
    return Digests(expected, found, found_rows)


def _digest(batches: Iterable[pa.RecordBatch], signals: Signals, means: Means) -> tuple[str, int]:
    checksum, rows = means.checksum(), 0
    try:
        for group in grouped(batches):
            check(signals)
            checksum.add(group)
            rows += sum(batch.num_rows for batch in group)
        return checksum.text(), rows
    finally:
        checksum.close()


def _failed(job: VerifyJob, what: str) -> VerificationFailed:
    return VerificationFailed(
        f"dataset {job.dataset}: with writes blocked and every change applied, {what}: nothing is published and writes are let in again; "
        "what the log does not tell, such as partitions that came or went, can't be followed; retry the run to copy it again"
    )
