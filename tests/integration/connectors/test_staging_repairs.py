"""Storage that does not keep what it was given, in real databases: the rows are found, named, copied again, and proved in full.

Tens of thousands of rows, damaged by hand in the staging: a changed value, a lost row, a doubled row, values that changed places, an empty
text for a NULL.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.part_formats import parts_of
from pymigrate.engine.adapters.connectors.parts_repair import take_out
from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource
from pymigrate.engine.domain.errors import SourceChanged, VerificationFailed
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import PassingSource, Source
from pymigrate.engine.ports.staging import Staging, StagingId
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.connectors import MemoryConnector
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.mismatch import MismatchedRow
from pymigrate.engine.transfer.verification import Verification, verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.integration.connectors.test_duckdb_target import DuckdbHarness
from tests.integration.connectors.test_mysql_target import MysqlHarness
from tests.integration.connectors.test_parquet_target import ParquetHarness
from tests.integration.connectors.test_postgres_target import PostgresHarness
from tests.integration.connectors.test_sqlite_target import SqliteHarness
from tests.servers import MariadbDatabase
from tests.unit.transfer.lanes import Asked

ROWS = 30_000
COLUMNS = (
    ColumnInfo("id", ColumnType("int64"), is_required=True),
    ColumnInfo("name", ColumnType("string")),
    ColumnInfo("price", ColumnType("float64")),
)
LEGACY = SystemSpec("memory", "legacy", {"path": "legacy"})
Harness = SqliteHarness | DuckdbHarness | PostgresHarness | MysqlHarness
Row = tuple[object, ...]
DAMAGED = {  # row by row as the staging's damage is told where there is a key
    MismatchedRow("6", "changed", ("name",)),
    MismatchedRow("9", "changed", ("name",)),
    MismatchedRow("100", "changed", ("price",)),
    MismatchedRow("101", "changed", ("price",)),
    MismatchedRow("4711", "changed", ("name",)),
    MismatchedRow("500", "surplus"),
    MismatchedRow("20000", "missing"),
}


def rows_of(count: int) -> list[Row]:
    return [(at, (None, "", f"name {at}")[at % 3], at / 7) for at in range(count)]


class Copied:
    """A staging that holds what a source does, and what is done to it."""

    def __init__(self, harness: Harness, key: tuple[str, ...], rows: Sequence[Row]) -> None:
        self.harness = harness
        self.connector = MemoryConnector()
        self.source = self.connector.databases["legacy"]
        self.source.put("orders", COLUMNS, rows)
        self.staging = Staging(StagingId("s1"), "orders", COLUMNS, key)
        self.table = '"orders__pymigrate_s1"'
        self.relation = SourceRelation("orders", chunk_bytes=200_000)
        self.fence = 0
        job = LaneJob("orders", self.relation, self.staging, "lane", 1)
        copy_lane(job, self.open_source, harness.open, Asked(), lambda _: None)

    def open_source(self) -> Source:
        return self.connector.open_source(LEGACY)

    def damage(self) -> None:
        """As a disk or a trigger might."""
        run, table = self.harness.run, self.table
        run(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = 500")
        self.lose_one(20000)
        run(f"UPDATE {table} SET name = 'changed' WHERE id = 4711")
        run(f"UPDATE {table} SET name = '' WHERE id = 6")
        run(f"UPDATE {table} SET name = NULL WHERE id = 9 + 1 - 1")
        run(f"UPDATE {table} SET name = ' ' WHERE id = 9")
        run(f"UPDATE {table} SET price = CASE id WHEN 100 THEN 101.0 / 7 ELSE 100.0 / 7 END WHERE id IN (100, 101)")

    def lose_one(self, id: int) -> None:
        """One of the rows of an id, which may be equal."""
        table, row = self.table, "ctid" if isinstance(self.harness, PostgresHarness) else "rowid"
        one = f"{row} = (SELECT min({row}) FROM {table} WHERE id = {id})"
        if isinstance(self.harness, MysqlHarness):
            one = f"id = {id} LIMIT 1"
        self.harness.run(f"DELETE FROM {table} WHERE {one}")

    def verified(self, level: Level) -> Verification:
        self.fence += 1
        job = VerifyJob("orders", self.relation, self.staging, ("lane",), level, fence=self.fence)
        return verify(job, self.open_source, self.harness.open, Asked())

    def staged(self) -> list[Row]:
        return sorted(self.harness.run(f"SELECT id, name, price FROM {self.table}"), key=repr)


class DamageContract:
    """What is done about a damaged staging."""

    @pytest.mark.parametrize(("key", "level"), [(("id",), Level.FULL), ((), Level.SAMPLED)])
    def test_exactly_the_damaged_rows_are_found_and_mended(
        self, harness: Harness, key: tuple[str, ...], level: Level
    ) -> None:
        rows = rows_of(ROWS)
        copied = Copied(harness, key, rows)
        copied.damage()
        found = copied.verified(level)
        assert (found.repair.rows, found.target_rows) == (len(DAMAGED) if key else 6, ROWS)
        if key:
            assert set(found.repair.examples) == DAMAGED
        assert found.target_checksum == found.transfer_checksum
        assert copied.staged() == sorted(rows, key=repr)
        assert copied.verified(level).repair == found.repair

    def test_a_row_that_is_there_several_times_is_a_multiset_without_a_key(self, harness: Harness) -> None:
        rows = [(7, "same", 1.5)] * 40 + [(8, None, None)] * 2
        copied = Copied(harness, (), rows)
        copied.lose_one(7)
        harness.run(f"INSERT INTO {copied.table} VALUES (8, NULL, NULL), (8, NULL, NULL)")
        found = copied.verified(Level.SAMPLED)
        assert {(each.row, each.kind) for each in found.repair.examples} == {
            ("(7, same, 1.5)", "missing"),
            ("(8, NULL, NULL)", "surplus"),
        }
        assert copied.staged() == sorted(rows, key=repr)

    def test_a_trigger_that_changes_rows_again_and_again_is_not_mended(self, harness: Harness) -> None:
        if isinstance(harness, DuckdbHarness):
            pytest.skip("DuckDB has no triggers")
        copied = Copied(harness, ("id",), rows_of(500))
        if isinstance(harness, PostgresHarness):
            harness.run(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'spoiled'; RETURN NEW; END $$"
            )
            harness.run(f"CREATE TRIGGER t BEFORE INSERT ON {copied.table} FOR EACH ROW EXECUTE FUNCTION spoil()")
        elif isinstance(harness, MysqlHarness):
            harness.run(f"CREATE TRIGGER t BEFORE INSERT ON {copied.table} FOR EACH ROW SET NEW.name = 'spoiled'")
        else:
            harness.run(
                f"CREATE TRIGGER t AFTER INSERT ON {copied.table} BEGIN UPDATE {copied.table} SET name = 'spoiled' "
                "WHERE rowid = NEW.rowid; END"
            )
        harness.run(f"UPDATE {copied.table} SET name = 'changed' WHERE id = 99")
        with pytest.raises(VerificationFailed, match="after 1 rows were repaired"):
            copied.verified(Level.FULL)
        with pytest.raises(VerificationFailed, match=r"99 \(other values in name\).* 1 rows were repaired already"):
            copied.verified(Level.FULL)

    def test_rows_of_a_source_that_changed_are_not_taken_for_the_copied_ones(self, harness: Harness) -> None:
        copied = Copied(harness, ("id",), rows_of(500))
        copied.source.put("orders", COLUMNS, [*rows_of(499), (499, "written since", None)])
        harness.run(f"DELETE FROM {copied.table} WHERE id = 7")
        with pytest.raises(SourceChanged):
            copied.verified(Level.SAMPLED)
        assert len(copied.staged()) == 499


class TestFiles(DamageContract):
    """Databases that are files."""

    @pytest.fixture(params=["sqlite", "duckdb"])
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
        is_sqlite = request.param == "sqlite"
        found = SqliteHarness(tmp_path / "w.sqlite") if is_sqlite else DuckdbHarness(tmp_path / "w.duckdb")
        yield found
        for target in found.opened:
            target.close()


class TestServers(DamageContract):
    """PostgreSQL."""

    @pytest.fixture
    def harness(self, postgres_database: str) -> Iterator[Harness]:
        found = PostgresHarness(postgres_database)
        yield found
        for target in found.opened:
            target.close()


class TestMysql(DamageContract):
    """MariaDB."""

    @pytest.fixture
    def harness(self, mariadb_database: MariadbDatabase) -> Iterator[Harness]:
        found = MysqlHarness(mariadb_database)
        yield found
        for target in found.opened:
            target.close()


EXOTIC = (
    "id bigint PRIMARY KEY, amount numeric, address inet, tags text[], matrix int[][], span int4range, took interval, at timestamptz, "
    "doc jsonb, raw bytea"
)
EXOTIC_ROWS = (
    "SELECT n, CASE n % 3 WHEN 0 THEN NULL ELSE n * 1.10 END, ('10.0.0.' || n % 250)::inet, ARRAY['a,b', NULL, 'n' || n], "
    "ARRAY[[n, 1], [2, 3]], int4range(n, n + 9), make_interval(mins => n), "
    "CASE WHEN n % 500 = 0 THEN NULL ELSE timestamptz '2024-02-29 12:00+00' + make_interval(secs => n) END, "
    """jsonb_build_object('n', n), decode(lpad(to_hex(n), 8, '0'), 'hex') FROM generate_series(1, 20000) n"""
)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("has_key", [True, False])
def test_rows_that_passed_undecoded_are_mended_in_their_own_types(
    postgres_database: str, has_key: bool, lanes: int
) -> None:
    harness = PostgresHarness(postgres_database)
    harness.run(f"CREATE TABLE legacy ({EXOTIC if has_key else EXOTIC.replace(' PRIMARY KEY', '')})")
    harness.run(f"INSERT INTO legacy {EXOTIC_ROWS}")
    relation = SourceRelation("legacy")
    with closing(PostgresSource(harness.system)) as source:
        info = source.describe(relation)
    assert info.key == (("id",) if has_key else ())
    staging = Staging(StagingId("s1"), "orders", info.columns, info.key, path=CopyPath.POSTGRES_BINARY)

    def open_source() -> Source:
        return PostgresSource(harness.system)

    asked = copied_in_lanes(open_source, harness.open, relation, staging, lanes)
    table = '"orders__pymigrate_s1"'
    harness.run(f"UPDATE {table} SET amount = amount + 0.01 WHERE id = 4711")
    harness.run(f"UPDATE {table} SET tags = ARRAY['a', 'b', 'n12'] WHERE id = 12")
    harness.run(f"UPDATE {table} SET doc = NULL, matrix = NULL WHERE id = 13")
    harness.run(f"DELETE FROM {table} WHERE id = 14")
    harness.run(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = 15")
    found = verify(asked, open_source, harness.open, Asked())
    if has_key:
        assert set(found.repair.examples) == {
            MismatchedRow("12", "changed", ("tags",)),
            MismatchedRow("13", "changed", ("matrix", "doc")),
            MismatchedRow("14", "missing"),
            MismatchedRow("15", "surplus"),
            MismatchedRow("4711", "changed", ("amount",)),
        }
    assert found.repair.rows == (5 if has_key else 4)
    assert found.source_checksum == found.target_checksum
    for one, other in (("legacy", table), (table, "legacy")):
        assert harness.run(f"SELECT count(*) FROM (SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}) d") == [(0,)]
    harness.run("UPDATE legacy SET amount = 0 WHERE id = 1")
    harness.run(f"DELETE FROM {table} WHERE id = 2")
    with pytest.raises(SourceChanged):
        verify(replace(asked, fence=2), open_source, harness.open, Asked())
    for target in harness.opened:
        target.close()


def copied_in_lanes(
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    relation: SourceRelation,
    staging: Staging,
    lanes: int,
) -> VerifyJob:
    """Copies a relation in so many lanes, and gives what to verify."""
    with closing(open_source()) as source:
        assert isinstance(source, PassingSource)
        ranges = source.passing_split(relation, staging.path, lanes)
    assert len(ranges) == lanes
    names = tuple(f"lane{at}" for at in range(lanes))
    for name, span in zip(names, ranges, strict=True):
        job = LaneJob("orders", replace(relation, range=span), staging, name, 1, is_alone=lanes == 1)
        copy_lane(job, open_source, open_target, Asked(), lambda _: None)
    spans = tuple(ranges) if lanes > 1 else ()
    return VerifyJob("orders", relation, staging, names, Level.FULL, ranges=spans)


@pytest.mark.parametrize("lanes", [1, 3])
def test_rows_that_passed_as_text_are_mended_also_where_several_lanes_brought_them(
    mariadb_database: MariadbDatabase, postgres_database: str, lanes: int
) -> None:
    mariadb_database.run(
        "CREATE TABLE legacy AS SELECT CAST(seq AS SIGNED) AS id, IF(seq % 3, CONCAT('na\\\\me\\t', seq), NULL) AS name, "
        "CAST(seq / 7 AS DECIMAL(12,4)) AS price FROM seq_1_to_20000"
    )
    mariadb_database.run("ALTER TABLE legacy ADD PRIMARY KEY (id)")
    harness, relation = PostgresHarness(postgres_database), SourceRelation("legacy")
    system = SystemSpec("mysql", "legacy", mariadb_database.options())

    def open_source() -> Source:
        return MysqlConnector().open_source(system)

    with closing(open_source()) as source:
        info = source.describe(relation)
    staging = Staging(StagingId("s1"), "orders", info.columns, info.key, path=CopyPath.POSTGRES_TEXT)
    asked = copied_in_lanes(open_source, harness.open, relation, staging, lanes)
    table = '"orders__pymigrate_s1"'
    harness.run(f"UPDATE {table} SET name = '' WHERE id = 12")
    harness.run(f"UPDATE {table} SET price = price + 0.0001 WHERE id = 19999")
    harness.run(f"DELETE FROM {table} WHERE id = 14")
    harness.run(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = 15")
    found = verify(asked, open_source, harness.open, Asked())
    assert set(found.repair.examples) == {
        MismatchedRow("12", "changed", ("name",)),
        MismatchedRow("14", "missing"),
        MismatchedRow("15", "surplus"),
        MismatchedRow("19999", "changed", ("price",)),
    }
    assert (found.source_checksum, found.target_rows) == (found.target_checksum, 20_000)
    with closing(harness.open()) as target:
        staged = [tuple(row.values()) for batch in target.read_staging(staging) for row in batch.to_pylist()]
    assert sorted(staged) == mariadb_database.run("SELECT * FROM legacy ORDER BY id")
    harness.run(f"DELETE FROM {table} WHERE id = 2")
    mariadb_database.run("UPDATE legacy SET name = 'written since' WHERE id = 1")
    with pytest.raises(SourceChanged):
        verify(replace(asked, fence=2), open_source, harness.open, Asked())
    for each in harness.opened:
        each.close()


def test_damaged_parquet_is_written_anew_also_where_a_crash_left_a_part_of_it_done(tmp_path: Path) -> None:
    harness, connector, rows = ParquetHarness(tmp_path / "lake"), MemoryConnector(), rows_of(ROWS)
    connector.databases["legacy"].put("orders", COLUMNS, rows)
    staging = Staging(StagingId("s1"), "orders", COLUMNS, ("id",))
    relation = SourceRelation("orders", chunk_bytes=100_000)

    def open_source() -> Source:
        return connector.open_source(LEGACY)

    copy_lane(LaneJob("orders", relation, staging, "lane", 1), open_source, harness.open, Asked(), lambda _: None)
    parts = parts_of(tmp_path / "lake/.pymigrate/staging/s1")
    assert len(parts) > 2
    for part, damage in ((parts[0], [(3, "changed", 3.0)]), (parts[1], [])):
        table = pq.read_table(part)
        spoiled = [tuple(row.values()) for row in table.to_pylist()]
        spoiled = [*spoiled[:3], *damage, *spoiled[4:], spoiled[5]]
        arrays = [pa.array([row[at] for row in spoiled], field.type) for at, field in enumerate(table.schema)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=table.schema), part)
    first = [tuple(row.values()) for row in pq.read_table(parts[0]).to_pylist()]
    # What a host had done when it died: one part is written anew, and the lane of repairs has made no step.
    take_out(staging, parts, [batch_of([first[3]])])
    job = VerifyJob("orders", relation, staging, ("lane",), Level.FULL, fence=1)
    found = verify(job, open_source, harness.open, Asked())
    assert {(each.row, each.kind) for each in found.repair.examples} == {
        ("3", "missing"),
        ("5", "surplus"),
        (str(len(first) + 2), "missing"),
        (str(len(first) + 4), "surplus"),
    }
    harness.open().publish([staging])
    stored = [tuple(row.values()) for row in pq.read_table(tmp_path / "lake/orders").to_pylist()]
    assert sorted(stored, key=repr) == sorted(rows, key=repr)


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    schema = arrow_schema(COLUMNS)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
