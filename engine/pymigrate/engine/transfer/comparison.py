"""What reading back and reading again give, and whether it is what passed: by digests of all rows of a source and of staging."""

from collections.abc import Callable

from pymigrate.engine.domain.errors import (
    SourceChanged,
)
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.checksum import grouped
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.repair import RowsDiffer
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.verification_job import Digests, Level, VerifyJob

_OR_CODE = ", or the Python or plugin among its transforms does not give the same rows for the same rows"


def compare_with_source(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    """Reads the source in one piece, and meanwhile the target unless counting it is enough."""
    with means.read(open_source, signals) as reader:
        refuse_change(job, lanes, reader)
        reading = reader.start(lambda source: _digest_of_source(job, source, signals, means))
        is_counted = job.level is Level.COUNT
        found, rows = ("", 0) if is_counted else digest_of_target(job, target, signals, means)
        read, read_rows = reader.wait(reading)
    if (read, read_rows) != (transferred, sum(lane.rows for lane in lanes)):
        raise SourceChanged(
            f"dataset {job.dataset}: {job.relation.relation} gave {sum(lane.rows for lane in lanes):,} rows with digest "
            f"{transferred} while it was copied, and {read_rows:,} rows with digest {read} when it was read again: it "
            f"changed in between{_OR_CODE if job.has_code else ''}, and nothing is published; stop what writes to it, then retry the run",
            field="source.relation",
        )
    if not is_counted:
        compare_transferred(job, transferred, found, rows)
    return Digests(read, found, rows)


def compare_decoded(
    job: VerifyJob,
    lanes: list[Checkpoint],
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    """Reads both sides whole, at once: the digest in flight was one of bytes, which no row that is read gives again."""
    with means.read(open_source, signals) as reader:
        refuse_change(job, lanes, reader)
        reading = reader.start(lambda source: _digest_of_source(job, source, signals, means))
        found, rows = digest_of_target(job, target, signals, means)
        read, read_rows = reader.wait(reading)
    if (read, read_rows) != (found, rows):
        raise RowsDiffer(
            f"dataset {job.dataset}: {rows:,} rows read back from the staging of {job.staging.relation} have digest {found}, and the "
            f"{read_rows:,} rows of {job.relation.relation} have {read}"
        )
    return Digests(read, found, rows)


def refuse_change(job: VerifyJob, lanes: list[Checkpoint], reader: SourceReader) -> None:
    """Raises SourceChanged where the source is not in the state that a lane was copied under."""
    state = reader.call(lambda source: source.state(job.relation))
    if any(lane.source_state and lane.source_state != state for lane in lanes):
        raise SourceChanged(
            f"dataset {job.dataset}: {job.relation.relation} has changed since it was copied, and nothing is published: stop what "
            "writes to it, then retry the run",
            field="source.relation",
        )


def compare_transferred(job: VerifyJob, transferred: str, found: str, rows: int) -> None:
    """Raises RowsDiffer where what staging holds is not what was written."""
    if found != transferred:
        raise RowsDiffer(
            f"dataset {job.dataset}: {rows:,} rows read back from the staging of {job.staging.relation} have digest {found}, and "
            f"what was written has {transferred}: the target stores something other than it was given"
        )


def _digest_of_source(job: VerifyJob, source: Source, signals: Signals, means: Means) -> tuple[str, int]:
    checksum, rows = means.checksum(), 0
    try:
        for chunk in source.chunks(job.relation, job.staging.columns, None):
            check(signals)
            checksum.add(chunk.batches)
            rows += chunk.rows
        return checksum.text(), rows
    finally:
        checksum.close()


def digest_of_target(job: VerifyJob, target: Target, signals: Signals, means: Means) -> tuple[str, int]:
    """The digest of what staging holds, and of how many rows."""
    checksum, rows = means.checksum(), 0
    try:
        for batches in grouped(target.read_staging(job.staging)):
            check(signals)
            checksum.add(batches)
            rows += sum(batch.num_rows for batch in batches)
        return checksum.text(), rows
    finally:
        checksum.close()
