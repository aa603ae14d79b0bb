"""Parts of a lane that somebody else takes while they are written, in every format that a folder may have: who wrote them is told so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pymigrate.engine.adapters.connectors.files_target import FilesTarget
from pymigrate.engine.adapters.connectors.part_formats import FORMATS
from pymigrate.engine.domain.errors import FenceLost, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_harness import LaneWriter, a_batch, a_staging, after, numbered, pairs


class Overtaken(list[pa.RecordBatch]):
    """Batches of a part in whose midst something happens, once a draft of it lies below the root."""

    def __init__(self, root: Path, happen: Callable[[], object]) -> None:
        super().__init__([a_batch(numbered(4, 6))])
        self._root, self._happen = root, happen
        self.has_happened = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in super().__iter__():
            yield batch
            if not self.has_happened and list(self._root.rglob("*.draft")):
                self.has_happened = True
                self._happen()


@pytest.fixture(params=FORMATS)
def ending(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def a_target(root: Path, ending: str) -> Target:
    return FilesTarget(SystemSpec("files", "lake", {"root": str(root)}), ending)


def begun(target: Target) -> tuple[Staging, LaneWriter]:
    """A staging, and a lane of it with three rows."""
    staging = a_staging()
    target.prepare(staging)
    lane = LaneWriter(target, staging).claim()
    lane.commit(numbered(1, 3))
    return staging, lane


def overtake(target: Target, lane: LaneWriter, batches: Overtaken) -> None:
    """Commits a part in whose midst something happens."""
    target.commit(lane.staging, lane.lane, lane.fence, lane.at, after(lane.at, 3), batches)


def test_a_host_whose_lane_is_claimed_while_it_writes_has_lost_it(tmp_path: Path, ending: str) -> None:
    target = a_target(tmp_path, ending)
    staging, zombie = begun(target)
    heir = LaneWriter(a_target(tmp_path, ending), staging, fence=2)
    batches = Overtaken(tmp_path, heir.claim)

    with pytest.raises(FenceLost, match="no longer stands at chunk 1 under fence 1: another host has it"):
        overtake(target, zombie, batches)

    assert batches.has_happened
    assert heir.at == zombie.at
    assert not list(tmp_path.rglob("*.draft"))
    heir.commit(numbered(4, 5))
    assert pairs(target.read_staging(staging)) == numbered(1, 5)


def test_a_host_whose_staging_is_taken_back_while_it_writes_has_lost_its_lane(tmp_path: Path, ending: str) -> None:
    target = a_target(tmp_path, ending)
    staging, zombie = begun(target)
    batches = Overtaken(tmp_path, lambda: a_target(tmp_path, ending).rollback([staging]))

    with pytest.raises(FenceLost, match="no longer stands at chunk 1 under fence 1"):
        overtake(target, zombie, batches)

    assert batches.has_happened
    assert not list(tmp_path.rglob("part-*"))
    assert not list(tmp_path.rglob("*.draft"))


def test_a_folder_that_somebody_deletes_under_a_lane_that_is_held_is_a_system_that_is_away(tmp_path: Path) -> None:
    target = a_target(tmp_path, "csv.gz")
    staging, lane = begun(target)
    folder = tmp_path / ".pymigrate" / "staging" / staging.id
    batches = Overtaken(tmp_path, lambda: folder.rename(tmp_path / "elsewhere"))

    with pytest.raises(SystemUnavailable, match="No such file or directory"):
        overtake(target, lane, batches)

    assert batches.has_happened
