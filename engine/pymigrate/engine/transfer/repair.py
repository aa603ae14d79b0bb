"""Mending a staging that differs from its source: the rows that do are found, taken out, and copied again from the source, only those.

A repair is one step of a lane of its own (REPAIR_LANE), under the verification's fence and in one transaction of the target, where the
target has them: a host that was replaced repairs nothing, and after a crash the target says whether it is done. It is done once: storage
that changes rows again is not to be trusted with them. What was repaired stays in the run's record, and is told as a warning.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import structlog

from pymigrate.engine.domain.errors import FailedPrecondition, SourceChanged, VerificationFailed
from pymigrate.engine.domain.paths import PASSING
from pymigrate.engine.ports.ranges import EVERYTHING, Position
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import Repairing, Target
from pymigrate.engine.transfer.bisection import ROWS_MAX, Batches, Found, Sides, bisect
from pymigrate.engine.transfer.checksum import grouped, text_of
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.mismatch import MismatchedRow, described, from_text, spelled, to_text
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.verification_job import VerifyJob

log = structlog.get_logger(__name__)
REPAIR_LANE = "repair"


class RowsDiffer(VerificationFailed):
    """Staging does not hold the rows that were copied; which ones is not known yet. `said` goes without what follows from it."""

    def __init__(self, said: str) -> None:
        super().__init__(f"{said}; nothing is published")
        self.said = said


@dataclass(frozen=True, slots=True)
class Repair:
    """What was repaired: how many rows, and the first of them."""

    rows: int = 0
    examples: tuple[MismatchedRow, ...] = ()


def repair_of(checkpoint: Checkpoint) -> Repair:
    """What the lane of repairs says."""
    return Repair(checkpoint.rows, from_text(checkpoint.position or ""))


def mend(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    differ: RowsDiffer,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Repair:
    """Finds the rows that differ and repairs them. Raises VerificationFailed, with the first of them, where that can't be done or was done
    before, SourceChanged where the source is no longer what was copied, and FenceLost."""
    before, _ = target.checkpoint(job.staging, REPAIR_LANE)
    with means.read(open_source, signals) as reader:
        found = _find(job, lanes, transferred, target, reader, signals, means)
    if found is None:
        raise SourceChanged(
            f"{differ.said}, and {job.relation.relation} no longer is what was copied: nothing is published; stop what writes to it, "
            "then retry the run",
            field="source.relation",
        )
    if not found.rows:
        raise VerificationFailed(
            f"{differ.said}, though no row differs when both are read one by one; nothing is published"
        )
    rows, examples = described(found, job.staging.columns, job.staging.key)
    said = f"{differ.said}: {rows:,} rows differ, such as {spelled(examples)}" if found.is_counted else differ.said
    if before.chunks:
        raise VerificationFailed(
            f"{said}; {before.rows:,} rows were repaired already, so the target changes what it is given: nothing is published; find out "
            "what does (a trigger, a damaged disk), then retry the run"
        )
    if not found.is_whole:
        raise VerificationFailed(
            f"{said}; they are too many to repair (at most {ROWS_MAX:,}): nothing is published; retry the run"
        )
    if not isinstance(target, Repairing):
        raise VerificationFailed(
            f"{said}; {target.version()} is not repaired row by row: nothing is published; retry the run"
        )
    check(signals)
    after = Checkpoint(before.chunks + 1, before.rows + rows, position=Position(to_text(examples)))
    claimed = target.claim(job.staging, REPAIR_LANE, job.fence)
    try:
        target.repair(job.staging, REPAIR_LANE, job.fence, claimed, after, found.surplus, found.missing)
    except FailedPrecondition as error:
        raise VerificationFailed(f"{said}; {error.message}: nothing is published; retry the run") from error
    log.warning("rows.repaired", dataset=job.dataset, relation=job.staging.relation, rows=rows)
    return Repair(rows, examples)


def _find(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    target: Target,
    reader: SourceReader,
    signals: Signals,
    means: Means,
) -> Found | None:
    state = reader.call(lambda source: source.state(job.relation))
    if any(lane.source_state and lane.source_state != state for lane in lanes):
        return None
    is_passing = job.staging.path in PASSING
    if is_passing and digest_of_stream(job, reader, means) != transferred:
        return None

    def source() -> Iterator[Batches]:
        chunks = reader.chunks(job.relation, job.staging.columns, None)
        yield from grouped(batch for chunk in chunks for batch in chunk.batches)

    def staging() -> Iterator[Batches]:
        for batches in grouped(target.read_staging(job.staging)):
            check(signals)
            yield batches

    names = [column.name for column in job.staging.columns]
    sides = Sides(source, staging, job.staging.columns, tuple(names.index(name) for name in job.staging.key))
    expected = sum(lane.rows for lane in lanes)
    hasher = means.hasher()
    try:
        return bisect(
            sides, hasher, lambda rows, total: rows == expected and (is_passing or text_of(total) == transferred)
        )
    finally:
        hasher.close()


def digest_of_stream(job: VerifyJob, reader: SourceReader, means: Means) -> str:
    """The digest in flight of a source whose rows pass as bytes, read again, range for range: it depends on where chunks end."""
    digest = means.digest(job.staging.path)
    for span in job.ranges or (EVERYTHING,):
        relation = replace(job.relation, range=span)
        for chunk in reader.chunks(relation, job.staging.columns, None, job.staging.path):
            digest.take(chunk)
    return digest.text()
