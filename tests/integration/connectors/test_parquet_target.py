"""Folders of Parquet as targets: the contract, and what is theirs alone."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.part_formats import FORMATS, facts, parts_of
from pymigrate.engine.adapters.connectors.parts_store import PartsStore, Publication
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, Dangling, MergePolicy, ReferenceCheck, Staging
from pymigrate.engine.ports.target import SettingApart, Target
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import AppendCrashContract, CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import (
    ID,
    LaneWriter,
    a_batch,
    a_staging,
    numbered,
    pairs,
    published,
    staged,
)
from tests.integration.connectors.target_merge_contract import SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract, refused, step
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.target_types_contract import TypeContract

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("name", pa.string())])


class ParquetHarness:
    """A folder; somebody else writes files in it with pyarrow."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = SystemSpec("files", "lake", {"root": str(root)})

    def open(self) -> Target:
        return FilesConnector().open_target(self.system)

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        (self.root / relation).mkdir(parents=True)
        self.write(relation, "mine.parquet", rows)

    def write(self, relation: str, name: str, rows: Sequence[tuple[int, str | None]]) -> None:
        table = pa.table([[at for at, _ in rows], [text for _, text in rows]], schema=SCHEMA)
        pq.write_table(table, self.root / relation / name)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.write(relation, f"more-{len(list((self.root / relation).iterdir()))}.parquet", [row])

    def change(self, relation: str, id: int, name: str) -> None:
        for path in sorted((self.root / relation).glob("*.parquet")):
            rows = [(row["id"], row["name"]) for row in pq.read_table(path).to_pylist()]
            if any(at == id for at, _ in rows):
                self.write(relation, path.name, [(at, name if at == id else text) for at, text in rows])

    def change_one(self, relation: str, id: int, name: str) -> None:
        path = max((self.root / relation).glob("*.parquet"))
        rows = [(row["id"], row["name"]) for row in pq.read_table(path).to_pylist()]
        self.write(relation, path.name, [(at, name if at == id else text) for at, text in rows])

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        raise NotADirectoryError(f"{relation} of {staging.id}: files are not merged into")

    def drop(self, relation: str) -> None:
        shutil.rmtree(self.root / relation)

    def make_view(self, view: str, relation: str) -> None:
        raise NotADirectoryError(f"{view} over {relation}: files have no views")

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        rows = []
        for path in (self.root / relation).glob("*.parquet"):
            rows += [(row["id"], row["name"]) for row in pq.read_table(path).to_pylist()]
        return sorted(rows, key=lambda row: (row[0], str(row[1])))


@pytest.fixture
def harness(tmp_path: Path) -> ParquetHarness:
    return ParquetHarness(tmp_path / "lake")


class TestParquetAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestParquetLanes(LaneContract):
    """See the contract."""


class TestParquetStaging(StagingContract):
    """See the contract."""


class TestParquetQuarantine(QuarantineContract):
    """Rows that are refused."""

    def test_a_crash_between_both_checkpoints_doubles_no_refused_row(self, harness: ParquetHarness) -> None:
        staging, apart = self._prepared(harness)
        target = harness.open()
        assert isinstance(target, SettingApart)
        chunk = (Checkpoint(), step(1, 1), [a_batch([(1, "a")])], apart, refused(1))
        in_the_way = harness.root / ".pymigrate" / "checkpoints" / staging.id / "lane.draft"
        in_the_way.mkdir()
        with pytest.raises(SystemUnavailable):
            target.commit_apart(staging, "lane", 1, *chunk)
        in_the_way.rmdir()
        assert target.claim(staging, "lane", 2) == Checkpoint()
        target.commit_apart(staging, "lane", 2, *chunk)
        assert (target.count_staging(staging), target.count_staging(apart)) == (1, 1)


class TestParquetPublication(PublicationContract):
    """See the contract."""


class TestParquetMerge(SealContract):
    """Merging, and what can't be undone any more."""


