"""Records of CSV that PostgreSQL is given as they lie in the file: what it stores is what PyMigrate read, or they do not pass."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Thread

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.files_source import FilesSource
from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget
from pymigrate.engine.domain.errors import DataRefused, SourceChanged
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from pymigrate.engine.transfer.checksum import Checksum
from tests.contract.sources.systems import postgres_spec

POLLS_MAX = 100_000
WAIT_FOR_LOCK = """
CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END';
CREATE TRIGGER waiting BEFORE INSERT ON "{}" FOR EACH ROW EXECUTE FUNCTION wait_for_lock();
"""
NULL_EMPTY = CsvFormat(null_values=("",))


class Way:
    """A file's way into a PostgreSQL."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self._copies = 0

    def write(self, content: bytes | str, name: str = "t.csv") -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def relation(
        self,
        form: CsvFormat = NULL_EMPTY,
        types: Mapping[str, str] | None = None,
        name: str = "t.csv",
        size: int = 20_000_000,
    ) -> SourceRelation:
        return SourceRelation(name, form, {n: parse_type(t) for n, t in (types or {}).items()}, chunk_bytes=size)

    def open(self) -> FilesSource:
        return FilesSource(SystemSpec("files", "exports", {"root": str(self.folder)}))

    def offer(self, form: CsvFormat = NULL_EMPTY, types: Mapping[str, str] | None = None, name: str = "t.csv") -> str:
        return self.open().offers(self.relation(form, types, name))[CopyPath.CSV]

    def copy(self, relation: SourceRelation) -> tuple[list[SourceChunk], list[pa.RecordBatch]]:
        """The chunks, and what the target then holds, whose digest is that of the chunks."""
        source, self._copies = self.open(), self._copies + 1
        columns = source.describe(relation).columns
        form = relation.format if isinstance(relation.format, CsvFormat) else None
        staging = Staging(StagingId(f"s{self._copies}"), f"t{self._copies}", columns, path=CopyPath.CSV, csv=form)
        chunks = list(source.passing_chunks(relation, columns, CopyPath.CSV, None))
        sent, found = Checksum(), Checksum()
        with closing(PostgresTarget(postgres_spec(self.dsn))) as target, closing(sent), closing(found):
            assert target.takes(staging)[CopyPath.CSV] == ""
            target.prepare(staging)
            at = target.claim(staging, "lane", 1)
            for chunk in chunks:
                sent.take(chunk)
                after = Checkpoint(at.chunks + 1, at.rows + chunk.rows, at.bytes + chunk.bytes, chunk.end, sent.text())
                if chunk.pieces:
                    target.commit_passed(staging, "lane", 1, at, after, chunk.pieces)
                else:
                    target.commit(staging, "lane", 1, at, after, chunk.batches)
                at = after
            batches = list(target.read_staging(staging))
            found.add(batches)
            assert found.text() == sent.text()
            target.rollback([staging])
        return chunks, batches


@pytest.fixture
def way(tmp_path: Path, postgres_database: str) -> Way:
    return Way(tmp_path, postgres_database)


