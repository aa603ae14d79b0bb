"""SQLite files as targets: the contract, and what is SQLite's own."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.adapters.connectors.sqlite_target import SqliteTarget
from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, MergePolicy, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import AppendCrashContract, CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import ID, LaneWriter, a_staging, after, numbered, published
from tests.integration.connectors.target_merge_contract import ConflictTablesContract, MergeContract, SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract, ViewContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.target_types_contract import DAYS, FLOATS64, MOMENTS, TypeContract


class SqliteHarness:
    """A file; somebody else acts in it through a connection of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.system = SystemSpec("sqlite", "warehouse", {"path": str(path)})
        self.opened: list[Target] = []

    def open(self) -> Target:
        target = SqliteConnector().open_target(self.system)
        self.opened.append(target)
        return target

    def run(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(statement, tuple(parameters)).fetchall()

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.run(f'CREATE TABLE "{relation}" (id INTEGER NOT NULL, name TEXT)')
        for row in rows:
            self.append(relation, row)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.run(f'INSERT INTO "{relation}" VALUES (?, ?)', row)

    def change(self, relation: str, id: int, name: str) -> None:
        self.run(f'UPDATE "{relation}" SET name = ? WHERE id = ?', (name, id))

    def change_one(self, relation: str, id: int, name: str) -> None:
        last = f'SELECT max(rowid) FROM "{relation}" WHERE id = ?'
        self.run(f'UPDATE "{relation}" SET name = ? WHERE rowid = ({last})', (name, id))

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        return self.run(f'SELECT side, id, name FROM "{relation}__pymigrate_conflicts_{staging.id}"')  # type: ignore[return-value]  # its columns

    def drop(self, relation: str) -> None:
        self.run(f'DROP TABLE "{relation}"')

    def make_view(self, view: str, relation: str) -> None:
        self.run(f'CREATE VIEW "{view}" AS SELECT * FROM "{relation}"')

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        return self.run(f'SELECT id, name FROM "{relation}" ORDER BY id')  # type: ignore[return-value]  # its columns


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[SqliteHarness]:
    harness = SqliteHarness(tmp_path / "warehouse.sqlite")
    yield harness
    for target in harness.opened:
        target.close()


class TestSqliteLanes(LaneContract):
    """See the contract."""


class TestSqliteStaging(StagingContract):
    """See the contract."""


class TestSqliteQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestSqlitePublication(PublicationContract, ViewContract):
    """See the contract."""


class TestSqliteMerge(MergeContract, ConflictTablesContract, SealContract):
    """Merging, and what can't be undone any more."""


class TestSqliteAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestSqliteCrashes(CrashContract, AppendCrashContract):
    """See the contract."""


NOT_IN_TEXT = ("year 10000", "year 0", "year 294246", "lowest", "highest")


class TestSqliteTypes(TypeContract):
    """See the contract."""

    refuses = frozenset(
        {
            *(
                (kind, label)
                for kind in ("float32", "float64")
                for label in FLOATS64
                if "nan" in label or label == "minus zero"
            ),
            *(
                (kind, label)
                for kind in ("timestamp", "timestamptz")
                for label in MOMENTS
                if label.endswith(NOT_IN_TEXT)
            ),
            *((kind, label) for kind in ("timestamp", "timestamptz") for label in MOMENTS if "int64" in label),
            *(("date", label) for label in DAYS if label.endswith(NOT_IN_TEXT) or "int32" in label),
            ("time", "24:00"),
            ("time", "negative"),
        }
    )


class TestSqliteFiles:
    """The file, and names that are SQLite's."""

    def test_paths_that_cannot_be_a_sqlite_file_are_refused(self, tmp_path: Path) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("not a database" * 1000)
        for path in ("", str(tmp_path), str(tmp_path / "nowhere" / "x.sqlite"), str(text)):
            with pytest.raises(InvalidDefinition) as refused:
                SqliteConnector().open_target(SystemSpec("sqlite", "warehouse", {"path": path}))
            assert refused.value.field == "path"

    def test_a_file_in_wal_mode_goes_back_to_a_rollback_journal(self, harness: SqliteHarness) -> None:
        harness.run("PRAGMA journal_mode = WAL")
        harness.make("orders", [(1, "mine")])
        harness.open()
        assert harness.run("PRAGMA journal_mode") == [("delete",)]
        assert harness.read("orders") == [(1, "mine")]

    def test_a_file_that_others_use_in_wal_mode_is_unavailable(self, harness: SqliteHarness) -> None:
        with closing(sqlite3.connect(harness.path, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = WAL")
            other.execute("CREATE TABLE t (a)")
            other.execute("BEGIN")
            other.execute("SELECT * FROM t").fetchall()
            with pytest.raises(SystemUnavailable, match=r"in use|locked"):
                SqliteTarget(harness.system, busy_seconds=0.0)

    def test_a_commit_while_somebody_writes_gives_up_after_its_patience_and_can_be_tried_again(
        self, harness: SqliteHarness
    ) -> None:
        target, staging = SqliteTarget(harness.system, busy_seconds=0.0), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        with closing(sqlite3.connect(harness.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SystemUnavailable, match="locked"):
                lane.commit(numbered(1, 2))
            other.execute("ROLLBACK")
        lane.commit(numbered(1, 2))
        assert target.count_staging(staging) == 2
        target.close()

    def test_names_that_sqlite_keeps_are_refused(self, harness: SqliteHarness) -> None:
        target = harness.open()
        for relation in ("sqlite_orders", "_pymigrate_checkpoint"):
            with pytest.raises(InvalidDefinition) as refused:
                target.check(a_staging(relation))
            assert refused.value.field == "target.relation"
        text = ColumnType("string")
        with pytest.raises(InvalidDefinition, match="rowid"):
            target.check(a_staging(columns=[ColumnInfo(name, text) for name in ("ROWID", "_rowid_", "oid")]))

    def test_a_column_named_rowid_is_only_a_column(self, harness: SqliteHarness) -> None:
        columns = (ColumnInfo("rowid", ColumnType("string")), ColumnInfo("_ROWID_", ColumnType("int64")))
        target, staging = harness.open(), a_staging(columns=columns)
        target.check(staging)
        target.prepare(staging)
        target.claim(staging, "lane", 1)
        batch = pa.record_batch([["b", "a"], [7, 7]], schema=arrow_schema(columns))
        target.commit(staging, "lane", 1, Checkpoint(), after(Checkpoint(), 2), [batch])
        assert [found.to_pydict() for found in target.read_staging(staging)] == [batch.to_pydict()]

    def test_views_triggers_and_indexes_outlive_a_swap_and_its_way_back(self, harness: SqliteHarness) -> None:
        harness.make("Orders", [(1, "mine")])
        harness.make_view("named", "Orders")
        harness.run('CREATE INDEX by_name ON "Orders" (name)')
        target, staging = harness.open(), a_staging("orders", is_replace=True)
        published(target, staging, numbered(1, 3))
        assert harness.run("SELECT count(*) FROM named") == [(3,)]
        target.rollback([staging])
        assert harness.run("SELECT count(*) FROM named") == [(1,)]
        assert [info.relation for info in target.relations("*", 10)] == ["Orders", "named"]
        assert harness.run("SELECT tbl_name FROM sqlite_master WHERE name = 'by_name'") == [("Orders",)]
        assert target.rows("main.orders") == 1

    def test_a_value_that_somebody_else_spoilt_is_refused_on_the_way_out(self, harness: SqliteHarness) -> None:
        target, staging = harness.open(), a_staging()
        published(target, staging, numbered(1, 3))
        harness.run("UPDATE orders SET id = 'seven' WHERE id = 2")
        with pytest.raises(DataRefused, match="column `id`"):
            list(target.read_staging(staging))


@pytest.mark.parametrize("definition", ["id INTEGER PRIMARY KEY, name TEXT", "id INTEGER PRIMARY KEY DESC, name TEXT"])
def test_appended_rows_are_known_where_a_column_is_the_rowid(harness: SqliteHarness, definition: str) -> None:
    harness.run(f"CREATE TABLE orders ({definition})")
    harness.run("INSERT INTO orders VALUES (50, 'mine'), (2, 'mine')")
    target, staging = harness.open(), a_staging(is_append=True)
    published(target, staging, [(7, "new"), (60, "new"), (1, None)])
    harness.run("VACUUM")
    target.rollback([staging])
    assert harness.read("orders") == [(2, "mine"), (50, "mine")]


def test_a_table_without_rowid_takes_no_appends(harness: SqliteHarness) -> None:
    harness.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT) WITHOUT ROWID")
    with pytest.raises(InvalidDefinition, match="use `merge`") as refused:
        harness.open().check(a_staging(is_append=True))
    assert refused.value.field == "target.load_mode"


def test_rows_are_not_put_in_order_by_what_sqlite_keeps_as_text(harness: SqliteHarness) -> None:
    price = ColumnInfo("price", ColumnType("decimal", 9, 2))
    staging = a_staging(columns=(ID, price), key=("id",), merge=MergePolicy.LATEST, order_column="price")
    with pytest.raises(InvalidDefinition, match="can't put in order") as refused:
        harness.open().check(staging)
    assert refused.value.field == "order_column"
