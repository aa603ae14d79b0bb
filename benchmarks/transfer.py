"""Every route against the best tool for it: the same rows, in turns, on the same machine, with one lane and with one for each core.

Bytes are those of the rows as CSV, whatever travels; where it says so, those of COPY's binary form. Exactly-once commits and the digest in
flight are on; the read-back of `sampled` is measured apart. Servers run without fsync, for both sides alike. Peers that are not installed
are named and not measured (see `_peers.py`).

`--part NAME` measures one part, `--long` copies at least 5 GB in one go as well, and has fifty lanes on 3 GB.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import _fifty_lanes  # noqa: E402
import _peers  # noqa: E402
import _routes  # noqa: E402
import duckdb  # noqa: E402
import psycopg  # noqa: E402  # the tests' servers are found from the root
from _figures import RESULTS, Report, seconds  # noqa: E402
from _moving import FILL_MIXED, FILL_WIDE, MIXED, WIDE, Move, Origin, postgres, shell  # noqa: E402

from pymigrate.engine.domain.types import parse_type  # noqa: E402
from pymigrate.engine.ports.connector import SystemSpec  # noqa: E402
from pymigrate.engine.ports.staging import Staging  # noqa: E402
from tests.servers import PostgresCluster, machine_binaries, mariadb_program, newest, running_cluster, running_mariadb  # noqa: E402

MB = 1e6
WIDE_MB_PER_SECOND = 167
SUSTAINED_BYTES = 5_000_000_000
LANES_BYTES = 3_000_000_000
WIDE_ROW_BYTES = 1_550
QUARTERS = 4
LANES = 50
CSV_COLUMNS = {
    "id": "bigint",
    "a": "integer",
    "b": "smallint",
    "c": "bigint",
    "d": "numeric(12,2)",
    "f": "double precision",
    "i": "date",
    **dict.fromkeys("lmnr", "varchar"),
    "s": "integer",
    "t": "varchar",
}
CSV_TYPES = {
    **{name: parse_type("int64") for name in ("id", "c")},
    **{name: parse_type("int32") for name in ("a", "s")},
    "b": parse_type("int16"),
    "d": parse_type("decimal(12,2)"),
    "f": parse_type("float64"),
    "i": parse_type("date"),
}
POLARS_TYPES = {
    name: {
        "bigint": "Int64",
        "integer": "Int32",
        "smallint": "Int16",
        "double precision": "Float64",
        "date": "Date",
    }.get(kind, "Decimal(12, 2)" if kind.startswith("numeric") else "String")
    for name, kind in CSV_COLUMNS.items()
}
HOSTS_BYTES_MAX = 4_000_000_000
PLAIN = "id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, r, s, t"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is moved: rows of each table, rounds, and rows where a slow peer takes part."""

    mixed: int
    wide: int
    slow: int
    rounds: int


SIZES = {
    "tiny": Size(500, 200, 300, 1),
    "quick": Size(150_000, 60_000, 30_000, 2),
    "whole": Size(800_000, 400_000, 600_000, 3),
}


class Bench:
    """A PostgreSQL with the tables, and where figures go."""

    def __init__(self, report: Report, cluster: PostgresCluster, folder: Path, size: Size) -> None:
        self.report, self.cluster, self.folder, self.size = report, cluster, folder, size
        with self.connect() as connection:
            connection.execute("CREATE DATABASE target")

    @property
    def source(self) -> str:
        """The database that is read."""
        return self.cluster.dsn()

    @property
    def target(self) -> str:
        """The database that is written."""
        return self.cluster.dsn("target")

    def connect(self, dsn: str = "") -> psycopg.Connection:
        """A connection, the source's unless it is told another."""
        return psycopg.connect(dsn or self.source, autocommit=True)

    def fill(self, table: str, rows: int) -> int:
        """Makes a table anew, and tells its bytes as CSV."""
        columns, fill = (MIXED, FILL_MIXED) if table == "mixed" else (WIDE, FILL_WIDE)
        with self.connect() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")
            connection.execute(fill.format(rows=rows))
            connection.execute(f"VACUUM ANALYZE {table}")
            with connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT csv)") as copy:
                return sum(map(len, copy))

    def clear(self, table: str, columns: str) -> None:
        """An empty table in the target for a reference."""
        with self.connect(self.target) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")

    def pipe(self, table: str, columns: str) -> None:
        """psql's COPY binary pipe."""
        self.clear("piped", columns)
        shell(
            f"psql -qXc 'COPY {table} TO STDOUT (FORMAT binary)' '{self.source}' | "
            f"psql -qXc 'COPY piped FROM STDIN (FORMAT binary)' '{self.target}'"
        )

    def compare(
        self,
        figure: str,
        size_bytes: int,
        moves: Sequence[Move],
        name: str,
        theirs: Callable[[], object] | None,
        least: float,
        is_published: bool = False,
    ) -> list[float]:
        """All in turns, after one turn that warms them; MB a second of each. Other tools publish what they copy, a pipe does not.
        Returns the seconds of our first."""
        if theirs is None:
            print(f"{figure}: {name} is not installed: not measured")
            return []
        kept: list[list[float]] = [[] for _ in (*moves, theirs)]
        for _ in range(self.size.rounds + 1):  # the first warms all sides
            for move, found in zip(moves, kept, strict=False):
                work = move.whole if is_published else move.stage
                staged: list[Staging] = []
                found.append(seconds(lambda: staged.append(work())))  # noqa: B023 (called within the round)
                move.drop(staged[0])
            kept[-1].append(seconds(theirs))
        *ours, reference = (found[1:] for found in kept)
        for move, own in zip(moves, ours, strict=True):
            self.report.add(
                f"{figure}, {move.path}, {move.lanes}",
                size_bytes / MB / statistics.median(own),
                "MB/s",
                reference=name,
                reference_value=size_bytes / MB / statistics.median(reference),
                goal=f"at least {least:g} times as fast",
                met=statistics.median(their / mine for mine, their in zip(own, reference, strict=True)) >= least,
            )
        return ours[0]


