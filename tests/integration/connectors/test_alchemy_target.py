"""Any SQLAlchemy dialect as a target: the contract on two of them, and what no dialect may do."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.adapters.connectors.alchemy_target import AlchemyTarget
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, InvalidDefinition, SystemUnavailable
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import LaneWriter, a_staging, after, numbered, published
from tests.integration.connectors.target_merge_contract import ConflictTablesContract, MergeContract, SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract, ViewContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.test_sqlite_target import TestSqliteTypes as SqliteTypes
from tests.servers import PostgresCluster


class AlchemyHarness:
    """A database; somebody else works in it through an engine of their own."""

    def __init__(self, url: str) -> None:
        self.system = SystemSpec("sqlalchemy", "warehouse", {"url": url})
        self._opened: list[Target] = []
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)

    def close(self) -> None:
        """What the test opened."""
        for target in self._opened:
            target.close()
        self._engine.dispose()

    def open(self) -> Target:
        self._opened.append(SqlalchemyConnector().open_target(self.system))
        return self._opened[-1]

    def run(self, statement: str, rows: Sequence[dict[str, object]] = ()) -> None:
        with self._engine.begin() as connection:
            if rows:
                connection.execute(sa.text(statement), rows)
            else:
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.run(f'CREATE TABLE "{relation}" (id BIGINT, name TEXT)')
        if rows:
            values: list[dict[str, object]] = [{"id": at, "name": text} for at, text in rows]
            self.run(f'INSERT INTO "{relation}" VALUES (:id, :name)', values)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.run(f'INSERT INTO "{relation}" (id, name) VALUES (:id, :name)', [{"id": row[0], "name": row[1]}])

    def change(self, relation: str, id: int, name: str) -> None:
        self.run(f'UPDATE "{relation}" SET name = :name WHERE id = :id', [{"id": id, "name": name}])

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        with self._engine.connect() as connection:
            table = f'"{relation}__pymigrate_conflicts_{staging.id}"'
            rows = connection.exec_driver_sql(f"SELECT side, id, name FROM {table}").fetchall()
        return [(row[0], row[1], row[2]) for row in rows]

    def drop(self, relation: str) -> None:
        self.run(f'DROP TABLE "{relation}"')

    def make_view(self, view: str, relation: str) -> None:
        self.run(f'CREATE VIEW "{view}" AS SELECT * FROM "{relation}"')

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        with self._engine.connect() as connection:
            rows = connection.exec_driver_sql(f'SELECT id, name FROM "{relation}" ORDER BY id, name').fetchall()
        return [(row[0], row[1]) for row in rows]


def postgres_url(dsn: str) -> str:
    """The database by the URL of psycopg's dialect."""
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    query = {"host": str(found["host"]), "port": str(found["port"])}
    made = sa.URL.create("postgresql+psycopg", username=str(found["user"]), database=str(found["dbname"]), query=query)
    return made.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_cluster(postgres_clusters: Callable[[str], PostgresCluster]) -> PostgresCluster:
    """One version is enough: nothing here asks which it is, and what differs between versions the own connector's tests hold."""
    return postgres_clusters("machine")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[AlchemyHarness]:
    harness = AlchemyHarness(f"sqlite:///{tmp_path}/w.db")
    yield harness
    harness.close()


class OnPostgres:
    """With psycopg's dialect instead."""

    @pytest.fixture
    def harness(self, postgres_database: str) -> Iterator[AlchemyHarness]:
        harness = AlchemyHarness(postgres_url(postgres_database))
        yield harness
        harness.close()


class TestSqliteLanes(LaneContract):
    """See the contract."""


class TestSqliteStaging(StagingContract):
    """See the contract."""


class TestSqlitePublication(PublicationContract):
    """See the contract."""


class TestSqliteQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestSqliteViews(ViewContract):
    """See the contract."""


class TestSqliteSeals(SealContract):
    """See the contract."""


class TestSqliteMerges(MergeContract, ConflictTablesContract, RepairContract):
    """Merging, and exchanging rows of a staging."""


class TestSqliteCrashes(CrashContract):
    """See the contract."""


class TestSqliteTypes(SqliteTypes):
    """See the contract; with what SQLite can't hold."""


class TestPostgresLanes(OnPostgres, LaneContract):
    """See the contract."""


class TestPostgresStaging(OnPostgres, StagingContract):
    """See the contract."""


class TestPostgresPublication(OnPostgres, PublicationContract, ViewContract):
    """See the contract."""


