"""CSV files as sources, measured by Python's own csv module, and what RFC 4180 does not allow."""

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.csv_source import CsvReader
from pymigrate.engine.adapters.connectors.stored_files import LocalFolder
from pymigrate.engine.domain.errors import DataRefused, SourceMissing
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.ranges import SourceRange
from tests.integration.connectors.source_files import Folder

FIELDS = st.text(st.sampled_from('ab",;\t \n\ré€') | st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(FIELDS, min_size=width, max_size=width), max_size=12))


@given(
    rows=tables(),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    has_bom=st.booleans(),
    is_all_quoted=st.booleans(),
    has_last_end=st.booleans(),
    chunk_bytes=st.sampled_from([1, 7, 40, 1_000_000]),
)
@example(
    rows=[["a\nb", '"']],
    delimiter=",",
    line_end="\r\n",
    has_bom=True,
    is_all_quoted=True,
    has_last_end=False,
    chunk_bytes=1,
)
def test_what_pythons_csv_writes_is_read_as_it_was(
    rows: list[list[str]],
    delimiter: str,
    line_end: str,
    has_bom: bool,
    is_all_quoted: bool,
    has_last_end: bool,
    chunk_bytes: int,
) -> None:
    if not is_all_quoted:  # Python's csv does not quote a carriage return for its own sake
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    width = len(rows[0]) if rows else 2
    names = [f"column {number}" for number in range(width)]
    buffer = io.StringIO()
    csv.writer(
        buffer,
        delimiter=delimiter,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if is_all_quoted else csv.QUOTE_MINIMAL,
    ).writerows([names, *rows])
    text = buffer.getvalue() if has_last_end else buffer.getvalue().removesuffix(line_end)
    form = CsvFormat(delimiter)

    with TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.write("t.csv", (b"\xef\xbb\xbf" if has_bom else b"") + text.encode())
        chunks = folder.chunks("t.csv", form, chunk_bytes=chunk_bytes)
        found = folder.rows("t.csv", form, chunk_bytes=chunk_bytes)
        middle = chunks[len(chunks) // 2] if chunks else None
        rest = folder.rows("t.csv", form, after=middle.end) if middle else []

    assert found == [tuple(row) for row in rows]
    assert sum(chunk.rows for chunk in chunks) == len(rows)
    done = sum(chunk.rows for chunk in chunks[: len(chunks) // 2 + 1])
    assert rest == found[done:]


def test_an_empty_field_is_text_unless_it_is_declared_to_be_null(folder: Folder) -> None:
    folder.write("t.csv", 'a,b\n,""\nNA,"NA"\nna,x\n')

    assert folder.rows("t.csv") == [("", ""), ("NA", "NA"), ("na", "x")]
    assert folder.rows("t.csv", CsvFormat(null_values=("",))) == [(None, ""), ("NA", "NA"), ("na", "x")]
    assert folder.rows("t.csv", CsvFormat(null_values=("", "NA"))) == [(None, ""), (None, "NA"), ("na", "x")]


def test_types_are_read_strictly_and_null_stays_null(folder: Folder) -> None:
    folder.write("t.csv", "n,d,f,when,is_on\n1,1.50,0.1,2024-02-29T12:00:00,true\nNA,NA,NA,NA,NA\n")
    types = {"n": "int32", "d": "decimal(6,2)", "f": "float64", "when": "timestamp", "is_on": "bool"}

    [first, second] = folder.rows("t.csv", CsvFormat(null_values=("NA",)), types)

    assert [str(value) for value in first] == ["1", "1.50", "0.1", "2024-02-29 12:00:00", "True"]
    assert second == (None,) * 5


@pytest.mark.parametrize(
    ("type", "text"),
    [
        ("int64", "1.0"),
        ("int64", " 1"),
        ("int64", ""),
        ("int64", "1e3"),
        ("bool", "on"),
        ("float64", "1,5"),
        ("float64", "1e999"),
        ("float64", "1e-999"),
        ("float64", "0.1000000000000000055511151231257827"),
        ("float64", "9007199254740993"),
        ("float32", "16777217"),
        ("decimal(3,1)", "99.95"),
    ],
)
def test_a_field_that_is_no_value_of_its_type_is_refused_with_its_row(folder: Folder, type: str, text: str) -> None:
    good = {"bool": "true"}.get(type, "2")
    folder.write("t.csv", f't;x\n"two\nlines";{good}\n;{good}\n;{text}\n;{good}\n')

    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(DataRefused, match=rf"t.csv, column `x`, row 3: `{text}` is no {type[:3]}") as found:
            folder.rows("t.csv", CsvFormat(";"), {"x": type}, chunk_bytes)
        assert found.value.field == "source.columns.x"


@pytest.mark.parametrize(("record", "count"), [("1", 1), ("1,2,3", 3), ('"1,2"', 1)])
def test_too_many_or_too_few_fields_are_refused_with_their_row(folder: Folder, record: str, count: int) -> None:
    folder.write("t.csv", f'a,b\n1,2\n"x\ny",2\n{record}\n5,6\n')

    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(DataRefused, match=f"t.csv, row 3: it has {count} fields, and the header 2"):
            folder.rows("t.csv", chunk_bytes=chunk_bytes)


@pytest.mark.parametrize("record", ['1,2"3', '"1"2,3', '"1" ,3', '1, "2"', '1,2"'])
def test_a_quote_inside_a_field_is_refused(folder: Folder, record: str) -> None:
    folder.write("t.csv", f"a,b\n1,2\n{record}\n")

    with pytest.raises(
        DataRefused, match=r"t.csv, about row 2: a quote stands inside a field|t.csv, row 2: a quoted field"
    ):
        folder.rows("t.csv")


def test_a_quoted_field_that_does_not_end_is_refused(folder: Folder) -> None:
    folder.write("t.csv", 'a,b\n1,2\n3,"4\n5,6\n')

    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(DataRefused, match="row 2: a quoted field does not end before the file does"):
            folder.rows("t.csv", chunk_bytes=chunk_bytes)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("a,b,a\n", "the header has two columns `a`"),
        ("a,,b\n", "the header has a column without a name"),
        ("a,\xff\n", "the header can't be read"),
        ("a,b\r1,2\r3,4\r", "the header: a carriage return stands alone"),
        ('a,"b\n1,2\n', "a quoted field does not end"),
    ],
)
def test_a_header_that_is_none_is_refused(folder: Folder, header: str, why: str) -> None:
    folder.write("t.csv", header.encode("latin-1"))

    with pytest.raises(DataRefused, match=why):
        folder.describe("t.csv")


@pytest.mark.parametrize("content", ["", "\n", "\r\n", "\n\n1,2\n"])
def test_a_file_without_a_header_is_no_source(folder: Folder, content: str) -> None:
    folder.write("t.csv", content)

    with pytest.raises(SourceMissing, match=r"t.csv is empty: a CSV file begins with a line of column names") as found:
        folder.describe("t.csv")
    assert found.value.field == "source.relation"


@pytest.mark.parametrize("header", ["a,b", "a,b\n", "\ufeffa,b\r\n", '\ufeff"a","b"'])
def test_a_file_with_a_header_only_has_columns_and_no_rows(folder: Folder, header: str) -> None:
    folder.write("t.csv", header)

    assert [column.name for column in folder.describe("t.csv").columns] == ["a", "b"]
    assert folder.chunks("t.csv") == []


def test_empty_lines_are_rows_of_a_single_column_and_nothing_otherwise(folder: Folder) -> None:
    folder.write("one.csv", "a\nx\n\ny\n")
    folder.write("two.csv", "a,b\n1,2\n\n3,4\n")

    assert folder.rows("one.csv") == [("x",), ("",), ("y",)]
    assert folder.rows("two.csv") == [("1", "2"), ("3", "4")]


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1_000_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_chunk_is_made_of_empty_lines_alone(folder: Folder, chunk_bytes: int, end: str) -> None:
    folder.write("none.csv", end.join(["a,b", "", "", ""]))
    folder.write("some.csv", end.join(["a,b", "", "1,2", "", "", "", "3,4", "", ""]))
    chunks = folder.chunks("some.csv", chunk_bytes=chunk_bytes)

    assert folder.chunks("none.csv", chunk_bytes=chunk_bytes) == []
    assert all(chunk.rows for chunk in chunks)
    assert folder.rows("some.csv", chunk_bytes=chunk_bytes) == [("1", "2"), ("3", "4")]
    assert folder.rows("some.csv", after=chunks[-1].end) == []


@pytest.mark.parametrize(
    ("type", "text", "read"),
    [
        ("float64", "0.10000000000000001", 0.1),
        ("float64", "5e-324", 5e-324),
        ("float64", "-0.000", -0.0),
        ("float64", "100000000000000000000000", 1e23),
        ("float64", "0.300000000000000000000000", 0.3),
        ("float64", "nan", None),
        ("float32", "16777216", 16777216.0),
        ("float32", "3.40282347e+38", 3.4028234663852886e38),
    ],
)
def test_a_number_whose_digits_a_float_gives_back_is_that_float(
    folder: Folder, type: str, text: str, read: float | None
) -> None:
    folder.write("t.csv", f"x\n{text}\n")

    [(value,)] = folder.rows("t.csv", types={"x": type})

    assert (value == read and str(value) == str(read)) if read is not None else value != value


@given(st.lists(st.floats(), min_size=1))
def test_what_is_written_of_a_float_is_read_as_that_float(values: list[float]) -> None:
    for form in ("{!r}", "{:.16e}", "{:.17g}"):
        with TemporaryDirectory() as place:
            folder = Folder(Path(place))
            folder.write("t.csv", "x\n" + "".join(f"{form.format(value)}\n" for value in values))

            assert [str(value) for (value,) in folder.rows("t.csv", types={"x": "float64"})] == list(map(str, values))


def test_a_record_that_is_larger_than_a_chunk_is_a_chunk(folder: Folder) -> None:
    huge = "line\n" * 200_000
    folder.write("t.csv", f'a,b\n1,2\n"{huge}",3\n4,5\n')

    chunks = folder.chunks("t.csv", chunk_bytes=100)

    assert folder.rows("t.csv", chunk_bytes=100) == [("1", "2"), (huge, "3"), ("4", "5")]
    assert len(chunks) >= 2


@pytest.mark.parametrize("record", ["3\r4,5", "3,4\r", '"3",4\r5,6', "\r"])
def test_a_carriage_return_alone_is_refused(folder: Folder, record: str) -> None:
    folder.write("t.csv", f'a,b\r\n"1\r\n",2\r\n{record}')

    for chunk_bytes in (1, 1_000_000):
        with pytest.raises(DataRefused, match=r"t.csv, row 2: a carriage return stands alone"):
            folder.rows("t.csv", chunk_bytes=chunk_bytes)


def test_a_record_beyond_every_measure_is_refused(folder: Folder) -> None:
    folder.write("t.csv", f"a,b\n1,2\n3,{'x' * 5_000}\n")

    reader = CsvReader(LocalFolder(folder.path).find("t.csv"), "t.csv", CsvFormat(), record_bytes_max=1_000)

    with pytest.raises(DataRefused, match="row 2: it has more than 1,000 bytes"):
        list(reader.chunks(reader.columns(), 10, SourceRange()))


def test_tabs_separate_in_a_file_that_says_so(folder: Folder) -> None:
    folder.write("t.tsv", 'a\tb\n1,5\t"x\ty"\n')

    assert folder.rows("t.tsv") == [("1,5", "x\ty")]


def test_text_that_is_not_utf8_is_refused_with_its_row(folder: Folder) -> None:
    folder.write("t.csv", b'a,b\n"1\n2",2\n3,\xe9\n')

    with pytest.raises(DataRefused, match=r"t.csv, column `b`, row 2: it is not UTF-8"):
        folder.rows("t.csv")


def test_text_that_is_not_utf8_is_found_in_fields_of_any_size(folder: Folder) -> None:
    folder.write("t.csv", b"a,b\n1,\xc3\xa9\n" + b"x" * 200_000 + b"\xff,2\n\xff,\xff\n")

    with pytest.raises(DataRefused, match=r"t.csv, column `a`, row 2: it is not UTF-8"):
        folder.rows("t.csv")
