"""Files behind URLs: archives and prefixes in filesystems of fsspec, read as files of a folder are."""

import gzip
import socket
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pymigrate.engine.adapters.connectors.files_source import FilesSource
from pymigrate.engine.domain.errors import (
    DataRefused,
    FailedPrecondition,
    InvalidDefinition,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from tests.contract.sources.systems import chunks_of, rows_of

ROWS = [(number, f"name {number}") for number in range(3_000)]
CSV = b"id,name\n" + b"".join(b"%d,%s\n" % (number, name.encode()) for number, name in ROWS)
TYPES = {"id": ColumnType("int64")}


def opened(root: str, **options: str) -> FilesSource:
    given = {"root": root, **{f"option.{name}": value for name, value in options.items()}}
    return FilesSource(SystemSpec("files", "exports", given))


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """An archive's URL; it holds the rows three times."""
    with zipfile.ZipFile(tmp_path / "exports.zip", "w") as file:
        file.writestr("people.csv", CSV)
        file.writestr("old/1.csv", CSV[: CSV.index(b"\n1500,") + 1])
        file.writestr("old/2.csv.gz", gzip.compress(b"id,name\n" + CSV[CSV.index(b"\n1500,") + 1 :]))
        table = pa.table({"id": [at for at, _ in ROWS], "name": [name for _, name in ROWS]})
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=1_000)
        file.write(tmp_path / "t.parquet", "people.parquet")
    return f"zip://::file://{tmp_path}/exports.zip"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """A filesystem that the process holds."""
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/exports", recursive=True)


@pytest.mark.parametrize("name", ["people.csv", "old/*", "people.parquet"])
def test_files_behind_a_url_are_read_and_gone_on_with_and_split(archive: str, name: str) -> None:
    types = {} if name.endswith("parquet") else TYPES
    relation = SourceRelation(name, columns=types, chunk_bytes=8_000)
    with closing(opened(archive)) as source:
        chunks = chunks_of(source, relation)
        parts = [rows_of(chunks_of(source, replace(relation, range=span))) for span in source.split(relation, 3)]
        rest = rows_of(chunks_of(source, relation, chunks[2].end))

    assert rows_of(chunks) == ROWS
    assert rest == ROWS[sum(chunk.rows for chunk in chunks[:3]) :]
    assert len(parts) > 1
    assert [row for part in parts for row in part] == ROWS


def test_files_behind_a_url_are_listed_and_missed_by_name(archive: str) -> None:
    with closing(opened(archive)) as source:
        assert [info.relation for info in source.relations("*", 10)] == [
            "old/1.csv",
            "old/2.csv.gz",
            "people.csv",
            "people.parquet",
        ]
        with pytest.raises(SourceMissing, match=r"there is no `peopel\.csv`; did you mean `people\.csv`\?"):
            source.describe(SourceRelation("peopel.csv"))
        with pytest.raises(SourceMissing, match="`old` is a folder, not a file"):
            source.describe(SourceRelation("old"))
        with pytest.raises(InvalidDefinition, match="leads out of the connection's root"):
            source.describe(SourceRelation("old/../people.csv"))
        assert source.version().startswith("files in zip://")


def test_a_prefix_holds_nothing_that_lies_beside_it(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/exports/in/a.csv", b"x\n1\n")
    memory.pipe_file("/exports/in2/b.csv", b"x\n2\n")
    with closing(opened("memory://exports/in")) as source:
        assert [info.relation for info in source.relations("*", 10)] == ["a.csv"]
        assert rows_of(chunks_of(source, SourceRelation("*.csv"))) == [("1",)]


def test_the_state_of_a_file_behind_a_url_changes_with_it(memory: fsspec.AbstractFileSystem) -> None:
    relation = SourceRelation("a.csv")
    memory.pipe_file("/exports/a.csv", b"x\n1\n")
    with closing(opened("memory://exports")) as source:
        before, again = source.state(relation), source.state(relation)
        memory.pipe_file("/exports/a.csv", b"x\n2\n")
        after = source.state(relation)

    assert before == again != after


def test_a_value_that_does_not_fit_names_its_file_and_row(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/exports/a.csv", b"x\n1\nfoo\n")
    relation = SourceRelation("a.csv", columns={"x": ColumnType("int64")})
    with (
        closing(opened("memory://exports")) as source,
        pytest.raises(DataRefused, match=r"a\.csv, column `x`, row 2: `foo`"),
    ):
        chunks_of(source, relation)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(
        FailedPrecondition, match=r"lacks what reads s3:// .*s3fs.*: install it beside PyMigrate"
    ) as found:
        opened("s3://bucket/exports")
    assert found.value.field == "source.connection"


@pytest.mark.parametrize("root", ["nothing://x", "zip://"])
def test_a_url_that_means_nothing_is_refused(root: str) -> None:
    with pytest.raises((FailedPrecondition, SystemUnavailable)) as found:
        opened(root)
    assert found.value.field == "source.connection"


def test_a_server_that_is_away_is_a_system_that_is_unavailable() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # nobody listens
        port = holder.getsockname()[1]
        spec = SystemSpec(
            "files",
            "exports",
            {"root": f"ftp://127.0.0.1:{port}/exports", "option.timeout": "5"},
            secrets={"option.password": Secret("hunter2")},
        )
        with pytest.raises(SystemUnavailable, match="ConnectionRefusedError") as found:
            FilesSource(spec)
    assert "hunter2" not in found.value.message
