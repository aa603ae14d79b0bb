"""The Arrow routes against the best tool for each: one lane from its source into a published relation, and the same rows by the reference.

Ours is all that a run does but its read-back: staging, chunks with their checkpoints, the digest in flight, publication. A round measures
both sides in turns, so that a noisy machine is noisy for both. Bytes are those of the source's rows as CSV, the measure of every route.
"""

import itertools
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import duckdb  # noqa: E402  # the tests' servers are found from the root
import pgpq  # noqa: E402
import psycopg  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from _figures import interleaved  # noqa: E402
from _moving import Unasked  # noqa: E402
from psycopg.conninfo import conninfo_to_dict  # noqa: E402

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector  # noqa: E402
from pymigrate.engine.adapters.connectors.duckdb_extensions import load  # noqa: E402
from pymigrate.engine.adapters.connectors.files import FilesConnector  # noqa: E402
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector  # noqa: E402
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector  # noqa: E402
from pymigrate.engine.ports.connector import Connector, SystemSpec  # noqa: E402
from pymigrate.engine.ports.file_formats import ParquetFormat  # noqa: E402
from pymigrate.engine.ports.relations import SourceRelation  # noqa: E402
from pymigrate.engine.ports.source import Source  # noqa: E402
from pymigrate.engine.ports.staging import Staging, StagingId  # noqa: E402
from pymigrate.engine.ports.target import Target  # noqa: E402
from pymigrate.engine.transfer.attempt import copy_lane  # noqa: E402
from pymigrate.engine.transfer.inspection import inspect  # noqa: E402
from pymigrate.engine.transfer.inspection_job import InspectJob  # noqa: E402
from pymigrate.engine.transfer.lane_job import LaneJob  # noqa: E402
from pymigrate.engine.transfer.publication import publish, rollback  # noqa: E402
from tests.servers import running_cluster  # noqa: E402

THREADS = 2
REFERENCE_ROWS = 122_880
_NUMBERS = itertools.count()
CREATE = """
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer integer NOT NULL, code uuid NOT NULL, amount numeric(12,2) NOT NULL, tax numeric(38,10),
  weight double precision,
  share real, paid boolean, status varchar(20), note text, city text,
  placed timestamptz NOT NULL, shipped timestamp, day date, at time, raw bytea,
  small smallint, extra jsonb
)
"""
FILL = """
INSERT INTO orders SELECT n, n % 5000, md5(n::text)::uuid, n * 1.25, n / 7.0, n / 3.0, n / 9.0, n % 2 = 0, 'status ' || n % 7,
  CASE WHEN n % 5 = 0 THEN NULL ELSE 'a note of some length on order ' || n END, 'Zürich ' || n % 100,
  timestamptz '2020-01-01 00:00:00Z' + n * interval '1 minute',
  CASE WHEN n % 3 = 0 THEN timestamp '2020-01-02' + n * interval '1 second' END,
  date '2020-01-01' + n % 1000, time '00:00' + n % 86400 * interval '1 second', decode(md5(n::text), 'hex'), n % 100,
  jsonb_build_object('n', n, 'x', 1.10)
FROM generate_series(1, {rows}) AS n
"""
SQLITE = """
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, status VARCHAR(20), amount REAL, quantity INTEGER, paid BOOLEAN,
  note TEXT, placed TEXT,
  city VARCHAR(40), weight DOUBLE, raw BLOB, price REAL
);
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO orders SELECT i, i % 5000, 'status ' || i % 7, i * 1.25, i % 50, i % 2,
  CASE WHEN i % 5 THEN 'a note of some length on order ' || i END,
  datetime(1600000000 + i, 'unixepoch'), 'Zürich ' || i % 100, i / 3.0,
  CASE WHEN i % 3 THEN CAST(x'00ff' || i AS BLOB) END, i * 0.01 FROM n;
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Median seconds of both sides for the same bytes."""

    ours_seconds: float
    reference_seconds: float
    bytes: int

    @property
    def ratio(self) -> float:
        """Our speed over the reference's."""
        return self.reference_seconds / self.ours_seconds