def postgres_to_postgres(bench: Bench) -> None:
    """Mixed rows against psql's pipe, what reading back a sample costs on top, and against other tools."""
    size = bench.fill("mixed", bench.size.mixed)
    move = Move(Origin(postgres(bench.source), "mixed"), postgres(bench.target), "moved")
    bench.compare(
        "PostgreSQL to PostgreSQL, 21 mixed columns", size, [move], "psql COPY binary pipe",
        lambda: bench.pipe("mixed", MIXED), 0.95,
    )  # fmt: skip
    staged: list[Staging] = []
    copying = seconds(lambda: staged.append(move.stage()))
    verifying, publishing = seconds(lambda: move.verify(staged[0])), seconds(lambda: move.publish(staged[0]))
    move.drop(staged[0])
    for what, took in (("read-back of `sampled`", verifying), ("publication with its fingerprint", publishing)):
        bench.report.add(
            f"PostgreSQL to PostgreSQL, {what}", took, "s", reference="the copy itself", reference_value=copying,
            goal="measured apart", met=True,
        )  # fmt: skip
    bench.fill("mixed", bench.size.slow)
    with bench.connect() as connection:  # the other tools have no way for uuid, jsonb or time
        connection.execute(f"DROP TABLE IF EXISTS plain; CREATE TABLE plain AS SELECT {PLAIN} FROM mixed")
        with connection.cursor().copy("COPY plain TO STDOUT (FORMAT csv)") as copy:
            size = sum(map(len, copy))
    moves = lanes_of(Origin(postgres(bench.source), "plain"), postgres(bench.target), "moved")
    for name, peer, least in (
        ("ingestr", _peers.ingestr, 3.0),
        ("sling", _peers.sling, 6.0),
        ("pgloader", _peers.pgloader, 8.0),
    ):
        theirs = peer(bench.source, bench.target, "plain")
        bench.compare("PostgreSQL to PostgreSQL, 18 mixed columns", size, moves, name, theirs, least, True)


def wide_rows(bench: Bench) -> None:
    """Rows of 1.5 kB, against psql's pipe and against 10 GB a minute."""
    size = bench.fill("wide", bench.size.wide)
    move = Move(Origin(postgres(bench.source), "wide"), postgres(bench.target), "moved")
    figure = "PostgreSQL to PostgreSQL, rows of 1.5 kB"
    fastest = min(bench.compare(figure, size, [move], "psql COPY binary pipe", lambda: bench.pipe("wide", WIDE), 0.95))
    bench.report.add(
        "PostgreSQL to PostgreSQL, rows of 1.5 kB, the best round",
        size / MB / fastest,
        "MB/s",
        reference="10 GB a minute",
        reference_value=WIDE_MB_PER_SECOND,
        goal="at least 1 times as fast where the machine allows it",
        met=size / MB / fastest >= WIDE_MB_PER_SECOND,
    )


def lanes_of(origin: Origin, target: SystemSpec, relation: str) -> list[Move]:
    """With one lane, and with one for each core: where nothing else is asked for, others use all cores too."""
    return [Move(origin, target, relation), Move(origin, target, relation, os.cpu_count() or 1)]


def csv_file(bench: Bench) -> Path:
    """Thirteen columns of the mixed rows as a file; text is quoted."""
    path = bench.folder / "rows.csv"
    bench.fill("mixed", bench.size.mixed)
    shell(
        f"psql -qXc \"\\copy (SELECT {', '.join(CSV_COLUMNS)} FROM mixed) TO '{path}' (FORMAT csv, HEADER, FORCE_QUOTE (l, m, n, r, t))\" "
        f"'{bench.source}'"
    )
    return path


