"""JSON Lines files as sources: the types that all values fit, and lines that are no objects."""

import json
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.json_lines_source import JsonLinesReader
from pymigrate.engine.adapters.connectors.stored_files import LocalFolder
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.ports.file_formats import JsonLinesFormat
from pymigrate.engine.ports.ranges import SourceRange
from tests.integration.connectors.source_files import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def lines(*values: str) -> str:
    return "".join(f'{{"x": {value}}}\n' for value in values)


@pytest.mark.parametrize(
    ("values", "type", "read"),
    [
        (["1", "-9223372036854775808"], "int64", [1, -(2**63)]),
        (["1", "0.5", "1e3"], "float64", [1.0, 0.5, 1000.0]),
        (["0.1", "2.50"], "float64", [0.1, 2.5]),
        (["true", "null"], "bool", [True, None]),
        (['"é"', '""', '"1"'], "string", ["é", "", "1"]),
        (["null", "null"], "string", [None, None]),
        (["9223372036854775808", "1"], "json", ["9223372036854775808", "1"]),
        (["9007199254740993", "0.5"], "json", ["9007199254740993", "0.5"]),
        (["0.1000000000000000055511151231257827"], "json", ["0.1000000000000000055511151231257827"]),
        (["1e400", "1"], "json", ["1e400", "1"]),
        (["1", '"one"'], "json", ["1", '"one"']),
        (["true", "1"], "json", ["true", "1"]),
        (['{"b": [1.10, null], "a": "é"}', "[]"], "json", ['{"b": [1.10, null], "a": "é"}', "[]"]),
    ],
)
def test_a_column_has_the_type_that_all_its_values_fit(
    folder: Folder, values: list[str], type: str, read: list[object]
) -> None:
    folder.write("t.jsonl", lines(*values))

    assert [str(column.type) for column in folder.describe("t.jsonl").columns] == [type]
    assert folder.rows("t.jsonl") == [(value,) for value in read]


def test_fields_may_be_absent_and_come_in_any_order(folder: Folder) -> None:
    folder.write("t.ndjson", '{"a": 1}\n{"b": "x", "a": null}\n{}\n{"c": true, "b": "y"}')

    info = folder.describe("t.ndjson")

    assert [(column.name, str(column.type)) for column in info.columns] == [
        ("a", "int64"),
        ("b", "string"),
        ("c", "bool"),
    ]
    assert (info.rows, info.is_exact_rows) == (4, True)
    expected = [(1, None, None), (None, "x", None), (None, None, None), (None, "y", True)]
    assert folder.rows("t.ndjson") == expected
    assert folder.rows("t.ndjson", chunk_bytes=1) == expected


def test_texts_that_are_declared_to_be_null_are_null(folder: Folder) -> None:
    folder.write("t.jsonl", lines("1", '"NA"', '""'))

    assert folder.rows("t.jsonl", JsonLinesFormat(("NA", ""))) == [(1,), (None,), (None,)]


def test_a_number_whose_digits_a_float_gives_back_may_be_declared_as_one(folder: Folder) -> None:
    folder.write("t.jsonl", lines("0.10000000000000001", "9007199254740994", "1e3", '"2.5"', "null"))

    assert folder.rows("t.jsonl", types={"x": "float64"}) == [(0.1,), (9007199254740994.0,), (1000.0,), (2.5,), (None,)]


def test_what_is_nested_deeply_is_carried_as_it_is(folder: Folder) -> None:
    arrays, objects = "[" * 400 + "1.0" + "]" * 400, '{"a": ' * 400 + '"[\\""' + "}" * 400
    folder.write("t.jsonl", lines(arrays, objects, '[{"a": [1.50, {}, []], "b": null}, "é"]'))

    found = [value for (value,) in folder.rows("t.jsonl")]

    assert found == [arrays, objects, '[{"a": [1.50, {}, []], "b": null}, "é"]']


def test_a_file_without_lines_has_the_columns_that_are_declared(folder: Folder) -> None:
    folder.write("t.jsonl", "")

    assert [(column.name, str(column.type)) for column in folder.describe("t.jsonl", types={"n": "int16"}).columns] == [
        ("n", "int16")
    ]
    assert folder.chunks("t.jsonl", types={"n": "int16"}) == []
    assert folder.describe("t.jsonl").columns == ()


def test_chunks_are_read_in_batches_and_lose_no_line(folder: Folder) -> None:
    texts = [f"{number} {'x' * 1_000}" for number in range(3_000)]
    folder.write("t.jsonl", "".join(lines(json.dumps(text)) for text in texts))

    [chunk] = folder.chunks("t.jsonl")

    assert len(chunk.batches) > 2
    assert [value for batch in chunk.batches for value in batch.column(0).to_pylist()] == texts
    assert (chunk.rows, chunk.bytes) == (3_000, (folder.path / "t.jsonl").stat().st_size)