@dataclass(frozen=True, slots=True)
class Route:
    """A relation of a source, and the target that it is copied into under a new name each time."""

    source: Connector
    source_system: SystemSpec
    relation: SourceRelation
    target: Connector
    target_system: SystemSpec

    def copy(self) -> str:
        """Copies, publishes and takes back; the path that was chosen."""
        name = f"orders_{next(_NUMBERS)}"
        job = InspectJob(
            self.relation, StagingId(f"r{name}"), name, False, self.source_system, self.target_system, lanes_max=1
        )
        found = inspect(job, self._open_source, self._open_target)
        if found.source is None or found.problems:
            raise AssertionError(found.problems)
        staging = Staging(job.staging_id, name, found.source.columns, path=found.choice.path)
        lane = LaneJob("orders", self.relation, staging, "lane", 1, found.source_state)
        copy_lane(lane, self._open_source, self._open_target, Unasked(), lambda _: None)
        publish([staging], self._open_target)
        rollback([staging], self._open_target)
        return found.choice.path

    def _open_source(self) -> Source:
        return self.source.open_source(self.source_system)

    def _open_target(self) -> Target:
        return self.target.open_target(self.target_system)


def postgres_to_parquet(rows: int, rounds: int = 3) -> Measured:
    """Reference: DuckDB's COPY of its PostgreSQL scanner's rows into Parquet, with zstd as ours."""
    with _postgres(rows) as (dsn, size), _folder() as folder, _duckdb(":memory:", "postgres_scanner") as tool:

        def reference() -> None:
            tool.execute(
                f"COPY (SELECT * FROM postgres_scan('{_scanned(dsn)}', 'public', 'orders')) "
                f"TO '{folder}/reference.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )

        route = _route(dsn, FilesConnector(), SystemSpec("files", "lake", {"root": str(folder)}))
        return _measured(route, reference, rounds, size)


def postgres_to_duckdb(rows: int, rounds: int = 3) -> Measured:
    """Reference: DuckDB's CREATE TABLE from its PostgreSQL scanner, into a file."""
    with _postgres(rows) as (dsn, size), _folder() as folder:
        reference = _into_file(
            folder, "postgres_scanner", f"SELECT * FROM postgres_scan('{_scanned(dsn)}', 'public', 'orders')"
        )
        route = _route(dsn, DuckdbConnector(), SystemSpec("duckdb", "w", {"path": str(folder / "ours.duckdb")}))
        return _measured(route, reference, rounds, size)


def sqlite_to_duckdb(rows: int, rounds: int = 3) -> Measured:
    """Reference: DuckDB's CREATE TABLE from its SQLite scanner, into a file."""
    with _folder() as folder:
        with closing(sqlite3.connect(folder / "legacy.db")) as legacy:
            legacy.executescript(SQLITE.replace("{rows}", str(rows)))
        reference = _into_file(folder, "sqlite_scanner", f"SELECT * FROM sqlite_scan('{folder}/legacy.db', 'orders')")
        route = Route(
            SqliteConnector(),
            SystemSpec("sqlite", "legacy", {"path": str(folder / "legacy.db")}),
            SourceRelation("orders"),
            DuckdbConnector(),
            SystemSpec("duckdb", "w", {"path": str(folder / "ours.duckdb")}),
        )
        with _duckdb(":memory:", "sqlite_scanner") as tool:
            size = _csv_bytes(tool, folder, f"SELECT * FROM sqlite_scan('{folder}/legacy.db', 'orders')")
        return _measured(route, reference, rounds, size)


def parquet_to_postgres(rows: int, rounds: int = 3) -> Measured:
    """Reference: pyarrow's batches of the file through pgpq into COPY binary, in one transaction."""
    with _postgres(rows) as (dsn, size), _folder() as folder:
        with _duckdb(":memory:", "postgres_scanner") as tool:
            tool.execute(
                "COPY (SELECT * EXCLUDE (code), code::VARCHAR AS code FROM "
                f"postgres_scan('{_scanned(dsn)}', 'public', 'orders') ORDER BY id) "
                f"TO '{folder}/orders.parquet' (FORMAT parquet, ROW_GROUP_SIZE {REFERENCE_ROWS})"
            )

        def reference() -> None:
            with psycopg.connect(dsn) as connection:
                columns = _pgpq_table(connection, pq.read_schema(folder / "orders.parquet"))
                with connection.cursor().copy(f"COPY reference ({columns}) FROM STDIN (FORMAT binary)") as copy:
                    file = pq.ParquetFile(folder / "orders.parquet")
                    encoder = pgpq.ArrowToPostgresBinaryEncoder(file.schema_arrow)
                    copy.write(encoder.write_header())
                    for batch in file.iter_batches():
                        copy.write(encoder.write_batch(batch))
                    copy.write(encoder.finish())

        route = Route(
            FilesConnector(),
            SystemSpec("files", "lake", {"root": str(folder)}),
            SourceRelation("orders.parquet", ParquetFormat()),
            PostgresConnector(),
            _system(dsn),
        )
        return _measured(route, reference, rounds, size)


ROUTES = {
    "postgres_to_parquet": postgres_to_parquet,
    "postgres_to_duckdb": postgres_to_duckdb,
    "sqlite_to_duckdb": sqlite_to_duckdb,
    "parquet_to_postgres": parquet_to_postgres,
}


def _measured(route: Route, reference: Callable[[], object], rounds: int, size: int) -> Measured:
    route.copy()  # what is imported and loaded once is no part of a route
    ours, theirs = interleaved([route.copy, reference], rounds)
    return Measured(ours, theirs, size)


def _route(dsn: str, target: Connector, system: SystemSpec) -> Route:
    return Route(PostgresConnector(), _system(dsn), SourceRelation("orders"), target, system)


def _system(dsn: str) -> SystemSpec:
    parts = conninfo_to_dict(dsn)
    names = {"host": "host", "port": "port", "database": "dbname", "user": "user"}
    return SystemSpec("postgres", "legacy", {name: str(parts[key]) for name, key in names.items()})


def _scanned(dsn: str) -> str:
    return " ".join(f"{name}={value}" for name, value in conninfo_to_dict(dsn).items())


def _into_file(folder: Path, extension: str, query: str) -> Callable[[], None]:
    def reference() -> None:
        path = folder / "reference.duckdb"
        path.unlink(missing_ok=True)
        with _duckdb(path, extension) as tool:
            tool.execute(f"CREATE TABLE orders AS {query}")

    return reference


def _pgpq_table(connection: psycopg.Connection, schema: pa.Schema) -> str:
    encoder = pgpq.ArrowToPostgresBinaryEncoder(schema)
    kinds = [column.data_type.ddl() for column in encoder.schema().columns]
    types = dict(zip(schema.names, kinds, strict=True))
    connection.execute("DROP TABLE IF EXISTS reference")
    connection.execute(f"CREATE TABLE reference ({', '.join(f'{name} {kind}' for name, kind in types.items())})")
    return ", ".join(types)


@contextmanager
def _postgres(rows: int) -> Iterator[tuple[str, int]]:
    with running_cluster("registry") as cluster, _folder() as folder:
        dsn = cluster.dsn()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(CREATE)
            connection.execute(FILL.replace("{rows}", str(rows)))
            connection.execute("VACUUM ANALYZE orders")
        with _duckdb(":memory:", "postgres_scanner") as tool:
            size = _csv_bytes(tool, folder, f"SELECT * FROM postgres_scan('{_scanned(dsn)}', 'public', 'orders')")
        yield dsn, size


def _csv_bytes(tool: duckdb.DuckDBPyConnection, folder: Path, query: str) -> int:
    tool.execute(f"COPY ({query}) TO '{folder}/size.csv'")
    size = (folder / "size.csv").stat().st_size
    (folder / "size.csv").unlink()
    return size


@contextmanager
def _duckdb(path: Path | str, extension: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(path, config={"threads": THREADS}) as tool:
        load(tool, extension)
        yield tool


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pymigrate-routes-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measures the routes that are named, all without a name: `python benchmarks/_routes.py 300000 sqlite_to_duckdb`."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    for name in sys.argv[2:] or ROUTES:
        found = ROUTES[name](rows)
        speed = found.bytes / 1e6 / found.ours_seconds
        print(
            f"{name}: {found.ours_seconds:.2f} s against {found.reference_seconds:.2f} s, ratio {found.ratio:.2f}, {speed:.0f} MB/s"
        )


if __name__ == "__main__":
    main()
