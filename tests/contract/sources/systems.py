"""One relation of numbered rows in each kind of source, laid out the way a legacy system would have it."""

import csv
import gzip
import io
import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.http_api import HttpApiConnector
from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.domain.types import ColumnType, parse_type
from pymigrate.engine.ports.connector import Connector, SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.http_format import HttpJsonFormat, OffsetPaging
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source, SourceChunk
from tests.apis import ApiServer, by_offset
from tests.servers import MariadbDatabase

Row = tuple[int, str | None]
INT = ColumnType("int64")


@dataclass(frozen=True)
class System:
    """A kind of source with `write`, which puts rows into a relation anew; `name` is the relation's full name. `place` is what an error
    calls the third row, where that depends on more than the kind."""

    kind: str
    spec: SystemSpec
    connector: Connector
    ending: str
    write: Callable[[str, Sequence[Row]], None]
    is_state_known: bool = True
    is_splittable: bool = True
    place: str = ""

    def open(self) -> Source:
        return self.connector.open_source(self.spec)

    def relation(
        self, name: str, chunk_bytes: int = 1_000, types: Mapping[str, str] | None = None, key: tuple[str, ...] = ()
    ) -> SourceRelation:
        """The relation, declared where its format does not tell types."""
        columns = {name: parse_type(text) for name, text in (types or {}).items()}
        if self.kind == "csv":
            columns = {"id": INT, **columns}
        form = CsvFormat(null_values=("",)) if self.kind == "csv" else None
        return SourceRelation(f"{name}{self.ending}", form, columns, key, chunk_bytes)


def postgres_spec(dsn: str, **options: str) -> SystemSpec:
    parts = conninfo_to_dict(dsn)
    found = {"host": parts["host"], "port": parts["port"], "database": parts["dbname"], "user": parts["user"]}
    return SystemSpec("postgres", "legacy", {name: str(value) for name, value in {**found, **options}.items()})


def lay(kind: str, place: Path, dsn: str) -> System:
    """A system of the kind in an empty folder, or in an empty database."""
    match kind:
        case "sqlite":
            path = place / "legacy.db"
            sqlite3.connect(path).close()
            path.touch()
            return System(
                kind, SystemSpec(kind, "legacy", {"path": str(path)}), SqliteConnector(), "", _sqlite_writer(path)
            )
        case "duckdb":
            path = place / "legacy.duckdb"
            duckdb.connect(path).close()
            spec = SystemSpec(kind, "legacy", {"path": str(path)})
            return System(kind, spec, DuckdbConnector(), "", _duckdb_writer(path))
        case "postgres":
            writer = _postgres_writer(dsn)
            return System(kind, postgres_spec(dsn), PostgresConnector(), "", writer, is_state_known=False)
    kind, _, packing = kind.partition(".")
    ending = {"csv": ".csv", "json_lines": ".jsonl", "parquet": ".parquet"}[kind]
    content = {"csv": _csv, "json_lines": _json_lines, "parquet": _parquet}[kind]
    packs: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gz": gzip.compress, "zst": _zstd}
    pack = packs[packing]
    ending += f".{packing}" if packing else ""

    def write(name: str, rows: Sequence[Row]) -> None:
        _replace(place / f"{name}{ending}", pack(content(rows)))

    system = SystemSpec("files", "legacy", {"root": str(place)})
    return System(kind, system, FilesConnector(), ending, write, is_splittable=not packing)


def lay_glob(kind: str, place: Path) -> System:
    """A folder for each relation, with its rows in three files of which the second is packed."""
    ending = {"csv": ".csv", "json_lines": ".jsonl"}[kind]
    content = {"csv": _csv, "json_lines": _json_lines}[kind]

    def write(name: str, rows: Sequence[Row]) -> None:
        (place / name).mkdir(exist_ok=True)
        third = len(rows) // 3
        _replace(place / name / f"1{ending}", content(rows[:third]))
        _replace(place / name / f"2{ending}.gz", gzip.compress(content(rows[third : 2 * third])))
        _replace(place / name / f"3{ending}", content(rows[2 * third :]))

    return System(kind, SystemSpec("files", "legacy", {"root": str(place)}), FilesConnector(), f"/*{ending}*", write)


def lay_mariadb(database: MariadbDatabase, key: str) -> System:
    """A system in an empty database, whose relation has a key or none."""
    system = SystemSpec("mysql", "legacy", database.options())
    writer = _mariadb_writer(database, key)
    place = "id=3" if key else "digest="
    return System("mysql", system, MysqlConnector(), "", writer, is_state_known=False, place=place)


