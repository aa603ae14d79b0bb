"""Proof before publication that staging holds what the source holds.

Rows are counted and hashed as they pass, at every level. On top of that
- `count` compares the counts alone;
- `sampled` reads the target back. Up to SAMPLED_BYTES_MAX of source data every row is read back and its digest must be the one
  in flight; the source is not read again. Above, the first seventh of the rows that the target gives is read back (at most
  SAMPLED_ROWS_MAX), and each of them must be found in the source, as often as it was read back. The source is read in its order until
  all are found: about a seventh of it where the target keeps the order of arrival, and at most once through;
- `none` reads nothing back: the counts alone are compared, and no relation that holds rows may be replaced so;
- `full` reads source and target whole, at once: the digests in flight, of the source and of the target must be equal.

Lanes of one dataset read their ranges at different times. Where the source can't tell whether it changed in between (it has no state
token), it is read once more in one piece at every level but `none`, and its digest must be the one in flight. So it is where transforms
call code that others wrote: it is called again, and must give the same rows.

Where the counts or digests differ, `repair` finds the rows and copies them again, once; then everything is compared in full.

Where rows pass as bytes there is no digest of rows in flight: both sides are read instead, decoded, all at `full`, and the sample at
`sampled` whatever the size; between two PostgreSQLs `server_comparison` compares what both servers hash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from pymigrate.engine.domain.errors import (
    VerificationFailed,
)
from pymigrate.engine.domain.paths import PASSING, CopyPath
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Dangling
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.checksum import OtherFunction, combine
from pymigrate.engine.transfer.comparison import (
    compare_decoded,
    compare_transferred,
    compare_with_source,
    digest_of_target,
    refuse_change,
)
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.repair import REPAIR_LANE, Repair, RowsDiffer, mend, repair_of
from pymigrate.engine.transfer.sample import compare_sample
from pymigrate.engine.transfer.server_comparison import compare_servers
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.staging_checks import check_key, check_references
from pymigrate.engine.transfer.transforms.place import place_of
from pymigrate.engine.transfer.verification_job import Digests, Level, VerifyJob


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared and found equal, what dangles, and what had to be repaired first. Digests that the level does not ask for are
    empty."""

    source_rows: int
    target_rows: int
    transfer_checksum: str
    source_checksum: str = ""
    target_checksum: str = ""
    compared_rows: int = 0
    dangling: Mapping[str, Dangling] = field(default_factory=dict)
    repair: Repair = field(default_factory=Repair)


def verify(
    job: VerifyJob,
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    signals: Signals,
    means: Means = DEFAULT,
) -> Verification:
    """Compares staging with what passed and with the source. Raises VerificationFailed or SourceChanged, and says what differs."""
    target = open_target()
    try:
        _refuse_unverified(job, target)
        lanes = [target.checkpoint(job.staging, lane)[0] for lane in job.lanes]
        rows = sum(lane.rows for lane in lanes)
        transferred = _transferred(job, lanes)
        read = _check_refused(job, lanes, rows, target)
        try:
            staged, digests = _compared(job, lanes, transferred, target, open_source, signals, means)
        except RowsDiffer as differ:
            if job.level is Level.NONE:
                raise
            repair = mend(job, lanes, transferred, differ, target, open_source, signals, means)
            try:
                staged, digests = _compared(_in_full(job), lanes, transferred, target, open_source, signals, means)
            except RowsDiffer as again:
                raise RowsDiffer(f"{again.said}, after {repair.rows:,} rows were repaired") from again
        repair = repair_of(target.checkpoint(job.staging, REPAIR_LANE)[0])
        check(signals)
        check_key(job, target)
        dangling = check_references(job, target)
    finally:
        target.close()
    return Verification(read, staged, transferred, digests.source, digests.target, digests.rows, dangling, repair)


def _check_refused(job: VerifyJob, lanes: list[Checkpoint], rows: int, target: Target) -> int:
    """How many rows were read from the source: those that were written, left out and refused. The refused ones must all be in the
    quarantine, and within its budget."""
    if not job.is_transformed:
        return rows
    places = [place_of(lane.position) for lane in lanes]
    read, refused = sum(place.read for place in places), sum(place.refused for place in places)
    if job.quarantine is not None:
        kept = target.count_staging(job.quarantine.staging)
        if kept != refused:
            raise VerificationFailed(
                f"dataset {job.dataset}: {refused:,} rows were refused and {kept:,} are staged for {job.quarantine.staging.relation}: "
                "nothing is published; retry the run to copy it again"
            )
        job.quarantine.check(job.dataset, refused, read)
    return read


def _refuse_unverified(job: VerifyJob, target: Target) -> None:
    """What the inspection looked at, too: the relation may have been filled since."""
    if job.level is Level.NONE and job.staging.is_replace and (rows := target.rows(job.staging.relation)):
        raise VerificationFailed(
            f"dataset {job.dataset}: {job.staging.relation} holds {rows:,} rows, and verification `none` would replace them by rows that "
            "nobody read back: use `sampled`, `full` or `count`; nothing is published",
            field="verification",
        )


def _transferred(job: VerifyJob, lanes: list[Checkpoint]) -> str:
    try:
        return combine([lane.checksum for lane in lanes])
    except OtherFunction as error:
        raise VerificationFailed(
            f"dataset {job.dataset}: {error}, so the two can't be compared: retry the run to copy it again"
        ) from error


def _compared(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> tuple[int, Digests]:
    """Counts and digests. Raises RowsDiffer, or VerificationFailed after a repair."""
    rows, staged = sum(lane.rows for lane in lanes), target.count_staging(job.staging)
    if staged != rows:
        raise RowsDiffer(
            f"dataset {job.dataset}: {rows:,} rows were read from {job.relation.relation} and {staged:,} are staged "
            f"for {job.staging.relation}"
        )
    return staged, _read_back(job, lanes, transferred, target, open_source, signals, means)


def _in_full(job: VerifyJob) -> VerifyJob:
    """What was repaired is read back whole, whatever the level."""
    return replace(job, level=Level.FULL)


def _read_back(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    if job.level is Level.NONE:
        return Digests()
    if job.staging.path is CopyPath.POSTGRES_BINARY:
        return compare_servers(job, lanes, transferred, target, open_source, signals, means)
    if job.level is Level.FULL or job.has_code or (len(lanes) > 1 and not _state(job, open_source, signals, means)):
        if job.staging.path in PASSING:
            return compare_decoded(job, lanes, target, open_source, signals, means)
        return compare_with_source(job, lanes, transferred, target, open_source, signals, means)
    match job.level:
        case Level.COUNT:
            return Digests()
        case Level.SAMPLED if (
            job.staging.path not in PASSING and sum(lane.bytes for lane in lanes) <= job.sampled_bytes_max
        ):
            found, rows = digest_of_target(job, target, signals, means)
            compare_transferred(job, transferred, found, rows)
            return Digests(target=found, rows=rows)
        case Level.SAMPLED:
            with means.read(open_source, signals) as reader:
                refuse_change(job, lanes, reader)
                return compare_sample(job, sum(lane.rows for lane in lanes), target, reader, signals, means.hasher())
        case _:
            assert_never(job.level)


def _state(job: VerifyJob, open_source: Callable[[], Source], signals: Signals, means: Means) -> str:
    with means.read(open_source, signals) as reader:
        return reader.call(lambda source: source.state(job.relation))
