"""One attempt at a lane: chunk after chunk from the source into staging, each committed with its checkpoint under the lane's fence.

The target is the truth. An attempt claims the lane there first and reads how far it got; what is committed is kept when the source
still says the same, by its state token or by reading the committed part again, and given up otherwise: never continued silently.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from pymigrate.engine.domain.errors import (
    CredentialsRefused,
    FailedPrecondition,
    FenceLost,
    SecretsUnavailable,
    SourceChanged,
    TemporaryError,
)
from pymigrate.engine.ports.relations import CHUNK_BYTES, SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import Grouping, PassingTarget, SettingApart, Target
from pymigrate.engine.transfer.checksum import Checksum, PassingChecksum, is_continuable
from pymigrate.engine.transfer.lane_job import CopyOutcome, LaneJob
from pymigrate.engine.transfer.means import DEFAULT, Means
from pymigrate.engine.transfer.reading import SourceReader
from pymigrate.engine.transfer.remainder import remainder_of
from pymigrate.engine.transfer.renewing import Lasting, Renewal, RenewedChunks
from pymigrate.engine.transfer.signals import Drained, Signals, check
from pymigrate.engine.transfer.transforms.place import place_of
from pymigrate.engine.transfer.transforms.quarantine import quarantined
from pymigrate.engine.transfer.transforms.refusals import refuse_rows

log = structlog.get_logger(__name__)
COMMIT_TRIES_MAX = 4
REOPEN_TRIES_MAX = 4
BACKOFF_FIRST_SECONDS = 0.2


def copy_lane(
    job: LaneJob,
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    signals: Signals,
    on_progress: Callable[[Checkpoint], None],
    means: Means = DEFAULT,
    renewal: Renewal | None = None,
) -> CopyOutcome:
    """Copies a lane to its end, or to the checkpoint at which it is asked to stop. `renewal` tells when its systems are opened anew.

    Raises SourceChanged, DataRefused, TemporaryError (the checkpoint stays), FenceLost, and LeaseLost when the lease is gone.
    """
    writer = LaneWriter(job, open_target, signals)
    try:
        writer.claim()
        job = replace(job, relation=writer.grouped(job.relation))
        with means.read(open_source, signals) as reader:
            return _copy(job, reader, writer, signals, on_progress, means, renewal or Lasting())
    except Drained:
        return CopyOutcome(writer.checkpoint, is_drained=True)
    finally:
        writer.close()


def _copy(
    job: LaneJob,
    reader: SourceReader,
    writer: "LaneWriter",
    signals: Signals,
    on_progress: Callable[[Checkpoint], None],
    means: Means,
    renewal: Renewal,
) -> CopyOutcome:
    state = reader.call(lambda source: source.state(job.relation))
    _refuse_change(job, state)
    chunks, checksum = _resume(job, reader, writer, state, means)
    try:
        on_progress(writer.checkpoint)
        for chunk in RenewedChunks(job, reader, writer, renewal, chunks):
            check(signals)
            before = writer.checkpoint
            rows = sum(batch.num_rows for batch in chunk.batches) if chunk.batches else chunk.rows
            if rows != chunk.rows or (rows and not (chunk.batches or chunk.pieces)):
                raise ValueError(f"{job.relation.relation}: a chunk says {chunk.rows} rows and holds {rows}")
            _bear(job, chunk)
            checksum.take(chunk)
            writer.commit(
                Checkpoint(
                    chunks=before.chunks + 1,
                    rows=before.rows + rows,
                    bytes=before.bytes + chunk.bytes,
                    position=chunk.end,
                    checksum=checksum.text(),
                    source_state=state,
                ),
                chunk,
            )
            on_progress(writer.checkpoint)
    finally:
        checksum.close()
    _refuse_change(job, reader.call(lambda source: source.state(job.relation)))
    return CopyOutcome(writer.checkpoint, is_drained=False)


def _bear(job: LaneJob, chunk: SourceChunk) -> None:
    """Raises DataRefused for refused rows that are too many; any is, where there is no quarantine."""
    if job.quarantine is None:
        refuse_rows(job.dataset, chunk.refused)
    elif chunk.refused:
        job.quarantine.check_rows(job.dataset, place_of(chunk.end).refused, chunk.refused)


def _refuse_change(job: LaneJob, state: str) -> None:
    if job.source_state and state != job.source_state and not job.is_followed:
        raise SourceChanged(
            f"dataset {job.dataset}: {job.relation.relation} has changed since the run was started: "
            "start another run, or retry this one to take it as it is now",
            field="source.relation",
        )


def _resume(
    job: LaneJob, reader: SourceReader, writer: "LaneWriter", state: str, means: Means
) -> tuple[Iterator[SourceChunk], Checksum | PassingChecksum]:
    """What is left to copy, and the digest of what is committed."""
    committed, path = writer.checkpoint, job.staging.path
    if not committed.chunks:
        return reader.chunks(job.relation, job.staging.columns, None, path), means.digest(path)
    if job.is_followed:
        start = committed.checksum if is_continuable(committed.checksum) else ""
        return reader.chunks(job.relation, job.staging.columns, committed.position, path), means.digest(path, start)
    is_same = bool(state) and committed.source_state == state
    if is_same and is_continuable(committed.checksum):
        rest = reader.chunks(job.relation, job.staging.columns, committed.position, path)
        return rest, means.digest(path, committed.checksum)
    prefix, rest = means.digest(path), remainder_of(job, reader, committed)
    rows = rest.read(committed, prefix)
    if rows == committed.rows and (is_same or prefix.text() == committed.checksum):
        log.info("lane.prefix_confirmed", lane=job.lane, rows=rows)
        return rest, prefix
    prefix.close()
    if not job.is_alone:
        raise SourceChanged(
            f"dataset {job.dataset}: the part of {job.relation.relation} that lane {job.lane} had copied has changed since: "
            "stop what writes to it, then retry the run",
            field="source.relation",
        )
    log.warning("lane.restarted", lane=job.lane, rows=committed.rows, reason="the source's committed part has changed")
    writer.reset()
    return reader.chunks(job.relation, job.staging.columns, None, path), means.digest(path)


def setting_apart(target: Target) -> SettingApart:
    """The target as one that keeps refused rows. Raises FailedPrecondition where it can't."""
    if not isinstance(target, SettingApart):
        raise FailedPrecondition(f"{target.version()} keeps no quarantine: leave it out", field="quarantine")
    return target