@dataclass(frozen=True)
class AlchemySystem(System):
    """Every relation is read by its dataset's key, since it has none of its own."""

    def relation(
        self, name: str, chunk_bytes: int = 1_000, types: Mapping[str, str] | None = None, key: tuple[str, ...] = ()
    ) -> SourceRelation:
        return super().relation(name, chunk_bytes, types, key or ("id",))


def lay_alchemy(place: Path) -> System:
    """A SQLite file, read through SQLAlchemy's dialect for it."""
    path = place / "legacy.db"
    sqlite3.connect(path).close()
    path.touch()
    system = SystemSpec("sqlalchemy", "legacy", {"url": f"sqlite:///{path}"})
    return AlchemySystem("sqlalchemy", system, SqlalchemyConnector(), "", _sqlite_writer(path), is_state_known=False)


@dataclass(frozen=True)
class HttpSystem(System):
    """Its columns are always declared, and a page has five records of those that are wide."""

    def relation(
        self, name: str, chunk_bytes: int = 1_000, types: Mapping[str, str] | None = None, key: tuple[str, ...] = ()
    ) -> SourceRelation:
        columns = {"id": INT, "name": ColumnType("string")}
        columns |= {name: parse_type(text) for name, text in (types or {}).items()}
        form = HttpJsonFormat("items", paging=OffsetPaging(limit=5 if name == "documents" else 40))
        return SourceRelation(name, form, columns, key, chunk_bytes)


def lay_api(api: ApiServer) -> System:
    """An API without relations yet."""
    relations: dict[str, list[dict[str, object]]] = {}
    api.answer = by_offset(relations)

    def write(name: str, rows: Sequence[Row]) -> None:
        relations[name] = [{"id": number, "name": text} for number, text in rows]

    system = SystemSpec("http", "legacy", {"base_url": api.url, "retries_max": "0"})
    return HttpSystem("http", system, HttpApiConnector(), "", write, is_state_known=False)


def chunks_of(source: Source, relation: SourceRelation, after: Position | None = None) -> list[SourceChunk]:
    return list(source.chunks(relation, source.describe(relation).columns, after))


def rows_of(chunks: Sequence[SourceChunk]) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for chunk in chunks for batch in chunk.batches for row in batch.to_pylist()]


def _replace(path: Path, content: bytes) -> None:
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_bytes(content)
    # The clock of a file system may be too coarse to tell two writes in a row.
    os.utime(path, ns=(before + 1, before + 1)) if before else None


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("id", "name"), *rows])
    return text.getvalue().encode()


def _json_lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps({"id": row[0], "name": row[1]}) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    table = pa.table(
        {"id": pa.array([row[0] for row in rows], pa.int64()), "name": pa.array([row[1] for row in rows], pa.string())}
    )
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=300)
    return content.getvalue()


def _zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def _sqlite_writer(path: Path) -> Callable[[str, Sequence[Row]], None]:
    def write(name: str, rows: Sequence[Row]) -> None:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(f'DROP TABLE IF EXISTS "{name}"')
            connection.execute(f'CREATE TABLE "{name}" (id INTEGER NOT NULL, name TEXT)')
            connection.executemany(f'INSERT INTO "{name}" VALUES (?, ?)', rows)
        connection.close()

    return write


def _duckdb_writer(path: Path) -> Callable[[str, Sequence[Row]], None]:
    def write(name: str, rows: Sequence[Row]) -> None:
        table = pa.table({"id": [row[0] for row in rows], "name": pa.array([row[1] for row in rows], pa.string())})
        with duckdb.connect(path) as connection:
            connection.register("written", table)
            connection.execute(f'CREATE OR REPLACE TABLE "{name}" (id BIGINT NOT NULL, name VARCHAR)')
            connection.execute(f'INSERT INTO "{name}" SELECT * FROM written')

    return write


def _postgres_writer(dsn: str) -> Callable[[str, Sequence[Row]], None]:
    def write(name: str, rows: Sequence[Row]) -> None:
        with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.execute(f'DROP TABLE IF EXISTS "{name}"'.encode())
            cursor.execute(f'CREATE TABLE "{name}" (id BIGINT NOT NULL, name TEXT)'.encode())
            cursor.executemany(f'INSERT INTO "{name}" VALUES (%s, %s)'.encode(), rows)

    return write


def _mariadb_writer(database: MariadbDatabase, key: str) -> Callable[[str, Sequence[Row]], None]:
    def write(name: str, rows: Sequence[Row]) -> None:
        with database.cluster.connect(database.name) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS `{name}`")
            cursor.execute(f"CREATE TABLE `{name}` (id BIGINT NOT NULL, name TEXT{key})")
            cursor.executemany(f"INSERT INTO `{name}` VALUES (%s, %s)", rows)
            cursor.execute(f"ANALYZE TABLE `{name}`")

    return write