def csv_to_postgres(bench: Bench) -> None:
    """A CSV file against psql's \\copy into the same types."""
    path = csv_file(bench)
    files = SystemSpec("files", "lake", {"root": str(bench.folder)})
    moves = lanes_of(Origin(files, path.name, columns=CSV_TYPES), postgres(bench.target), "loaded")
    declared = ", ".join(f"{name} {CSV_COLUMNS[name]}" for name in CSV_COLUMNS)

    def reference() -> None:
        bench.clear("copied", declared)
        shell(f"psql -qXc \"\\copy copied FROM '{path}' (FORMAT csv, HEADER)\" '{bench.target}'")

    figure = "CSV to PostgreSQL, 13 columns"
    bench.compare(figure, path.stat().st_size, moves, "psql \\copy", reference, 0.9)


def csv_to_parquet(bench: Bench) -> None:
    """A CSV file against DuckDB's own reader and writer, with the same types and compression."""
    path = csv_file(bench)
    files = SystemSpec("files", "lake", {"root": str(bench.folder)})
    moves = lanes_of(Origin(files, path.name, columns=CSV_TYPES), files, "parquet")
    types = ", ".join(f"'{name}': '{CSV_COLUMNS[name]}'" for name in CSV_COLUMNS)

    def reference() -> None:
        with duckdb.connect(config={"threads": os.cpu_count() or 1}) as tool:
            tool.execute(
                f"COPY (SELECT * FROM read_csv('{path}', header = true, columns = {{{types}}})) "
                f"TO '{bench.folder}/reference.parquet' (FORMAT parquet, COMPRESSION zstd)"
            )

    figure = "CSV to Parquet, 13 columns"
    bench.compare(figure, path.stat().st_size, moves, "DuckDB's COPY", reference, 0.9)
    polars = _peers.polars(path, bench.folder / "polars.parquet", POLARS_TYPES)
    bench.compare(figure, path.stat().st_size, moves, "polars", polars, 0.9)


def mariadb_to_postgres(bench: Bench) -> None:
    """A MariaDB table against pgloader and connectorx."""
    columns = "id BIGINT PRIMARY KEY, a INT, d DECIMAL(12,2), f DOUBLE, i DATE, k DATETIME, l VARCHAR(60), m VARCHAR(40), n TEXT"
    rows = bench.size.slow
    if mariadb_program("mariadbd") is None:
        print("MariaDB is not installed: its route is not measured")
        return
    with running_mariadb() as cluster:
        with cluster.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE legacy CHARACTER SET utf8mb4")
            cursor.execute("USE legacy")
            cursor.execute(f"CREATE TABLE mixed ({columns})")
            cursor.execute(
                "INSERT INTO mixed SELECT seq, seq % 1000, seq * 1.25, seq / 3.0, DATE '2020-01-01' + INTERVAL seq % 1000 DAY, "
                "TIMESTAMP '2020-01-01 00:00:00' + INTERVAL seq SECOND, CONCAT('customer ', seq), CONCAT('note ', seq % 100), "
                f"IF(seq % 5 = 0, NULL, CONCAT('street ', MD5(seq))) FROM seq_1_to_{rows}"
            )
            connection.commit()
            cursor.execute("SELECT SUM(LENGTH(CONCAT_WS(',', id, a, d, f, i, k, l, m, n)) + 1) FROM mixed")
            size = int(str(cursor.fetchall()[0][0]))
        options = {
            "host": cluster.host,
            "port": str(cluster.port),
            "database": "legacy",
            "user": "root",
            "ssl_mode": "disable",
        }
        legacy = Origin(SystemSpec("mysql", "legacy", options), "mixed")
        moves = lanes_of(legacy, postgres(bench.target), "from_mariadb")
        url = f"mysql://root@{cluster.host}:{cluster.port}/legacy"
        figure = "MariaDB to PostgreSQL, 9 columns"
        bench.compare(figure, size, moves, "pgloader", _peers.pgloader(url, bench.target, "mixed"), 3.0, True)
        bench.compare(figure, size, moves, "connectorx", _peers.connectorx(url, bench.target, "mixed"), 1.0, True)