class TestParquetCrashes(CrashContract, AppendCrashContract):
    """See the contract."""


class TestParquetTypes(TypeContract):
    """See the contract."""


def stray(harness: ParquetHarness, staging: Staging, name: str) -> Path:
    """A part that a host left behind when it died between part and checkpoint."""
    path = PartsStore(harness.root).staging(staging.id) / name
    FORMATS["parquet"].write(path, staging.columns, [a_batch([(99, "stray")])])
    return path


class TestParquetParts:
    """What lies beyond a checkpoint does not exist."""

    def test_a_part_beyond_the_checkpoint_is_ignored_and_written_anew(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 2))
        stray(harness, staging, "part-lane-00000002.parquet")
        assert target.count_staging(staging) == 2
        assert pairs(target.read_staging(staging)) == numbered(1, 2)
        lane.commit(numbered(3, 5))
        assert pairs(target.read_staging(staging)) == numbered(1, 5)

    def test_a_claim_removes_whatever_lies_beyond_the_checkpoint(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 2))
        beyond = [stray(harness, staging, f"part-lane-{chunk:08}.parquet") for chunk in (2, 3)]
        other = stray(harness, staging, "part-other-00000001.parquet")
        target.claim(staging, "lane", 9)
        assert [path.exists() for path in (*beyond, other)] == [False, False, True]
        assert pairs(target.read_staging(staging)) == numbered(1, 2)

    def test_a_reference_is_never_looked_up_outside_of_the_root(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, [(1, "a")])
        harness.make("../beside", [(1, "a")])
        for relation in ("../beside", str(harness.root.parent / "beside")):
            with pytest.raises(InvalidDefinition, match="there is no"):
                target.dangling(staging, ReferenceCheck(("name",), relation, ("name",)))

    def test_a_chunk_without_rows_removes_the_part_that_lies_in_its_place(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        path = stray(harness, staging, "part-lane-00000001.parquet")
        lane.commit([])
        assert not path.exists()
        assert target.count_staging(staging) == 0

    def test_publication_leaves_parts_beyond_the_checkpoint_and_drafts_behind(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, numbered(1, 2))
        stray(harness, staging, "part-lane-00000002.parquet")
        stray(harness, staging, "part-other-00000001.parquet")
        stray(harness, staging, ".lane-1.draft")
        target.publish([staging])
        assert [path.name for path in (harness.root / "orders").iterdir()] == ["part-lane-00000001.parquet"]

    def test_an_empty_relation_is_published_with_its_columns(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging(columns=(ID, ColumnInfo("mark", ColumnType("uuid"))))
        target.prepare(staging)
        assert target.dangling(staging, ReferenceCheck(("id",), "orders", ("id",))) == Dangling(0, 0, ())
        target.publish([staging])
        [info] = target.relations("*", 10)
        assert [(column.name, column.type.kind, column.is_required) for column in info.columns] == [
            ("id", "int64", True),
            ("mark", "uuid", False),
        ]
        assert (info.rows, target.rows("orders")) == (0, 0)

    def test_everything_dangles_where_the_other_relation_has_no_row(self, harness: ParquetHarness) -> None:
        target, staging = harness.open(), a_staging()
        staged(target, staging, [(1, "a"), (2, None)])
        harness.make("parents", [])
        assert target.dangling(staging, ReferenceCheck(("name",), "parents", ("name",))) == Dangling(1, 1, ("a",))

    @pytest.mark.parametrize(
        "relation", ["../out", "/etc/x", "a/../b", ".hidden", "a//b", "", "x" * 256, ".pymigrate/staging"]
    )
    def test_a_relation_that_is_no_folder_below_the_root_is_refused(
        self, harness: ParquetHarness, relation: str
    ) -> None:
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(relation))
        assert refused.value.field == "target.relation"

    def test_a_relation_above_another_or_in_the_place_of_a_file_is_refused(self, harness: ParquetHarness) -> None:
        target = harness.open()
        published(target, a_staging("sales/orders"), numbered(1, 2))
        (harness.root / "notes").write_text("mine")
        assert [info.relation for info in target.relations("*", 10)] == ["sales/orders"]
        for relation in ("sales", "notes", "notes/below"):
            with pytest.raises(InvalidDefinition):
                target.check(a_staging(relation, is_replace=True))

    def test_a_root_that_is_no_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for root in ("", str(tmp_path / "file")):
            with pytest.raises(InvalidDefinition) as refused:
                FilesConnector().open_target(SystemSpec("files", "lake", {"root": root}))
            assert refused.value.field == "root"


@pytest.mark.parametrize("moved", [0, 1, 2])
class TestParquetCrashBetweenRenames:
    """A crash after each step of publication and of the way back; the next call, whichever it is, ends what was begun."""

    def half_published(self, harness: ParquetHarness, moved: int) -> Staging:
        """The journal says `publishing`, and `moved` of the two folders are in their places."""
        harness.make("orders", [(9, "mine")])
        target, staging, store = harness.open(), a_staging(is_replace=True), PartsStore(harness.root)
        staged(target, staging, numbered(1, 3))
        files = facts(parts_of(store.staging(staging.id)))
        store.journal(staging.id, Publication("publishing", "orders", True, 3, files))
        if moved > 0:
            store.kept(staging.id).parent.mkdir()
            (harness.root / "orders").rename(store.kept(staging.id))
        if moved > 1:
            store.staging(staging.id).rename(harness.root / "orders")
        return staging

    def half_taken_back(self, harness: ParquetHarness, moved: int) -> Staging:
        """The journal says `rolling_back`, and `moved` of the two folders are in their places."""
        harness.make("orders", [(9, "mine")])
        target, staging, store = harness.open(), a_staging(is_replace=True), PartsStore(harness.root)
        published(target, staging, numbered(1, 3))
        journal = store.publication(staging.id)
        assert journal is not None
        store.journal(staging.id, replace(journal, state="rolling_back"))
        if moved > 0:
            store.discarded(staging.id).parent.mkdir()
            (harness.root / "orders").rename(store.discarded(staging.id))
        if moved > 1:
            store.kept(staging.id).rename(harness.root / "orders")
        return staging

    def test_publishing_again_ends_a_publication(self, harness: ParquetHarness, moved: int) -> None:
        staging = self.half_published(harness, moved)
        harness.open().publish([staging])
        assert harness.read("orders") == numbered(1, 3)
        harness.open().rollback([staging])
        assert harness.read("orders") == [(9, "mine")]

    def test_reading_ends_a_publication(self, harness: ParquetHarness, moved: int) -> None:
        staging = self.half_published(harness, moved)
        assert harness.open().count_staging(staging) == 3
        assert harness.read("orders") == numbered(1, 3)

    def test_rolling_back_undoes_half_a_publication(self, harness: ParquetHarness, moved: int) -> None:
        staging = self.half_published(harness, moved)
        harness.open().rollback([staging])
        assert harness.read("orders") == [(9, "mine")]

    def test_rolling_back_again_ends_a_way_back(self, harness: ParquetHarness, moved: int) -> None:
        staging = self.half_taken_back(harness, moved)
        harness.open().rollback([staging])
        assert harness.read("orders") == [(9, "mine")]
        assert not PartsStore(harness.root).discarded(staging.id).exists()

    def test_publishing_does_not_turn_a_way_back_around(self, harness: ParquetHarness, moved: int) -> None:
        staging = self.half_taken_back(harness, moved)
        with pytest.raises(FailedPrecondition):
            harness.open().publish([staging])
        assert harness.read("orders") == [(9, "mine")]


def test_files_are_not_merged_into(harness: ParquetHarness) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        harness.open().check(a_staging(key=("id",), merge=MergePolicy.OVERWRITE))
    assert [problem.field for problem in refused.value.problems] == ["target.load_mode"]
