"""The stagings of a folder of folders: one part a chunk, under lanes, fences and checkpoints.

There are no transactions here. A part is written aside, and comes to its name under the lock and the fence; the checkpoint follows. A
part beyond its lane's checkpoint does not exist for readers and is written anew."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.adapters.connectors.part_formats import ENDING_DEFAULT, FORMATS, parts_of
from pymigrate.engine.adapters.connectors.parts_repair import take_out
from pymigrate.engine.adapters.connectors.parts_store import (
    ROLLED_BACK,
    ROLLING_BACK,
    PartsStore,
    lane_name,
    make_folder,
    move,
)
from pymigrate.engine.adapters.connectors.stored_files import local_root
from pymigrate.engine.adapters.connectors.target_values import check_step, check_values
from pymigrate.engine.adapters.engine_homes import refuse_engine_home
from pymigrate.engine.domain.errors import FailedPrecondition, FenceLost, InvalidDefinition, Problem, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId


@contextmanager
def translated() -> Iterator[None]:
    """The file system's errors as PyMigrate's."""
    try:
        yield
    except OSError as error:
        raise SystemUnavailable(f"files: {error}") from error


class FilesStaging:
    """What of a Target in files holds what is staged."""

    _ending = ENDING_DEFAULT

    def __init__(self, system: SystemSpec, ending: str = ENDING_DEFAULT) -> None:
        """`ending` is that of the parts of a staging that names none."""
        given = system.options.get("root", "")
        root = local_root(given) if given else None
        if root is None:
            raise InvalidDefinition((Problem("root", f"`{given}` is no folder of the worker host"),))
        if root.exists() and not root.is_dir():
            raise InvalidDefinition((Problem("root", f"`{given}` is no folder"),))
        refuse_engine_home(root, "root")
        with translated():
            make_folder(root)
        self._root, self._ending = root, ending
        self._store = PartsStore(self._root)

    def prepare(self, staging: Staging) -> None:
        """Makes the staging folder; does nothing for a staging that is published."""
        with translated(), self._store.lock():
            publication = self._store.publication(staging.id)
            if publication is not None and publication.state in (ROLLING_BACK, ROLLED_BACK):
                raise FailedPrecondition(
                    f"the staging {staging.id} of {staging.relation} was rolled back: start another attempt"
                )
            if publication is None:
                make_folder(self._store.staging(staging.id))

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        """Takes the lane for the fence, and removes what an older holder left half written."""
        with translated(), self._store.lock():
            publication = self._store.publication(staging.id)
            at, holder = self._store.checkpoint(staging.id, lane)
            if fence <= holder or (publication is not None and publication.state in (ROLLING_BACK, ROLLED_BACK)):
                raise FenceLost(f"lane {lane} of {staging.relation} is held under fence {holder}, or was rolled back")
            self._store.write_checkpoint(staging.id, lane, fence, at)
            if publication is None:
                for draft in self._store.staging(staging.id).glob(f".{lane_name(lane)}-*.draft"):
                    draft.unlink(missing_ok=True)  # who writes it may be giving it up at this moment
                self._remove_beyond(self._store.staging(staging.id), lane_name(lane), at.chunks)
            return at

    def checkpoint(self, staging: Staging, lane: str) -> tuple[Checkpoint, int]:
        """How far the lane got, and its fence."""
        with translated():
            return self._store.checkpoint(staging.id, lane)

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        """The part first, then the checkpoint; the part is encoded before the lock is taken, so that lanes run side by side."""
        check_step(staging, before, after, batches)
        check_values(staging, batches, before.rows)
        self._commit(staging, lane, fence, before, after, ((staging, batches),))

    def commit_apart(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
        apart: Staging,
        refused: Sequence[pa.RecordBatch],
    ) -> None:
        """Both parts first. What is apart has a checkpoint of its own, written before the lane's: a part of a chunk that the lane has not
        got to yet is written anew before anybody looks at it."""
        check_step(staging, before, after, batches)
        check_values(staging, batches, before.rows)
        self._commit(staging, lane, fence, before, after, ((apart, refused), (staging, batches)))

    def _commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        written: Sequence[tuple[Staging, Sequence[pa.RecordBatch]]],
    ) -> None:
        endings = [each.ending or self._ending_of(staging) for each, _ in written]
        for ending, (each, batches) in zip(endings, written, strict=True):
            FORMATS[ending].check(each, batches, before.rows)
        self._check_stand(staging, lane, fence, before)
        drafts = [self._store.staging(each.id) / f".{lane_name(lane)}-{fence}.draft" for each, _ in written]
        with translated():
            try:
                try:
                    for draft, ending, (each, batches) in zip(drafts, endings, written, strict=True):
                        if any(batch.num_rows for batch in batches):
                            self._write_part(draft, each, batches, ending)
                except FileNotFoundError:
                    # Whoever claims the lane removes its draft, and whoever takes the staging back its folder, also while it is written.
                    self._check_stand(staging, lane, fence, before)
                    raise
                with self._store.lock():
                    self._check_stand(staging, lane, fence, before)
                    for draft, ending, (each, _) in zip(drafts, endings, written, strict=True):
                        part = draft.parent / _part(lane, after.chunks, ending)
                        part.unlink(missing_ok=True)  # of a host that died before its checkpoint
                        if draft.exists():
                            move(draft, part)
                        self._store.write_checkpoint(each.id, lane, fence, after)
            finally:
                for draft in drafts:
                    draft.unlink(missing_ok=True)

    def reset(self, staging: Staging, lane: str, fence: int) -> None:
        """The checkpoint first: parts beyond it are gone for every reader. Raises FailedPrecondition where another lane has rows."""
        self._reset(staging, lane, fence, (staging,))

    def reset_apart(self, staging: Staging, lane: str, fence: int, apart: Staging) -> None:
        """What is apart first, since a lane that stands at its start puts nothing there before it has a chunk."""
        self._reset(staging, lane, fence, (apart, staging))

    def _reset(self, staging: Staging, lane: str, fence: int, emptied: Sequence[Staging]) -> None:
        with translated(), self._store.lock():
            at, _ = self._store.checkpoint(staging.id, lane)
            self._check_stand(staging, lane, fence, at)
            if any(
                other.rows for name, other in self._store.checkpoints(staging.id).items() if name != lane_name(lane)
            ):
                raise FailedPrecondition(
                    f"other lanes have rows in the staging of {staging.relation}: roll it back instead"
                )
            for each in emptied:
                self._store.write_checkpoint(each.id, lane, fence, Checkpoint())
                self._remove_beyond(self._store.staging(each.id), lane_name(lane), 0)

    def repair(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        surplus: Sequence[pa.RecordBatch],
        missing: Sequence[pa.RecordBatch],
    ) -> None:
        """Parts without the surplus rows first, then a part of the missing ones, the lane's step last."""
        folder = self._store.staging(staging.id)
        with translated(), self._store.lock():
            self._check_stand(staging, lane, fence, before)
            self._remove_beyond(folder, lane_name(lane), before.chunks)
            take_out(staging, self._committed(staging.id), surplus)
            if missing:
                draft = folder / f".{lane_name(lane)}-{fence}.draft"
                ending = self._ending_of(staging)
                self._write_part(draft, staging, missing, ending)
                move(draft, folder / _part(lane, after.chunks, ending))
            self._store.write_checkpoint(staging.id, lane, fence, after)

    def _ending_of(self, staging: Staging) -> str:
        return staging.ending or self._ending

    def _write_part(self, path: Path, staging: Staging, batches: Sequence[pa.RecordBatch], ending: str) -> None:
        FORMATS[ending].write(path, staging.columns, batches)

    def _check_stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at, holder = self._store.checkpoint(staging.id, lane)
        if (holder, at.chunks) != (fence, before.chunks) or self._store.publication(staging.id) is not None:
            raise FenceLost(
                f"lane {lane} of {staging.relation} no longer stands at chunk {before.chunks} under fence {fence}: "
                "another host has it"
            )

    def _remove_beyond(self, folder: Path, lane: str, chunks: int) -> None:
        for path in parts_of(folder):
            if _place_of(path)[0] == lane and _place_of(path)[1] > chunks:
                path.unlink()

    def _committed(self, staging: StagingId) -> list[Path]:
        lanes = self._store.checkpoints(staging)
        places = [(path, *_place_of(path)) for path in parts_of(self._store.staging(staging))]
        return [path for path, lane, chunk in places if lane in lanes and chunk <= lanes[lane].chunks]


def _part(lane: str, chunk: int, ending: str) -> str:
    return f"part-{lane_name(lane)}-{chunk:08}.{ending}"


def _place_of(path: Path) -> tuple[str, int]:
    """Lane and chunk of a staged part."""
    _, _, rest = path.name.partition(".")[0].partition("-")
    lane, _, chunk = rest.rpartition("-")
    return lane, int(chunk)
