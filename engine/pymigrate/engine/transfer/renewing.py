"""A lane's systems are opened anew between two chunks, when the secrets that they were opened with have changed.

The target's next session is opened by the next commit; its checkpoint says how far the lane is, as ever. A source goes on after the last
committed position where its next session reads exactly what this one reads; where it can't, the session that is open stays until it ends.
"""

from collections.abc import Iterator
from typing import Protocol

import structlog

from pymigrate.engine.domain.errors import CredentialsRefused
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.reading import SourceReader

log = structlog.get_logger(__name__)


class Renewal(Protocol):
    """What knows whether a lane's systems are to be opened anew. Asked at each chunk."""

    def is_target_due(self) -> bool:
        """Whether the target was opened with a secret that has another value by now."""
        ...

    def is_source_due(self) -> bool:
        """The same of the source, where another session could go on with what this one reads."""
        ...

    def open_heir(self) -> Source | None:
        """On the source's thread: the source in another session, which has read nothing yet and goes on with exactly what the present one
        reads; None where that can't be, and the present one stays."""
        ...

    def doubt_source(self) -> bool:
        """The source refused, while it was read, what it was opened with. True: it can be opened anew with another value, and go on."""
        ...


class Lasting:
    """Systems that are opened once."""

    def is_target_due(self) -> bool:
        """Never."""
        return False

    def is_source_due(self) -> bool:
        """Never."""
        return False

    def open_heir(self) -> Source | None:
        """None."""
        return None

    def doubt_source(self) -> bool:
        """There is no other value."""
        return False


class Writing(Protocol):
    """A lane in its target."""

    @property
    def checkpoint(self) -> Checkpoint:
        """How far it is."""
        ...

    def close(self) -> None:
        """Gives up the session; the next commit opens another one."""
        ...


class RenewedChunks:
    """The chunks that are left of a lane, each of which is committed before the next one is asked for."""

    def __init__(
        self, job: LaneJob, reader: SourceReader, writer: Writing, renewal: Renewal, chunks: Iterator[SourceChunk]
    ) -> None:
        self._job = job
        self._reader = reader
        self._writer = writer
        self._renewal = renewal
        self._chunks = chunks

    def __iter__(self) -> Iterator[SourceChunk]:
        while True:
            try:
                chunk = next(self._chunks, None)
            except CredentialsRefused as error:
                if not self._renewal.doubt_source():
                    raise
                log.warning("lane.source_refused", lane=self._job.lane, error=error.message)
                if not self._go_on():
                    raise
                continue
            if chunk is None:
                return
            yield chunk
            del chunk
            self._renew()

    def _renew(self) -> None:
        if self._renewal.is_target_due():
            self._writer.close()
            log.info("lane.target_renewed", lane=self._job.lane, chunk=self._writer.checkpoint.chunks)
        if self._renewal.is_source_due():
            self._go_on()

    def _go_on(self) -> bool:
        """Reads on from the last commit in another session, or in the one there is (False)."""
        is_renewed = self._reader.renew(self._renewal.open_heir)
        job, done = self._job, self._writer.checkpoint
        self._chunks = self._reader.chunks(job.relation, job.staging.columns, done.position, job.staging.path)
        log.info("lane.source_read_on", lane=job.lane, chunk=done.chunks, is_renewed=is_renewed)
        return is_renewed
