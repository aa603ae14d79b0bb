"""The Arrow routes against the best tool for each: lanes from a source into a published relation, and the same rows by the reference.

Ours is all that a run does between its inspection and its read-back: staging, chunks with their checkpoints, the digest in flight,
publication. It is measured with one lane, and with as many as the reference has threads where the source can be split. A round measures all
in turns, so that a noisy machine is noisy for all. Bytes are those of the source's rows as CSV, the measure of every route.
"""

import shutil
import sqlite3
import statistics
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
from _figures import seconds  # noqa: E402
from _moving import Move, Origin, postgres  # noqa: E402
from psycopg.conninfo import conninfo_to_dict  # noqa: E402

from pymigrate.engine.adapters.connectors.duckdb_extensions import load  # noqa: E402
from pymigrate.engine.ports.connector import SystemSpec  # noqa: E402
from pymigrate.engine.ports.file_formats import ParquetFormat  # noqa: E402
from pymigrate.engine.ports.staging import Staging  # noqa: E402
from tests.servers import running_cluster  # noqa: E402

THREADS = 2
REFERENCE_ROWS = 122_880
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
    """Median seconds of both sides for the same bytes, ours with so many lanes, in words."""

    lanes: str
    path: str
    ours_seconds: float
    reference_seconds: float
    bytes: int

    @property
    def ratio(self) -> float:
        """Our speed over the reference's."""
        return self.reference_seconds / self.ours_seconds


def postgres_to_parquet(rows: int, rounds: int = 3) -> list[Measured]:
    """Reference: DuckDB's COPY of its PostgreSQL scanner's rows into Parquet, with zstd as ours."""
    with _postgres(rows) as (dsn, size), _folder() as folder, _duckdb(":memory:", "postgres_scanner") as tool:

        def reference() -> None:
            tool.execute(
                f"COPY (SELECT * FROM postgres_scan('{_scanned(dsn)}', 'public', 'orders')) "
                f"TO '{folder}/reference.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )

        lake = SystemSpec("files", "lake", {"root": str(folder)})
        return _measured(Origin(postgres(dsn), "orders"), lake, reference, rounds, size)


def postgres_to_duckdb(rows: int, rounds: int = 3) -> list[Measured]:
    """Reference: DuckDB's CREATE TABLE from its PostgreSQL scanner, into a file."""
    with _postgres(rows) as (dsn, size), _folder() as folder:
        reference = _into_file(
            folder, "postgres_scanner", f"SELECT * FROM postgres_scan('{_scanned(dsn)}', 'public', 'orders')"
        )
        warehouse = SystemSpec("duckdb", "w", {"path": str(folder / "ours.duckdb")})
        return _measured(Origin(postgres(dsn), "orders"), warehouse, reference, rounds, size)


def sqlite_to_duckdb(rows: int, rounds: int = 3) -> list[Measured]:
    """Reference: DuckDB's CREATE TABLE from its SQLite scanner, into a file."""
    with _folder() as folder:
        with closing(sqlite3.connect(folder / "legacy.db")) as connection:
            connection.executescript(SQLITE.replace("{rows}", str(rows)))
        reference = _into_file(folder, "sqlite_scanner", f"SELECT * FROM sqlite_scan('{folder}/legacy.db', 'orders')")
        legacy = Origin(SystemSpec("sqlite", "legacy", {"path": str(folder / "legacy.db")}), "orders")
        warehouse = SystemSpec("duckdb", "w", {"path": str(folder / "ours.duckdb")})
        with _duckdb(":memory:", "sqlite_scanner") as tool:
            size = _csv_bytes(tool, folder, f"SELECT * FROM sqlite_scan('{folder}/legacy.db', 'orders')")
        return _measured(legacy, warehouse, reference, rounds, size)


def parquet_to_postgres(rows: int, rounds: int = 3) -> list[Measured]:
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

        lake = Origin(SystemSpec("files", "lake", {"root": str(folder)}), "orders.parquet", ParquetFormat())
        return _measured(lake, postgres(dsn), reference, rounds, size)


ROUTES = {
    "postgres_to_parquet": postgres_to_parquet,
    "postgres_to_duckdb": postgres_to_duckdb,
    "sqlite_to_duckdb": sqlite_to_duckdb,
    "parquet_to_postgres": parquet_to_postgres,
}


def _measured(
    origin: Origin, target: SystemSpec, reference: Callable[[], object], rounds: int, size: int
) -> list[Measured]:
    moves = [Move(origin, target, "orders"), Move(origin, target, "orders", THREADS)]
    moves = list({move.lanes: move for move in moves}.values())
    kept: list[list[float]] = [[] for _ in (*moves, reference)]
    for _ in range(rounds + 1):  # the first warms all
        for move, found in zip(moves, kept, strict=False):
            staged: list[Staging] = []
            found.append(seconds(lambda: staged.append(move.whole())))  # noqa: B023 (called within the round)
            move.drop(staged[0])
        kept[-1].append(seconds(reference))
    *ours, theirs = (statistics.median(found[1:]) for found in kept)
    return [Measured(move.lanes, move.path, own, theirs, size) for move, own in zip(moves, ours, strict=True)]


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
        for found in ROUTES[name](rows):
            speed = found.bytes / 1e6 / found.ours_seconds
            print(
                f"{name}, {found.lanes}, {found.path}: {found.ours_seconds:.2f} s against {found.reference_seconds:.2f} s, "
                f"ratio {found.ratio:.2f}, {speed:.0f} MB/s"
            )


if __name__ == "__main__":
    main()