class TestPostgresMerges(OnPostgres, MergeContract, ConflictTablesContract, SealContract, RepairContract):
    """Merging, what can't be undone any more, and exchanging rows of a staging."""


class TestPostgresCrashes(OnPostgres, CrashContract):
    """See the contract."""


def test_nothing_is_appended_where_the_system_does_not_tell_rows_apart(harness: AlchemyHarness) -> None:
    harness.make("orders", numbered(1, 3))
    with pytest.raises(InvalidDefinition) as refused:
        harness.open().check(a_staging(is_append=True))
    assert refused.value.field == "target.load_mode"


def test_the_key_is_a_unique_index(harness: AlchemyHarness) -> None:
    published(harness.open(), a_staging(key=("id",)), numbered(1, 3))
    with pytest.raises(sa.exc.IntegrityError):
        harness.append("orders", (1, "again"))


def test_a_row_that_a_driver_refuses_is_told_with_its_range(harness: AlchemyHarness) -> None:
    target, staging = (
        harness.open(),
        a_staging(columns=[ColumnInfo("id", parse_type("int64")), ColumnInfo("name", parse_type("string"))]),
    )
    target.prepare(staging)
    writer = LaneWriter(target, staging).claim()
    harness.run(f'CREATE UNIQUE INDEX once ON "orders__pymigrate_{staging.id}" (id)')
    with pytest.raises(DataRefused, match="orders, rows 1 to 2: "):
        writer.commit([(1, "a"), (1, "b")])
    assert target.count_staging(staging) == 0


@pytest.mark.parametrize("name", ["mysql", "mariadb", "oracle"])
def test_a_dialect_whose_ddl_commits_is_refused_before_a_row_is_copied(tmp_path: Path, name: str) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/w.db", poolclass=sa.NullPool)
    target = AlchemyTarget(engine)
    engine.dialect.name = name
    with pytest.raises(InvalidDefinition, match="no publication could be taken back") as refused:
        target.check(a_staging())
    engine.dialect.name = "sqlite"
    target.close()
    assert refused.value.field == "target.connection"


class CommittingTarget(AlchemyTarget):
    """Its DDL commits by itself."""

    def _execute(self, statement: str, parameters: Sequence[object] = ()) -> int:
        found = super()._execute(statement, parameters)
        if statement.startswith("CREATE"):
            super()._execute("COMMIT")
            super()._execute("BEGIN")
        return found


def test_a_dialect_that_commits_behind_our_back_is_found_out_and_nothing_stays(tmp_path: Path) -> None:
    target = CommittingTarget(sa.create_engine(f"sqlite:///{tmp_path}/w.db", poolclass=sa.NullPool))
    with pytest.raises(FailedPrecondition, match="its DDL commits by itself"):
        target.prepare(a_staging())
    target.close()
    with sqlite3.connect(tmp_path / "w.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SystemUnavailable, match="is away or busy"):
        SqlalchemyConnector().open_target(
            SystemSpec("sqlalchemy", "w", {"url": f"sqlite:///{tmp_path}/no/such/folder.db"})
        )


class TestPostgresValues(OnPostgres):
    """Every type through a driver that has it."""

    def test_values_of_every_type_come_back_as_they_were(self, harness: AlchemyHarness) -> None:
        values: dict[str, list[object]] = {
            "bool": [True, None],
            "int16": [-(2**15), None],
            "uint64": [2**64 - 1, None],
            "float32": [0.5, None],
            "float64": [0.1, None],
            "decimal(38,10)": [Decimal("1.1000000000"), None],
            "bytes": [b"\x00\xff", None],
            "date": [date(2024, 2, 29), None],
            "time": [time(12, 30, 0, 1), None],
            "timestamp": [datetime(1, 1, 1), None],  # noqa: DTZ001  # a moment without a zone
            "timestamptz": [datetime(2024, 2, 29, 12, tzinfo=UTC), None],
            "json": ['{"a": 1.10}', None],
            "uuid": ["00000000-0000-0000-0000-00000000000a", None],
        }
        columns = [ColumnInfo(f"c{at}", parse_type(kind)) for at, kind in enumerate(values)]
        target, staging = harness.open(), a_staging(columns=columns)
        target.prepare(staging)
        schema = arrow_schema(columns)
        arrays = [pa.array(found, field.type) for found, field in zip(values.values(), schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        target.claim(staging, "lane", 1)
        target.commit(staging, "lane", 1, Checkpoint(), after(Checkpoint(), 2), [batch])
        assert list(target.read_staging(staging)) == [batch]
