"""A folder as a source: nothing outside of it, formats by ending or by declaration, and files that can't be read."""

from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.files import FilesConnector
from pymigrate.engine.adapters.connectors.files_source import FilesSource
from pymigrate.engine.domain.errors import InvalidDefinition, SourceMissing
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.relations import SourceRelation
from tests.integration.connectors.source_files import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    return Folder(tmp_path / "inside")


def test_a_relation_that_leads_out_of_the_folder_is_refused(folder: Folder) -> None:
    (folder.path / "link.csv").symlink_to(folder.path.parent / "secret.csv")
    (folder.path / "up").symlink_to(folder.path.parent)

    for name in (
        "../secret.csv",
        "link.csv",
        "up/secret.csv",
        str(folder.path.parent / "secret.csv"),
        "../inside/../secret.csv",
    ):
        with pytest.raises(InvalidDefinition, match="leads out of the connection's folder") as found:
            folder.describe(name)
        assert found.value.field == "source.relation"
    assert folder.open().relations("*", 10) == []


def test_a_link_within_the_folder_is_followed(folder: Folder) -> None:
    folder.write("t.csv", "a\n1\n")
    (folder.path / "link.csv").symlink_to("t.csv")

    assert folder.rows("link.csv") == [("1",)]


def test_an_unknown_ending_wants_a_format(folder: Folder) -> None:
    folder.write("t.txt", "a\n1\n")
    folder.write("T.CSV", "a\n2\n")

    with pytest.raises(InvalidDefinition, match=r"does not end in \.csv, .*: set csv, json_lines or parquet") as found:
        folder.describe("t.txt")
    assert found.value.field == "source.relation"
    assert folder.rows("t.txt", CsvFormat()) == [("1",)]
    assert folder.rows("T.CSV") == [("2",)]


def test_files_in_folders_are_relations(folder: Folder) -> None:
    (folder.path / "2024").mkdir()
    folder.write("2024/t.csv", "a\n1\n")

    assert folder.rows("2024/t.csv") == [("1",)]
    assert [info.relation for info in folder.open().relations("2024/*", 10)] == ["2024/t.csv"]


def test_a_file_that_can_not_be_read_is_listed_without_columns(folder: Folder) -> None:
    folder.write("bad.parquet", b"nothing")
    folder.write("bad.jsonl", "{\n")
    folder.write("good.csv", "a\n")

    found = [(info.relation, len(info.columns)) for info in folder.open().relations("*", 10)]

    assert found == [("bad.jsonl", 0), ("bad.parquet", 0), ("good.csv", 1)]


@pytest.mark.parametrize("name", ["none.csv", "with\0nul.csv", "", "x" * 300 + ".csv", "round.csv", "."])
def test_a_name_of_nothing_is_missing(folder: Folder, name: str) -> None:
    (folder.path / "round.csv").symlink_to(folder.path / "round.csv")
    with pytest.raises(SourceMissing, match="there is no") as found:
        folder.describe(name)
    assert found.value.field == "source.relation"


def test_a_missing_folder_is_missing(folder: Folder) -> None:
    spec = SystemSpec("files", "legacy", {"root": str(folder.path / "none")})

    with pytest.raises(SourceMissing, match="there is no folder") as found:
        FilesConnector().open_source(spec)
    assert found.value.field == "source.connection"


def test_a_file_that_goes_away_between_two_readings_is_missing(folder: Folder) -> None:
    (folder.path / "t.csv").symlink_to(folder.path / "held.csv")
    folder.write("held.csv", "a\n" + "1\n" * 100)
    source, relation = folder.open(), SourceRelation("t.csv", chunk_bytes=10)
    columns = source.describe(relation).columns
    chunks = source.chunks(relation, columns, None)

    assert next(chunks).rows == 5
    (folder.path / "held.csv").unlink()
    with pytest.raises(SourceMissing, match=r"there is no `t.csv`"):
        list(source.chunks(relation, columns, None))


def test_a_listing_reads_no_more_json_than_it_may(folder: Folder) -> None:
    for name in ("a", "b"):
        folder.write(f"{name}.jsonl", '{"x": 1}\n')
    source = FilesSource(SystemSpec("files", "legacy", {"root": str(folder.path)}), listed_json_bytes_max=10)

    found = [(info.relation, len(info.columns), info.bytes) for info in source.relations("*", 10)]

    assert found == [("a.jsonl", 1, 9), ("b.jsonl", 0, 9)]
