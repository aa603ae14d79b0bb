"""What the benchmark of impact analysis moves: configurations of sizes, formats, systems, lanes, windows and downtime policies.

Each is an environment of its own with one plan. Nothing in them tells PyMigrate how long anything takes.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from _ground_truth import Count, in_duckdb, in_parquet, in_postgres
from _moving import FILL_MIXED, FILL_WIDE, MIXED, WIDE
from _routes import CREATE, FILL, SQLITE

from tests.servers import MariadbCluster, PostgresCluster

Json = dict[str, Any]
WINDOW_MINUTES = 2


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of each table, and how often a plan runs."""

    mixed: int
    wide: int
    orders: int
    sqlite: int
    maria: int
    runs: int


SIZES = {
    "whole": Size(mixed=800_000, wide=250_000, orders=400_000, sqlite=600_000, maria=400_000, runs=5),
    "quick": Size(mixed=200_000, wide=30_000, orders=100_000, sqlite=100_000, maria=100_000, runs=1),
    "tiny": Size(mixed=2_000, wide=500, orders=2_000, sqlite=2_000, maria=2_000, runs=1),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A configuration: the phases of its plan, and what else the plan says. `windows` gives that for a moment at which it runs."""

    name: str
    phases: Json
    plan: Json = field(default_factory=dict)
    connections: Json = field(default_factory=dict)
    needs_mariadb: bool = False
    windows: Callable[[datetime], Json] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The systems that the configurations use."""

    cluster: PostgresCluster
    mariadb: MariadbCluster | None
    folder: Path
    size: Size

    def fill(self) -> None:
        """Makes every source, once."""
        with psycopg.connect(self.cluster.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE warehouse")
            for name in ("mixed", "wide"):
                columns, fill = (MIXED, FILL_MIXED) if name == "mixed" else (WIDE, FILL_WIDE)
                connection.execute(f"CREATE TABLE {name} ({columns})".encode())
                connection.execute(fill.format(rows=getattr(self.size, name)).encode())
                connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)".encode())
            connection.execute(CREATE.encode())
            connection.execute(FILL.format(rows=self.size.orders).encode())
            connection.execute("CREATE INDEX orders_customer ON orders (customer, placed)")
            connection.execute("CREATE INDEX orders_city ON orders (city)")
            connection.execute(f"CREATE TABLE small AS SELECT * FROM orders LIMIT {self.size.orders // 20}".encode())
            connection.execute("ALTER TABLE small ADD PRIMARY KEY (id)")
            connection.execute("VACUUM ANALYZE")
        with closing(sqlite3.connect(self.folder / "legacy.db")) as file:
            file.executescript(SQLITE.replace("{rows}", str(self.size.sqlite)))
        (self.folder / "drop").mkdir()
        with duckdb.connect() as tool:
            rows = (
                "SELECT n AS id, n % 1000 AS a, n * 1.25 AS amount, 'customer ' || n AS customer, md5(n::text) AS code, "
                f"DATE '2020-01-01' + (n % 1000)::int AS day FROM range({self.size.mixed}) t(n)"
            )
            tool.execute(f"COPY ({rows}) TO '{self.folder}/drop/events.csv' (HEADER)")
            tool.execute(f"COPY ({rows}) TO '{self.folder}/drop/events.parquet' (FORMAT parquet)")
        if self.mariadb is not None:
            self._fill_mariadb(self.mariadb)

    def _fill_mariadb(self, cluster: MariadbCluster) -> None:
        with closing(cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE legacy")
            cursor.execute(
                "CREATE TABLE legacy.orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(12,2), weight DOUBLE, "
                "placed DATETIME, day DATE, note VARCHAR(80), code CHAR(32), paid TINYINT)"
            )
            cursor.execute(
                "INSERT INTO legacy.orders SELECT seq, seq % 5000, seq * 1.25, seq / 3, '2020-01-01' + INTERVAL seq SECOND, "
                f"'2020-01-01' + INTERVAL (seq % 1000) DAY, CONCAT('a note on order ', seq), MD5(seq), seq % 2 "
                f"FROM legacy.seq_1_to_{self.size.maria}"
            )
            connection.commit()

    def counts(self) -> dict[str, Count]:
        """How the rows of each target are counted, by connection."""
        return {
            "warehouse": in_postgres(self.cluster.dsn("warehouse")),
            "duck": in_duckdb(self.folder / "warehouse.duckdb"),
            "lake": in_parquet(self.folder / "lake"),
        }

    def connections(self, more: Json) -> Json:
        """Every connection, by name; `more` adds to their specs."""
        postgres = {"host": self.cluster.host, "port": self.cluster.port, "user": "postgres"}
        found: Json = {
            "legacy": {"postgres": {**postgres, "database": "postgres"}},
            "warehouse": {"postgres": {**postgres, "database": "warehouse"}},
            "duck": {"duckdb": {"path": f"{self.folder}/warehouse.duckdb"}},
            "old": {"sqlite": {"path": f"{self.folder}/legacy.db"}},
            "drop": {"files": {"root": f"{self.folder}/drop"}},
            "lake": {"files": {"root": f"{self.folder}/lake"}},
        }
        if self.mariadb is not None:
            maria = {"host": self.mariadb.host, "port": self.mariadb.port, "user": "root", "sslMode": "disable"}
            found["maria"] = {"mysql": {**maria, "database": "legacy"}}
        for name, spec in more.items():
            found[name] = {**found[name], **spec}
        return found


def moved(source: str, relation: str, target: str, copied: str, **more: Any) -> Json:
    """A dataset that replaces its target."""
    return {
        "source": {"connection": source, "relation": relation},
        "target": {"connection": target, "relation": copied, "loadMode": "replace"},
        **more,
    }


def phase(datasets: Mapping[str, Json], **more: Any) -> Json:
    """A phase of the one department."""
    return {"department": "sales", "datasets": dict(datasets), **more}


def opening_next_minute(now: datetime) -> Json:
    """A window that opens with the next minute but one at the latest."""
    opens = (now + timedelta(seconds=70)).replace(second=0, microsecond=0)
    closes = opens + timedelta(minutes=WINDOW_MINUTES)
    window = {"start": f"{opens.astimezone(UTC):%H:%M}", "end": f"{closes.astimezone(UTC):%H:%M}"}
    return {"schedule": {"windows": {"night": window}}}


def scenes() -> list[Scene]:
    """The configurations."""
    return [
        Scene("PostgreSQL, one lane", {"a": phase({"d": moved("legacy", "mixed", "warehouse", "one", lanes=1)})}),
        Scene("PostgreSQL, 4 lanes", {"a": phase({"d": moved("legacy", "mixed", "warehouse", "four", lanes=4)})}),
        Scene(
            "PostgreSQL, wide rows, 16 lanes",
            {"a": phase({"d": moved("legacy", "wide", "warehouse", "sixteen", lanes=16, chunkBytes=4_000_000)})},
        ),
        Scene(
            "PostgreSQL with indexes, full verification",
            {"a": phase({"d": moved("legacy", "orders", "warehouse", "orders", lanes=2, verification="full")})},
        ),
        Scene(
            "PostgreSQL, read only",
            {"a": phase({"d": moved("legacy", "orders", "warehouse", "shop", lanes=1)}, downtimePolicy="read_only")},
        ),
        Scene("PostgreSQL to DuckDB", {"a": phase({"d": moved("legacy", "orders", "duck", "orders", lanes=1)})}),
        Scene(
            "PostgreSQL to Parquet, 2 lanes",
            {"a": phase({"d": moved("legacy", "orders", "lake", "orders", lanes=2)})},
        ),
        Scene("CSV to PostgreSQL", {"a": phase({"d": moved("drop", "events.csv", "warehouse", "csv", lanes=1)})}),
        Scene(
            "Parquet to PostgreSQL, 2 lanes",
            {"a": phase({"d": moved("drop", "events.parquet", "warehouse", "parquet", lanes=2)})},
        ),
        Scene("SQLite to DuckDB", {"a": phase({"d": moved("old", "orders", "duck", "sqlite", lanes=1)})}),
        Scene(
            "MariaDB to PostgreSQL, 2 lanes",
            {"a": phase({"d": moved("maria", "orders", "warehouse", "maria", lanes=2)})},
            needs_mariadb=True,
        ),
        Scene(
            "PostgreSQL, a throttled source",
            {"a": phase({"d": moved("legacy", "orders", "warehouse", "throttled", lanes=2)})},
            connections={"legacy": {"bytesPerSecondMax": 12_000_000}},
        ),
        Scene(
            "three phases, a pool of two connections",
            {
                "a": phase({"d": moved("legacy", "orders", "warehouse", "first", lanes=2)}),
                "b": phase({"d": moved("legacy", "wide", "warehouse", "second", lanes=2)}),
                "c": phase({"d": moved("legacy", "mixed", "warehouse", "third", lanes=1)}, dependencies=["a"]),
            },
            connections={"legacy": {"lanesMax": 2}},
        ),
        Scene(
            "PostgreSQL online",
            {
                "a": phase(
                    {
                        "d": moved(
                            "legacy", "orders", "warehouse", "online", catchUp={"logical": {}, "opensSource": True}
                        )
                    },
                    downtimePolicy="online",
                )
            },
        ),
        Scene(
            "two systems at once, in a window that opens",
            {
                "a": phase({"d": moved("legacy", "orders", "warehouse", "windowed", lanes=1)}),
                "b": phase({"d": moved("old", "orders", "duck", "windowed", lanes=1)}),
            },
            windows=opening_next_minute,
        ),
    ]