CELLS = st.sampled_from(
    ["", "NULL", '""', '"NULL"', "a", "\\N", "\\", '"\\."', '"a\nb"', '"\r\n"', '" x "', "é", " ", '"a""b"', "'"]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from([(), ("",), ("NULL",), ("\\N",), ("'",), (" ",)]),
    st.sampled_from([",", "\t", ";", "'", "\\", "a"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_hostile_texts_are_stored_as_they_were_read(
    way: Way, rows: list[list[str]], nulls: tuple[str, ...], delimiter: str, end: str, has_last_end: bool
) -> None:
    quoted = [[f'"{cell}"' if delimiter in cell and cell[:1] != '"' else cell for cell in row] for row in rows]
    text = end.join(delimiter.join(row) for row in [["x", "y"], *quoted]) + (end if has_last_end else "")
    way.write(text)
    form = CsvFormat(delimiter, nulls)
    obstacle = way.offer(form)
    if any(delimiter in null for null in nulls):
        assert obstacle == "the text for NULL holds a delimiter, a quote or a line end"
        return
    assert obstacle == ""
    _, batches = way.copy(way.relation(form, size=30))
    stored = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert Counter(stored) == Counter(tuple(meant(cell, nulls) for cell in row) for row in quoted)


def meant(cell: str, nulls: tuple[str, ...]) -> str | None:
    """What a field of a file stands for, told without any reader of CSV: text in quotes is never NULL."""
    if cell.startswith('"'):
        return cell[1:-1].replace('""', '"')
    return None if cell in nulls else cell


@pytest.mark.parametrize("nulls", [(), ("",), ("x",)])
def test_a_single_column_with_empty_lines_is_stored_as_it_was_read(way: Way, nulls: tuple[str, ...]) -> None:
    way.write('n\na\n\n""\nx\n"x"\n\n')
    form = CsvFormat(null_values=nulls)
    [chunk], found = way.copy(way.relation(form))

    assert chunk.pieces
    empty, x = (None if text in nulls else text for text in ("", "x"))
    assert [tuple(row.values()) for batch in found for row in batch.to_pylist()] == [
        ("a",),
        (empty,),
        ("",),
        (x,),
        ("x",),
        (empty,),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\r\n2,y\n",
        "a,b\n1,x\n\n2,y\n",
        "a,b\r\n1,x\r\n\r\n2,y\r\n",
        'a,b\n1,"x\n\\.\n"\n',
        "a,b\n\\.,y\n",
    ],
)
def test_records_that_postgres_reads_otherwise_go_as_what_they_parse_to(way: Way, content: str) -> None:
    way.write(content)
    chunks, found = way.copy(way.relation())

    assert not any(chunk.pieces for chunk in chunks)
    assert sum(batch.num_rows for batch in found) == sum(chunk.rows for chunk in chunks) > 0


@pytest.mark.parametrize(
    ("form", "types", "why"),
    [
        (CsvFormat(null_values=("", "NULL")), {}, "the dataset names several"),
        (CsvFormat(null_values=("a,b",)), {}, "holds a delimiter, a quote or a line end"),
        (CsvFormat(null_values=('"',)), {}, "holds a delimiter, a quote or a line end"),
        (NULL_EMPTY, {"b": "int64"}, "column `b` is int64, and what is parsed anyway costs less as binary rows"),
        (NULL_EMPTY, {"b": "bytes"}, "column `b` is bytes"),
    ],
)
def test_what_both_would_read_differently_or_parse_twice_is_not_offered(
    tmp_path: Path, form: CsvFormat, types: Mapping[str, str], why: str
) -> None:
    way = Way(tmp_path, "")
    way.write("a,b\n1,x\n")

    assert why in way.offer(form, types)


def test_files_with_columns_in_different_orders_are_not_offered(tmp_path: Path) -> None:
    way = Way(tmp_path, "")
    way.write("a,b\n1,x\n", "1.csv")
    way.write("b,a\nx,1\n", "2.csv")

    assert way.offer(name="*.csv") == "the files have their columns in different orders"


def test_other_formats_do_not_offer_it(tmp_path: Path) -> None:
    way = Way(tmp_path, "")
    way.write('{"a": 1}\n', "t.jsonl")

    assert way.open().offers(SourceRelation("t.jsonl")) == {}


def test_a_header_in_another_order_is_not_gone_on_with(tmp_path: Path) -> None:
    way = Way(tmp_path, "")
    way.write("a,b\n1,x\n")
    columns = way.open().describe(way.relation()).columns
    way.write("b,a\nx,1\n")

    with pytest.raises(
        SourceChanged, match=r"t\.csv has other columns than a, b: it changed since the run was started"
    ):
        list(way.open().passing_chunks(way.relation(), columns, CopyPath.CSV, None))


def test_rows_that_the_server_counts_otherwise_are_refused(way: Way) -> None:
    way.write("a\n1\n")
    relation = way.relation()
    source = way.open()
    columns = source.describe(relation).columns
    staging = Staging(StagingId("s"), "t", columns, path=CopyPath.CSV, csv=NULL_EMPTY)
    with closing(PostgresTarget(postgres_spec(way.dsn))) as target:
        target.prepare(staging)
        at = target.claim(staging, "lane", 1)
        for piece, error in (
            (b"1\n2\n", "1 rows were given to the target, and it counted 2"),
            (b"1,2\n", "row 1: extra data"),
        ):
            with pytest.raises(DataRefused, match=error):
                target.commit_passed(staging, "lane", 1, at, Checkpoint(1, 1, 2), [piece])
        assert target.count_staging(staging) == 0


def test_a_server_that_takes_long_holds_up_no_other_thread(way: Way) -> None:
    """The server waits within the COPY for a lock that only this thread gives up."""
    way.write("a\n1\n")
    columns = way.open().describe(way.relation()).columns
    staging = Staging(StagingId("s"), "t", columns, path=CopyPath.CSV, csv=NULL_EMPTY)
    with closing(PostgresTarget(postgres_spec(way.dsn))) as target, psycopg.connect(way.dsn, autocommit=True) as holder:
        target.prepare(staging)
        at = target.claim(staging, "lane", 1)
        tables = holder.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE '%pymigrate%' AND relkind = 'r'"
        ).fetchall()
        [staged] = [name for (name,) in tables if name.startswith("t")]
        holder.execute(WAIT_FOR_LOCK.format(staged).encode())
        holder.execute("SELECT pg_advisory_lock(7)")
        after = Checkpoint(1, 1, 2)
        copying = Thread(target=target.commit_passed, args=(staging, "lane", 1, at, after, [b"1\n"]), daemon=True)
        copying.start()
        for _ in range(POLLS_MAX):
            if holder.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
                break
        holder.execute("SELECT pg_advisory_unlock(7)")
        copying.join(60)
        assert target.checkpoint(staging, "lane")[0] == after