def sustained(bench: Bench) -> None:
    """At least 5 GB in one go: the last quarter against the first, and the memory of the process."""
    bench.fill("wide", SUSTAINED_BYTES // WIDE_ROW_BYTES + 1)
    move = Move(Origin(postgres(bench.source), "wide"), postgres(bench.target), "moved")
    marks: list[tuple[int, float, int]] = []
    move.drop(move.stage(lambda checkpoint: marks.append((checkpoint.bytes, time.perf_counter(), _resident_bytes()))))
    total, begun = marks[-1][0], marks[0][1]
    at = [next(mark for mark in marks if mark[0] >= total * quarter // QUARTERS) for quarter in range(QUARTERS + 1)]
    speeds = [(later[0] - earlier[0]) / MB / (later[1] - earlier[1]) for earlier, later in itertools.pairwise(at)]
    print(
        f"{total / MB:,.0f} MB as COPY binary in {marks[-1][1] - begun:.1f} s; quarters: {', '.join(f'{s:.0f}' for s in speeds)} MB/s"
    )
    bench.report.add(
        f"PostgreSQL to PostgreSQL, {total / 1e9:.1f} GB of COPY binary, last quarter", speeds[-1], "MB/s", reference="first quarter",
        reference_value=speeds[0], goal="at least 0.9 times as fast", met=speeds[-1] >= 0.9 * speeds[0],
    )  # fmt: skip
    bench.report.add(
        "the same, resident memory at its end", at[-1][2] / MB, "MB", reference="after the first quarter", reference_value=at[1][2] / MB,
        goal="at most 1.1 times as much", met=at[-1][2] <= 1.1 * at[1][2],
    )  # fmt: skip


def arrow_routes(bench: Bench) -> None:
    """Every route whose rows travel as Arrow, against the tool that is best at it; on servers and files of its own."""
    for name, measure in _routes.ROUTES.items():
        for found in measure(bench.size.mixed // 2, bench.size.rounds):
            bench.report.add(
                f"{name.replace('_', ' ')}, {found.lanes}",
                found.bytes / MB / found.ours_seconds,
                "MB/s",
                reference=(measure.__doc__ or "").partition("Reference: ")[2].split(",")[0].rstrip("."),
                reference_value=found.bytes / MB / found.reference_seconds,
                goal="at least 0.9 times as fast",
                met=found.ratio >= 0.9,
            )


def fifty_lanes(bench: Bench, table: str = "mixed", rows: int = 0) -> None:
    """What all worker hosts together hold while fifty lanes copy a table, each of them a fiftieth or a chunk at a time."""
    size = bench.fill(table, rows or bench.size.mixed)
    with bench.connect() as connection:
        connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
    folder = bench.folder / f"lanes-{table}"
    folder.mkdir()
    system = {"host": bench.cluster.host, "port": bench.cluster.port, "database": "postgres", "user": "postgres"}
    text = _fifty_lanes.definitions(system, {**system, "database": "target"}, folder, table, LANES)
    held, hosts, lanes = _fifty_lanes.peak_bytes(text, folder, bench.target)
    bench.report.add(
        f"{lanes} lanes, {size / MB:,.0f} MB into PostgreSQL and into DuckDB, {hosts} hosts, the most that they held",
        held / MB,
        "MB",
        reference="what they may hold",
        reference_value=HOSTS_BYTES_MAX / MB,
        goal="at most 4 GB",
        met=held <= HOSTS_BYTES_MAX,
    )


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PARTS: dict[str, Callable[[Bench], None]] = {
    "postgres": postgres_to_postgres,
    "wide": wide_rows,
    "csv": csv_to_postgres,
    "parquet": csv_to_parquet,
    "mariadb": mariadb_to_postgres,
    "routes": arrow_routes,
    "lanes": fifty_lanes,
}


@contextlib.contextmanager
def bench_of(report: Report, size: Size) -> Iterator[Bench]:
    """A server of the machine's version where there is one, since psql and the other tools are of that."""
    place = "machine" if newest(machine_binaries()) else "registry"
    with running_cluster(place) as cluster, tempfile.TemporaryDirectory() as folder:
        yield Bench(report, cluster, Path(folder), size)


def main() -> None:
    """Measures and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a first look, within 50 seconds")
    parser.add_argument(
        "--tiny", action="store_true", help="the smallest size that runs everything; its figures say nothing"
    )
    parser.add_argument("--long", action="store_true", help="with a copy of at least 5 GB, and fifty lanes on 3 GB")
    parser.add_argument(
        "--part", choices=sorted(PARTS), action="append", help="measure this part alone; may be repeated"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    given = parser.parse_args()
    size = SIZES["tiny" if given.tiny else "quick" if given.quick else "whole"]
    report = Report("transfer", ["psycopg", "pyarrow", "duckdb", "pgpq"])
    with bench_of(report, size) as bench:
        for name in given.part or PARTS:
            PARTS[name](bench)
        if given.long:
            sustained(bench)
            fifty_lanes(bench, "wide", LANES_BYTES // WIDE_ROW_BYTES)
    report.write(given.results)


if __name__ == "__main__":
    main()
