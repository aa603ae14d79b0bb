"""Several files as one relation: which a glob matches, in what order, and what they must have in common."""

import gzip
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, SourceChanged, SourceMissing
from pymigrate.engine.ports.relations import SourceRelation
from tests.contract.sources.systems import chunks_of, rows_of
from tests.integration.connectors.source_files import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def write(folder: Folder, *names: str) -> None:
    """Each file holds its own name."""
    for name in names:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        content = f"name\n{name}\n".encode()
        folder.write(name, gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("*.csv", ["a.csv", "b1.csv", "b2.csv"]),
        ("b?.csv", ["b1.csv", "b2.csv"]),
        ("b[13].csv", ["b1.csv"]),
        ("b[!1].csv", ["b2.csv"]),
        ("*.csv*", ["a.csv", "b1.csv", "b2.csv", "c.csv.gz"]),
        ("x/*.csv", ["x/a.csv"]),
        ("x/**", ["x/a.csv", "x/y/a.csv"]),
        ("**/a.csv", ["a.csv", "x/a.csv", "x/y/a.csv"]),
        ("x/**/*.csv", ["x/a.csv", "x/y/a.csv"]),
        ("*/y/*.csv", ["x/y/a.csv"]),
    ],
)
def test_a_glob_matches_files_in_the_order_of_their_names(folder: Folder, glob: str, matched: list[str]) -> None:
    write(folder, "b2.csv", "b1.csv", "a.csv", "c.csv.gz", "x/a.csv", "x/y/a.csv", ".hidden.csv", ".pymigrate/a.csv")

    assert folder.rows(glob) == [(name,) for name in matched]
    assert folder.describe(glob).bytes == sum((folder.path / name).stat().st_size for name in matched)


def test_a_file_that_has_the_very_name_is_that_file(folder: Folder) -> None:
    write(folder, "a[1].csv", "a1.csv")

    assert folder.rows("a[1].csv") == [("a[1].csv",)]


def test_a_glob_that_matches_nothing_is_missing(folder: Folder) -> None:
    with pytest.raises(SourceMissing, match=r"no file of the connection's folder matches `\*\.csv`"):
        folder.describe("*.csv")


def test_files_of_several_formats_are_no_relation(folder: Folder) -> None:
    write(folder, "a.csv")
    folder.write("b.jsonl", '{"name": "x"}\n')

    with pytest.raises(InvalidDefinition, match=r"several formats, such as a\.csv and b\.jsonl"):
        folder.describe("*")


def test_every_difference_of_the_columns_is_listed(folder: Folder) -> None:
    folder.write("a.csv", "id,name,note\n")
    folder.write("b.csv", "id,name\n")
    folder.write("c.csv", "id,name,note,extra\n")

    with pytest.raises(DataRefused) as found:
        folder.describe("*.csv")

    assert found.value.message == (
        "the files of *.csv differ: b.csv has no column `note`; c.csv has a column `extra` more"
    )
    assert found.value.field == "source.relation"


def test_columns_in_another_order_are_the_same_columns(folder: Folder) -> None:
    folder.write("a.csv", "id,name\n1,x\n")
    folder.write("b.csv", "name,id\ny,2\n")

    assert folder.rows("*.csv") == [("1", "x"), ("2", "y")]


def test_parquet_files_must_agree_in_their_types(folder: Folder) -> None:
    pq.write_table(pa.table({"id": pa.array([1], pa.int64())}), folder.path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array([1], pa.int32())}), folder.path / "b.parquet")

    with pytest.raises(DataRefused, match=r"`id` is int32 in b\.parquet, and int64 before"):
        folder.describe("*.parquet")


def test_parquet_files_are_one_relation_with_exact_rows(folder: Folder) -> None:
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    pq.write_table(pa.table({"id": [1, 2]}, schema=schema), folder.path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array([3], pa.int64())}), folder.path / "b.parquet")

    info = folder.describe("*.parquet")

    assert (info.rows, info.is_exact_rows, info.columns[0].is_required) == (3, True, False)
    assert folder.rows("*.parquet") == [(1,), (2,), (3,)]


def test_the_types_of_json_lines_are_those_that_all_files_fit(folder: Folder) -> None:
    folder.write("a.jsonl", '{"n": 1, "t": "x"}\n')
    folder.write("b.jsonl", '{"n": 1.5, "t": null}\n')
    folder.write("c.jsonl", "")

    assert [str(column.type) for column in folder.describe("*.jsonl").columns] == ["float64", "string"]
    assert folder.rows("*.jsonl") == [(1.0, "x"), (1.5, None)]


def test_a_field_that_is_gone_from_a_file_is_a_difference_unless_it_is_declared(folder: Folder) -> None:
    folder.write("a.jsonl", '{"n": 1, "t": "x"}\n')
    folder.write("b.jsonl", '{"n": 2}\n')

    with pytest.raises(DataRefused, match=r"b\.jsonl has no column `t`"):
        folder.describe("*.jsonl")
    assert folder.rows("*.jsonl", types={"t": "string"}) == [(1, "x"), (2, None)]


def test_the_state_changes_when_a_file_appears_vanishes_or_changes(folder: Folder) -> None:
    write(folder, "a.csv", "b.csv")
    with closing(folder.open()) as source:
        states = [source.state(SourceRelation("*.csv"))]
        write(folder, "c.csv")
        states.append(source.state(SourceRelation("*.csv")))
        (folder.path / "b.csv").unlink()
        states.append(source.state(SourceRelation("*.csv")))
        os.utime(folder.path / "a.csv", ns=(1, 1))
        states.append(source.state(SourceRelation("*.csv")))
        again = source.state(SourceRelation("*.csv"))

    assert len(set(states)) == 4
    assert again == states[-1]


def test_going_on_in_a_file_that_vanished_is_refused(folder: Folder) -> None:
    write(folder, "a.csv", "b.csv", "c.csv")
    chunks = folder.chunks("*.csv")
    (folder.path / "b.csv").unlink()

    with pytest.raises(SourceChanged, match=r"b\.csv is no longer among the files of \*\.csv"):
        folder.rows("*.csv", after=chunks[1].end)


def test_a_column_that_is_gone_when_a_file_is_read_again_is_refused(folder: Folder) -> None:
    folder.write("t.csv", "id,name\n1,x\n")
    with closing(folder.open()) as source:
        relation = SourceRelation("t.csv")
        columns = source.describe(relation).columns
        folder.write("t.csv", "id,nome\n1,x\n")
        with pytest.raises(SourceChanged, match=r"t\.csv: column `name` was there"):
            list(source.chunks(relation, columns, None))


@pytest.mark.parametrize("parts", [2, 3, 5, 16])
def test_packed_files_are_split_between_them_and_others_within(folder: Folder, parts: int) -> None:
    rows = [(str(number),) for number in range(3_000)]
    for at, name in enumerate(("a.csv", "b.csv.gz", "c.csv", "d.csv.gz")):
        content = "n\n" + "".join(f"{n}\n" for (n,) in rows[at * 750 : (at + 1) * 750])
        folder.write(name, gzip.compress(content.encode()) if name.endswith("gz") else content)
    with closing(folder.open()) as source:
        relation = SourceRelation("*", chunk_bytes=500)
        ranges = source.split(relation, parts)
        found = [rows_of(chunks_of(source, replace(relation, range=span))) for span in ranges]

    assert 2 <= len(ranges) <= parts
    assert all(found)
    assert [row for part in found for row in part] == rows
