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

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from pymigrate.engine.domain.errors import (
    InvalidDefinition,
    Problem,
    SourceChanged,
    VerificationFailed,
)
from pymigrate.engine.domain.paths import PASSING, CopyPath
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.staging import Checkpoint, Dangling
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.checksum import OtherFunction, RowHasher, combine, grouped, sum_of
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.repair import REPAIR_LANE, Repair, RowsDiffer, mend, repair_of
from pymigrate.engine.transfer.server_comparison import compare_servers
from pymigrate.engine.transfer.signals import Signals, check
from pymigrate.engine.transfer.transforms.place import place_of
from pymigrate.engine.transfer.verification_job import Digests, Level, VerifyJob

SAMPLED_BYTES_MAX = 256_000_000
SAMPLED_ROWS_MAX = 4_000_000
SAMPLED_SHARE = 7
_OR_CODE = ", or the Python or plugin among its transforms does not give the same rows for the same rows"


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
            return _compare_decoded(job, lanes, target, open_source, signals, means)
        return _compare_with_source(job, lanes, transferred, target, open_source, signals, means)
    match job.level:
        case Level.COUNT:
            return Digests()
        case Level.SAMPLED if (
            job.staging.path not in PASSING and sum(lane.bytes for lane in lanes) <= SAMPLED_BYTES_MAX
        ):
            found, rows = _digest_of_target(job, target, signals, means)
            _compare(job, transferred, found, rows)
            return Digests(target=found, rows=rows)
        case Level.SAMPLED:
            with means.read(open_source, signals) as reader:
                _refuse_change(job, lanes, reader)
                return compare_sample(job, sum(lane.rows for lane in lanes), target, reader, signals, means.hasher())
        case _:
            assert_never(job.level)


def _state(job: VerifyJob, open_source: Callable[[], Source], signals: Signals, means: Means) -> str:
    with means.read(open_source, signals) as reader:
        return reader.call(lambda source: source.state(job.relation))


def _compare_with_source(
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
        _refuse_change(job, lanes, reader)
        reading = reader.start(lambda source: _digest_of_source(job, source, signals, means))
        is_counted = job.level is Level.COUNT
        found, rows = ("", 0) if is_counted else _digest_of_target(job, target, signals, means)
        read, read_rows = reader.wait(reading)
    if (read, read_rows) != (transferred, sum(lane.rows for lane in lanes)):
        raise SourceChanged(
            f"dataset {job.dataset}: {job.relation.relation} gave {sum(lane.rows for lane in lanes):,} rows with digest "
            f"{transferred} while it was copied, and {read_rows:,} rows with digest {read} when it was read again: it "
            f"changed in between{_OR_CODE if job.has_code else ''}, and nothing is published; stop what writes to it, then retry the run",
            field="source.relation",
        )
    if not is_counted:
        _compare(job, transferred, found, rows)
    return Digests(read, found, rows)


def _compare_decoded(
    job: VerifyJob,
    lanes: list[Checkpoint],
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    """Reads both sides whole, at once: the digest in flight was one of bytes, which no row that is read gives again."""
    with means.read(open_source, signals) as reader:
        _refuse_change(job, lanes, reader)
        reading = reader.start(lambda source: _digest_of_source(job, source, signals, means))
        found, rows = _digest_of_target(job, target, signals, means)
        read, read_rows = reader.wait(reading)
    if (read, read_rows) != (found, rows):
        raise RowsDiffer(
            f"dataset {job.dataset}: {rows:,} rows read back from the staging of {job.staging.relation} have digest {found}, and the "
            f"{read_rows:,} rows of {job.relation.relation} have {read}"
        )
    return Digests(read, found, rows)


def _refuse_change(job: VerifyJob, lanes: list[Checkpoint], reader: SourceReader) -> None:
    state = reader.call(lambda source: source.state(job.relation))
    if any(lane.source_state and lane.source_state != state for lane in lanes):
        raise SourceChanged(
            f"dataset {job.dataset}: {job.relation.relation} has changed since it was copied, and nothing is published: stop what "
            "writes to it, then retry the run",
            field="source.relation",
        )


def _compare(job: VerifyJob, transferred: str, found: str, rows: int) -> None:
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


def _digest_of_target(job: VerifyJob, target: Target, signals: Signals, means: Means) -> tuple[str, int]:
    checksum, rows = means.checksum(), 0
    try:
        for batches in grouped(target.read_staging(job.staging)):
            check(signals)
            checksum.add(batches)
            rows += sum(batch.num_rows for batch in batches)
        return checksum.text(), rows
    finally:
        checksum.close()


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
        self._counts[at] = np.maximum(self._counts[at] - counts, 0)
        self.rows = int(self._counts.sum())


def check_key(job: VerifyJob, target: Target) -> None:
    """Raises VerificationFailed where the key does not hold in staging."""
    if not job.staging.key:
        return
    duplicates, examples = target.duplicate_keys(job.staging)
    if duplicates:
        again, advice = ("more than once", "declare columns that are unique")
        if job.staging.merge is not None:
            again, advice = ("with other content", "let conflict policy `latest` or `quarantine` settle it")
        raise VerificationFailed(
            f"dataset {job.dataset}: {duplicates:,} values of the key ({', '.join(job.staging.key)}) occur {again} or hold a "
            f"NULL, such as {', '.join(examples)}: mend the source, or {advice}; nothing is published",
            field="key",
        )


def check_references(job: VerifyJob, target: Target) -> Mapping[str, Dangling]:
    """What dangles, by reference. Raises VerificationFailed where that is fatal."""
    found: dict[str, Dangling] = {}
    for name, reference in sorted(job.references.items()):
        try:
            dangling = target.dangling(job.staging, reference.check)
        except InvalidDefinition as error:
            problems = tuple(Problem(f"references.{name}", problem.description) for problem in error.problems)
            raise InvalidDefinition(problems) from error
        found[name] = dangling
        if dangling.rows and reference.is_fatal:
            raise VerificationFailed(
                f"dataset {job.dataset}: {dangling.rows:,} rows refer by ({', '.join(reference.check.columns)}) to {dangling.values:,} "
                f"values that {reference.check.relation} does not have, such as {', '.join(dangling.examples)}: mend the source, or let "
                "the reference's policy be `report`; nothing is published",
                field=f"references.{name}",
            )
    return found