class LaneWriter:
    """A lane in the target: claimed once, then committed to; finds out what became of a commit whose outcome is unknown."""

    def __init__(self, job: LaneJob, open_target: Callable[[], Target], signals: Signals) -> None:
        self._job = job
        self._open_target = open_target
        self._signals = signals
        self._target: Target | None = None
        self._rng = random.Random()
        self.checkpoint = Checkpoint()

    def claim(self) -> None:
        """Takes the lane under the fence and reads how far it got. Draining waits for it: how far it got is to be told."""
        check(self._signals, is_draining_heeded=False)
        self._target = self._open_target()
        self._target.prepare(self._job.staging)
        if self._job.quarantine is not None:
            self._target.prepare(self._job.quarantine.staging)
        self.checkpoint = self._target.claim(self._job.staging, self._job.lane, self._job.fence)

    def grouped(self, relation: SourceRelation) -> SourceRelation:
        """The relation in chunks of the groups that the claimed target keeps rows in; a size that somebody asked for stays."""
        target = self._opened()
        if not isinstance(target, Grouping):
            return relation
        is_free = relation.chunk_bytes == CHUNK_BYTES
        chunk_bytes = target.group_bytes_max if is_free else relation.chunk_bytes
        return replace(relation, chunk_bytes=chunk_bytes, chunk_rows=target.group_rows)

    def commit(self, after: Checkpoint, chunk: SourceChunk) -> None:
        """A chunk's rows and the step to `after`; see `step`."""
        self.step(after, lambda target, before: self._write(target, before, after, chunk))

    def step(self, after: Checkpoint, write: Callable[[Target, Checkpoint], None]) -> None:
        """What `write` writes from the checkpoint before, and the step to `after`, exactly once. Raises FenceLost, LeaseLost, or what
        the target raised at last."""
        job, before = self._job, self.checkpoint
        for attempt in range(COMMIT_TRIES_MAX):
            check(self._signals, is_draining_heeded=False)
            try:
                write(self._opened(), before)
            except TemporaryError as error:
                log.warning("commit.unknown", lane=job.lane, chunk=after.chunks, error=error.message)
                if self._is_committed(before, after):
                    break
                if attempt == COMMIT_TRIES_MAX - 1:
                    raise
                self._pause(attempt)
            else:
                break
        self.checkpoint = after

    def use(self, work: Callable[[Target], None]) -> None:
        """What is no step of the lane, in its target."""
        check(self._signals, is_draining_heeded=False)
        work(self._opened())

    def reset(self) -> None:
        """Empties the staging and starts the lane over."""
        check(self._signals)
        job, target = self._job, self._opened()
        if job.quarantine is None:
            target.reset(job.staging, job.lane, job.fence)
        else:
            setting_apart(target).reset_apart(job.staging, job.lane, job.fence, job.quarantine.staging)
        self.checkpoint = Checkpoint()

    def close(self) -> None:
        """Gives up the target. May be called again."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def _write(self, target: Target, before: Checkpoint, after: Checkpoint, chunk: SourceChunk) -> None:
        job = self._job
        if job.quarantine is not None:
            refused = quarantined(job.dataset, job.lane, after.chunks, chunk.refused)
            apart = job.quarantine.staging
            setting_apart(target).commit_apart(
                job.staging, job.lane, job.fence, before, after, chunk.batches, apart, refused
            )
        elif not chunk.pieces:
            target.commit(job.staging, job.lane, job.fence, before, after, chunk.batches)
        elif isinstance(target, PassingTarget):
            target.commit_passed(job.staging, job.lane, job.fence, before, after, chunk.pieces)
        else:
            raise FailedPrecondition(f"{target.version()} takes no rows as {job.staging.path}: start another run")

    def _opened(self) -> Target:
        if self._target is None:
            self._target = self._open_target()
        return self._target

    def _is_committed(self, before: Checkpoint, after: Checkpoint) -> bool:
        """Asks the target, over a new connection, what became of the step."""
        found, fence = self._read_again()
        if fence != self._job.fence:
            raise FenceLost(f"{self._job.lane} is held under fence {fence}, and this host has {self._job.fence}")
        if found == after:
            return True
        if found == before:
            return False
        raise FenceLost(
            f"{self._job.lane} stands at chunk {found.chunks} where {before.chunks} or {after.chunks} was due"
        )

    def _read_again(self) -> tuple[Checkpoint, int]:
        for attempt in range(REOPEN_TRIES_MAX):
            check(self._signals, is_draining_heeded=False)
            self.close()
            try:
                return self._opened().checkpoint(self._job.staging, self._job.lane)
            except (CredentialsRefused, SecretsUnavailable):
                raise  # whoever opens it has tried what there is, and too many refused logins lock an account
            except TemporaryError:
                if attempt == REOPEN_TRIES_MAX - 1:
                    raise
                self._pause(attempt)
        raise AssertionError("the last try returns or raises")

    def _pause(self, attempt: int) -> None:
        self._signals.wait(BACKOFF_FIRST_SECONDS * 2**attempt * self._rng.uniform(0.5, 1.0))