def test_declared_types_are_read_strictly(folder: Folder) -> None:
    folder.write("t.jsonl", '{"d": 1.10, "t": "2024-02-29", "n": "7", "u": 18446744073709551615, "j": "x", "f": 3}\n')
    types = {"d": "decimal(4,2)", "t": "date", "n": "int16", "u": "uint64", "j": "json", "f": "float32"}

    [row] = folder.rows("t.jsonl", types=types)

    assert [str(value) for value in row] == ["1.10", "2024-02-29", "7", "18446744073709551615", '"x"', "3.0"]


@pytest.mark.parametrize(
    ("type", "value", "why"),
    [
        ("int64", "1.0", "`1.0` is a number, and the column is int64"),
        ("int64", "9223372036854775808", "is no int64"),
        ("int16", "40000", "`40000` is no int16"),
        ("int64", "true", "`true` is true or false"),
        ("bool", "1", "`1` is a number"),
        ("string", "1", "`1` is a number"),
        ("string", "[1]", r"`\[1\]` is JSON"),
        ("float64", '"9007199254740993"', "is no float64 that gives back all its digits"),
        ("float64", "9007199254740993", "is no float64 that gives back all its digits"),
        ("float64", "0.1000000000000000055511151231257827", "is no float64 that gives back all its digits"),
        ("decimal(3,1)", "1.25", "`1.25` is no decimal"),
        ("date", "20240229", "`20240229` is a number"),
        ("date", '"2024-02-30"', "is no date"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused_with_its_line(
    folder: Folder, type: str, value: str, why: str
) -> None:
    folder.write("t.jsonl", lines("null", "null", value, "null"))

    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(DataRefused, match=f"t.jsonl, column `x`, row 3: .*{why}"):
            folder.rows("t.jsonl", types={"x": type}, chunk_bytes=chunk_bytes)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("{", "it is no JSON object"),
        ("[1]", "it is no JSON object"),
        ("1", "it is no JSON object"),
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('{"a": {"b": 1, "b": 2}}', "a name stands twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": -Infinity}', "-Infinity is no JSON"),
        ('{"a": 1} {"a": 2}', "it is no JSON object"),
        ('{"a": "\xff"}', "it is no JSON object"),
        ('{"a": ' + "[" * 100_000, "it is no JSON object"),
        ('{"a": ' + "9" * 5_000 + "}", "it is no JSON object"),
    ],
)
def test_a_line_that_is_no_object_is_refused_with_its_number(folder: Folder, line: str, why: str) -> None:
    folder.write("t.jsonl", b'{"a": 1}\n' + line.encode("latin-1") + b'\n{"a": 1}\n')

    with pytest.raises(DataRefused, match=f"t.jsonl, line 2: .*{why}"):
        folder.describe("t.jsonl")


@pytest.mark.parametrize("type", ["string", "json"])
def test_half_of_a_surrogate_pair_is_no_character(folder: Folder, type: str) -> None:
    folder.write("t.jsonl", lines('"good"', '"\\ud83d\\ude00"', '"\\ud83d"'))

    with pytest.raises(DataRefused, match=r"t.jsonl, column `x`, row 3: half of a surrogate pair"):
        folder.rows("t.jsonl", types={"x": type})


def test_a_line_beyond_every_measure_is_refused(folder: Folder) -> None:
    folder.write("t.jsonl", lines("1", json.dumps("x" * 5_000)))

    reader = JsonLinesReader(
        LocalFolder(folder.path).find("t.jsonl"), "t.jsonl", JsonLinesFormat(), {}, line_bytes_max=1_000
    )

    with pytest.raises(DataRefused, match="line 2: it has more than 1,000 bytes"):
        reader.columns()
    with pytest.raises(DataRefused, match="line 2: it has more than 1,000 bytes"):
        list(reader.chunks((), 10, SourceRange()))


def test_a_byte_order_mark_is_no_part_of_the_first_line(folder: Folder) -> None:
    folder.write("t.jsonl", "\ufeff" + lines("1", "2"))

    assert folder.rows("t.jsonl") == [(1,), (2,)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_what_is_not_utf8_is_no_line(folder: Folder, encoding: str) -> None:
    folder.write("t.jsonl", '{"a": 1}'.encode(encoding))

    with pytest.raises(DataRefused, match=r"t.jsonl, line 1: it is no JSON object"):
        folder.describe("t.jsonl")
