"""Iceberg tables as targets: the contract, crashes between any two steps, and what is theirs alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IntegerType, ListType, LongType, NestedField, StringType, UUIDType

from pymigrate.engine.adapters.connectors.iceberg import IcebergConnector
from pymigrate.engine.adapters.connectors.iceberg_catalog import IcebergCatalog, TableMoved
from pymigrate.engine.adapters.connectors.iceberg_publication import place_of
from pymigrate.engine.adapters.connectors.iceberg_store import IcebergStore
from pymigrate.engine.domain.errors import (
    CannotUndo,
    FailedPrecondition,
    InvalidDefinition,
    MergeConflict,
    SystemUnavailable,
    TargetOccupied,
)
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import MergePolicy, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import a_staging, numbered, pairs, published, staged
from tests.integration.connectors.target_merge_contract import SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_types_contract import TypeContract

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("name", pa.string())])
ALL = AlwaysTrue()


class IcebergHarness:
    """A catalogue and its warehouse; somebody else works in them with pyiceberg."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root / "warehouse"
        self.system = SystemSpec(
            "iceberg",
            "lake",
            {"catalog_path": str(root / "catalog.db"), "warehouse": str(self.root), "catalog_name": ""},
        )
        self._opened: list[Target] = []
        self.catalog = SqlCatalog("default", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}/theirs")

    def close(self) -> None:
        """What the test opened."""
        for target in self._opened:
            target.close()
        self.catalog.close()

    def open(self) -> Target:
        self._opened.append(IcebergConnector().open_target(self.system))
        return self._opened[-1]

    def table(self, relation: str) -> Table:
        place = place_of(relation)
        return self.catalog.load_table((place.namespace, place.name))

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        place = place_of(relation)
        self.catalog.create_namespace_if_not_exists(place.namespace)
        table = self.catalog.create_table((place.namespace, place.name), SCHEMA)
        if rows:
            table.append(rows_of(rows))

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        table = self.table(relation)
        table.append(rows_of([row]).cast(table.schema().as_arrow()))

    def change(self, relation: str, id: int, name: str) -> None:
        table = self.table(relation)
        table.overwrite(rows_of([(id, name)]).cast(table.schema().as_arrow()), f"id = {id}")

    def drop(self, relation: str) -> None:
        place = place_of(relation)
        self.catalog.drop_table((place.namespace, place.name))

    def make_view(self, view: str, relation: str) -> None:
        raise NotImplementedError(f"{view} over {relation}: the catalogue has no views")

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        found = self.table(relation).scan().to_arrow().to_pylist()
        return sorted((row["id"], row["name"]) for row in found)


def rows_of(rows: Sequence[tuple[int, str | None]]) -> pa.Table:
    return pa.table([[at for at, _ in rows], [text for _, text in rows]], schema=SCHEMA)


@pytest.fixture
def harness(tmp_path: Path) -> IcebergHarness:
    return IcebergHarness(tmp_path / "lake")


@pytest.fixture(autouse=True)
def closed(harness: IcebergHarness) -> Iterator[None]:
    yield
    harness.close()


class TestIcebergLanes(LaneContract):
    """See the contract."""


class TestIcebergStaging(StagingContract):
    """See the contract."""


class TestIcebergPublication(PublicationContract):
    """See the contract."""


class TestIcebergQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestIcebergSeals(SealContract):
    """See the contract."""


class TestIcebergCrashes(CrashContract):
    """See the contract."""


class TestIcebergTypes(TypeContract):
    """See the contract."""


class TestIcebergSnapshots:
    """One publication is one commit."""

    def test_a_replacement_is_one_commit_whose_snapshots_name_the_staging(self, harness: IcebergHarness) -> None:
        harness.make("sales.orders", numbered(1, 5))
        before = harness.table("sales.orders")
        staging = a_staging("sales.orders", is_replace=True)
        published(harness.open(), staging, numbered(7, 9))
        after = harness.table("sales.orders")
        assert after.metadata.metadata_log[-1].metadata_file == before.metadata_location
        [parent, *ours] = after.snapshots()
        assert parent == before.current_snapshot()
        assert [one.summary.additional_properties["pymigrate.staging"] for one in ours if one.summary] == [
            staging.id
        ] * 2
        assert harness.read("sales.orders") == numbered(7, 9)

    def test_a_rollback_returns_to_the_parent_and_leaves_no_trace(self, harness: IcebergHarness) -> None:
        harness.make("orders", numbered(1, 5))
        before = harness.table("orders")
        target, staging = harness.open(), a_staging(is_replace=True)
        published(target, staging, numbered(7, 9))
        target.rollback([staging])
        target.rollback([staging])
        after = harness.table("orders")
        assert after.snapshots() == before.snapshots()
        assert after.current_snapshot() == before.current_snapshot()
        assert not list(harness.root.glob("default/orders/data/*"))

    def test_a_table_that_never_had_a_snapshot_has_none_again(self, harness: IcebergHarness) -> None:
        harness.make("orders", [])
        target, staging = harness.open(), a_staging()
        published(target, staging, numbered(1, 3))
        assert harness.read("orders") == numbered(1, 3)
        target.rollback([staging])
        assert harness.table("orders").current_snapshot() is None
        assert target.rows("orders") == 0

    def test_sealing_expires_what_was_replaced_and_deletes_its_files(self, harness: IcebergHarness) -> None:
        target, first, second = harness.open(), a_staging(), a_staging(is_replace=True)
        published(target, first, numbered(1, 3))
        target.seal([first])
        [data] = harness.root.glob("default/orders/data/*")
        published(target, second, numbered(4, 6))
        target.seal([second])
        assert len(harness.table("orders").snapshots()) == 1
        assert not list(data.glob("*.parquet"))
        assert harness.read("orders") == numbered(4, 6)

    def test_a_parent_that_somebody_expired_can_not_be_returned_to(self, harness: IcebergHarness) -> None:
        harness.make("orders", numbered(1, 5))
        target, staging = harness.open(), a_staging(is_replace=True)
        published(target, staging, numbered(7, 9))
        table = harness.table("orders")
        table.maintenance.expire_snapshots().by_id(table.snapshots()[0].snapshot_id).commit()
        with pytest.raises(CannotUndo, match="is expired"):
            target.rollback([staging])
        assert harness.read("orders") == numbered(7, 9)

    def test_rows_are_appended_once_and_taken_out_again(self, harness: IcebergHarness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), a_staging(key=("id",), is_append=True)
        target.check(staging)
        published(target, staging, numbered(4, 9))
        target.publish([staging])
        assert harness.read("orders") == numbered(1, 9)
        assert pairs(target.read_staging(staging)) == numbered(4, 9)
        assert target.count_staging(staging) == 6
        target.rollback([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_a_key_that_is_there_already_is_not_appended(self, harness: IcebergHarness) -> None:
        harness.make("orders", numbered(1, 3))
        target, staging = harness.open(), a_staging(key=("id",), is_append=True)
        staged(target, staging, numbered(2, 5))
        with pytest.raises(MergeConflict, match="2 of the keys already, such as 2, 3"):
            target.publish([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_a_commit_that_meets_another_is_not_made_on_top_of_it(self, harness: IcebergHarness) -> None:
        harness.make("orders", numbered(1, 3))
        catalog = IcebergCatalog(harness.root.parent / "catalog.db", harness.root, "default")
        place = place_of("orders")
        table = catalog.find(place)
        assert table is not None
        harness.append("orders", (4, "theirs"))
        path = harness.root / "x.parquet"
        harness.root.mkdir(exist_ok=True)
        pq.write_table(rows_of([(9, "ours")]), path)
        changes: list[Callable[[], None]] = [
            lambda: catalog.put(table, place, [path], "s1", is_replace=False),
            lambda: catalog.put(table, place, [path], "s1", is_replace=True),
            lambda: catalog.drop(table, place),
            lambda: catalog.make(place, SCHEMA, harness.root / "x", [path], "s1"),
        ]
        for change in changes:
            with pytest.raises(TableMoved):
                change()
        catalog.close()
        assert harness.read("orders") == [*numbered(1, 3), (4, "theirs")]


class Dying(Exception):
    """A host ends here."""


class MortalCatalog(IcebergCatalog):
    """Dies before or after one of its commits."""

    step = ""
    is_after = False

    def _die(self, step: str, *, is_after: bool) -> None:
        if (self.step, self.is_after) == (step, is_after):
            raise Dying(step)

    def make(self, *arguments: object, **named: object) -> None:
        self._die("commit", is_after=False)
        super().make(*arguments, **named)  # type: ignore[arg-type]  # as they came
        self._die("commit", is_after=True)

    def put(self, *arguments: object, **named: object) -> None:
        self._die("commit", is_after=False)
        super().put(*arguments, **named)  # type: ignore[arg-type]  # as they came
        self._die("commit", is_after=True)

    def go_back(self, *arguments: object) -> None:
        self._die("go_back", is_after=False)
        super().go_back(*arguments)  # type: ignore[arg-type]  # as they came
        self._die("go_back", is_after=True)

    def drop(self, *arguments: object) -> None:
        self._die("go_back", is_after=False)
        super().drop(*arguments)  # type: ignore[arg-type]  # as they came
        self._die("go_back", is_after=True)

    def expire(self, *arguments: object) -> None:
        self._die("expire", is_after=False)
        super().expire(*arguments)  # type: ignore[arg-type]  # as they came
        self._die("expire", is_after=True)


def dying(harness: IcebergHarness, step: str, *, is_after: bool) -> Target:
    """A target whose host dies at a step."""
    target = harness.open()
    catalog = MortalCatalog(harness.root.parent / "catalog.db", harness.root, "default")
    catalog.step, catalog.is_after = step, is_after
    target.close()
    target._catalog = target._publications._catalog = catalog  # type: ignore[attr-defined]  # of an IcebergTarget
    return target


@pytest.mark.parametrize("is_there", [True, False], ids=["replaced", "made"])
class TestIcebergCrashBetweenSteps:
    """A crash between any two steps of publication and of the way back; the next call ends what was begun."""

    def begin(self, harness: IcebergHarness, is_there: bool) -> Staging:
        if is_there:
            harness.make("orders", [(9, "mine")])
        return a_staging(is_replace=True)

    def check_before(self, harness: IcebergHarness, is_there: bool) -> None:
        if is_there:
            assert harness.read("orders") == [(9, "mine")]
        else:
            assert harness.open().rows("orders") is None

    @pytest.mark.parametrize("is_after", [False, True])
    @pytest.mark.parametrize("then", ["publish", "rollback", "read"])
    def test_a_publication_is_ended_or_undone(
        self, harness: IcebergHarness, is_there: bool, is_after: bool, then: str
    ) -> None:
        staging = self.begin(harness, is_there)
        target = dying(harness, "commit", is_after=is_after)
        staged(target, staging, numbered(1, 3))
        with pytest.raises(Dying):
            target.publish([staging])
        target.close()
        heir = harness.open()
        if then == "read":
            assert pairs(heir.read_staging(staging)) == numbered(1, 3)
            assert heir.count_staging(staging) == 3
        if then != "rollback":
            heir.publish([staging])
            assert harness.read("orders") == numbered(1, 3)
            ours = [
                one for one in harness.table("orders").snapshots() if one.summary and one.summary["pymigrate.staging"]
            ]
            assert len(ours) == (2 if is_there else 1)
        heir.rollback([staging])
        self.check_before(harness, is_there)
        assert not list(harness.root.glob("default/orders/data/*"))
        with pytest.raises(FailedPrecondition):
            heir.publish([staging])

    @pytest.mark.parametrize("moved", [False, True])
    def test_a_publication_that_was_only_journaled_goes_on(
        self, harness: IcebergHarness, is_there: bool, moved: bool
    ) -> None:
        staging = self.begin(harness, is_there)
        target = dying(harness, "commit", is_after=False)
        staged(target, staging, numbered(1, 3))
        with pytest.raises(Dying):
            target.publish([staging])
        target.close()
        if not moved:
            store = IcebergStore(harness.root)
            [data] = harness.root.glob("default/orders/data/*")
            data.rename(store.staging(staging.id))
        heir = harness.open()
        assert heir.count_staging(staging) == 3
        heir.publish([staging])
        assert harness.read("orders") == numbered(1, 3)

    @pytest.mark.parametrize(
        ("step", "is_after"), [("go_back", False), ("go_back", True), ("expire", False), ("expire", True)]
    )
    def test_a_way_back_is_ended(self, harness: IcebergHarness, is_there: bool, step: str, is_after: bool) -> None:
        if step == "expire" and not is_there:
            pytest.skip("a table that is gone has no snapshots to expire")
        staging = self.begin(harness, is_there)
        target = dying(harness, step, is_after=is_after)
        published(target, staging, numbered(1, 3))
        with pytest.raises(Dying):
            target.rollback([staging])
        target.close()
        heir = harness.open()
        with pytest.raises(FailedPrecondition):
            heir.publish([staging])
        heir.rollback([staging])
        self.check_before(harness, is_there)
        assert not list(harness.root.glob("default/orders/data/*"))

    def test_somebody_elses_commit_before_ours_is_not_overwritten_unseen(
        self, harness: IcebergHarness, is_there: bool
    ) -> None:
        staging = replace(self.begin(harness, is_there), is_replace=False, is_append=True)
        target = dying(harness, "commit", is_after=False)
        staged(target, staging, numbered(1, 3))
        with pytest.raises(Dying):
            target.publish([staging])
        target.close()
        if is_there:
            harness.append("orders", (10, "theirs"))
        else:
            harness.make("orders", [(10, "theirs")])
        theirs = harness.read("orders")
        heir = harness.open()
        heir.publish([staging])
        assert harness.read("orders") == sorted([*theirs, *numbered(1, 3)])
        heir.rollback([staging])
        assert harness.read("orders") == theirs


class TestIcebergPlaces:
    """Tables that are there already, and places that are none."""

    def test_every_difference_of_a_table_is_listed(self, harness: IcebergHarness) -> None:
        harness.catalog.create_namespace("default")
        schema = Schema(
            NestedField(1, "id", IntegerType(), required=True),
            NestedField(2, "nam", StringType()),
            NestedField(3, "extra", StringType(), required=True),
        )
        harness.catalog.create_table("default.orders", schema)
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(is_replace=True))
        found = {problem.field: problem.description for problem in refused.value.problems}
        assert found["source.columns.id"] == "`orders` has it as int, and it comes as int64"
        assert "no column `name`; did you mean `nam`?" in found["source.columns.name"]
        assert "requires `extra`" in found["target.relation"]

    def test_a_partitioned_table_and_a_column_that_may_be_null_are_refused(self, harness: IcebergHarness) -> None:
        harness.catalog.create_namespace("default")
        schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "name", StringType(), required=True))
        spec = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "id"))
        harness.catalog.create_table("default.orders", schema, partition_spec=spec)
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(is_replace=True))
        assert [problem.field for problem in refused.value.problems] == ["target.relation", "source.columns.name"]

    def test_tables_of_others_are_described_in_our_words(self, harness: IcebergHarness) -> None:
        harness.catalog.create_namespace("a")
        schema = Schema(
            NestedField(1, "u", UUIDType()),
            NestedField(2, "l", ListType(3, LongType(), False)),
            NestedField(4, "n", LongType()),
        )
        harness.catalog.create_table("a.b", schema)
        [info] = harness.open().relations("a.*", 5)
        assert [(column.name, str(column.type)) for column in info.columns] == [
            ("u", "uuid"),
            ("l", "json"),
            ("n", "int64"),
        ]
        assert (info.relation, info.rows) == ("a.b", 0)

    def test_rows_of_others_are_in_the_way(self, harness: IcebergHarness) -> None:
        harness.make("orders", [(1, "x")])
        with pytest.raises(TargetOccupied):
            harness.open().check(a_staging())
        harness.table("orders").delete(ALL)
        harness.open().check(a_staging())

    @pytest.mark.parametrize("relation", ["", "x" * 201, "a\0b", "x__pymigrate_y"])
    def test_what_is_no_name_is_refused(self, harness: IcebergHarness, relation: str) -> None:
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(relation))
        assert refused.value.field == "target.relation"

    def test_merging_is_refused(self, harness: IcebergHarness) -> None:
        with pytest.raises(InvalidDefinition) as refused:
            harness.open().check(a_staging(key=("id",), merge=MergePolicy.OVERWRITE))
        assert [problem.field for problem in refused.value.problems] == ["target.load_mode"]

    def test_what_iceberg_lacks_goes_as_a_type_that_holds_it(self, harness: IcebergHarness) -> None:
        columns = [ColumnInfo(kind[:4], parse_type(kind)) for kind in ("int16", "uint64", "json", "uuid")]
        target, staging = harness.open(), a_staging(columns=columns)
        target.prepare(staging)
        target.publish([staging])
        fields = harness.table("orders").schema().fields
        assert [str(field.field_type) for field in fields] == ["int", "decimal(20, 0)", "string", "string"]

    def test_a_catalogue_that_is_no_database_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_text("no database, and longer than a header of sixteen bytes" * 20)
        options = {"catalog_path": f"{tmp_path}/broken.db", "warehouse": f"file://{tmp_path}/w"}
        with pytest.raises(SystemUnavailable, match="the Iceberg catalogue"):
            IcebergConnector().open_target(SystemSpec("iceberg", "lake", options))
        with pytest.raises(InvalidDefinition, match="no file in an existing folder"):
            IcebergConnector().open_target(SystemSpec("iceberg", "lake", options | {"catalog_path": "/nowhere/c.db"}))

    def test_a_catalogue_is_no_source(self, harness: IcebergHarness) -> None:
        with pytest.raises(FailedPrecondition, match="a target only"):
            IcebergConnector().open_source(harness.system)
