"""CSV files: byte ranges that begin and end between records, parsed by Arrow as text, then read strictly as their types.

RFC 4180 is taken at its word: a quote inside an unquoted field is refused, because it would make the ends of records a guess.
"""

import csv
import io
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pymigrate.engine.adapters.connectors.chunk_sizes import growing
from pymigrate.engine.adapters.connectors.csv_passing import pieces_of
from pymigrate.engine.adapters.connectors.record_ends import end_of, record_ends
from pymigrate.engine.adapters.connectors.source_values import (
    Unreadable,
    check_there,
    first_failure,
    read_texts,
    refused,
)
from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.adapters.connectors.text_stream import Place, TextStream, place_of, start_of
from pymigrate.engine.domain.errors import DataRefused, SourceChanged, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import UNKNOWN
from pymigrate.engine.ports.source import SourceChunk

RECORD_BYTES_MAX = 256 * 1024 * 1024
HEADER_BYTES = 64 * 1024
NEWLINES_TRIED_MAX = 64  # one by one from the end, where most often the last line end is that of a record
BOM = b"\xef\xbb\xbf"
QUOTE, NEWLINE, RETURN = ord('"'), ord("\n"), ord("\r")


class CsvReader:
    """A file with a header line. Columns are text unless the dataset declares otherwise."""

    def __init__(
        self, file: StoredFile, relation: str, form: CsvFormat, record_bytes_max: int = RECORD_BYTES_MAX
    ) -> None:
        self._file = file
        self._relation = relation
        self._form = form
        self._record_bytes_max = record_bytes_max
        self._names, self._start = self._read_header()

    def columns(self) -> tuple[ColumnInfo, ...]:
        """The header's names, all text."""
        return tuple(ColumnInfo(name, ColumnType("string")) for name in self._names)

    def declared(self, name: str, kind: ColumnType) -> None:
        """A field's text is read strictly as whatever is declared."""

    def rows(self) -> int:
        """Not known without reading the file."""
        return UNKNOWN

    def split(self, parts: int) -> Sequence[Position]:
        """At ends of records, which only reading from the start on can tell: a line end may lie within quotes."""
        return record_ends(self._file, self._start.offset, parts, has_quotes=True, counts_empty=len(self._names) == 1)

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """Records in the order of the file; a position is the offset and the number of records before it."""
        return self._chunks(columns, chunk_bytes, span, is_passing=False)

    def passing_chunks(
        self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange
    ) -> Iterator[SourceChunk]:
        """The same, with the records as they lie in the file wherever a server reads them alike. The columns are those of the header."""
        if [column.name for column in columns] != self._names:
            raise self._changed(f"has other columns than {', '.join(column.name for column in columns)}")
        return self._chunks(columns, chunk_bytes, span, is_passing=True)

    def _chunks(
        self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange, *, is_passing: bool
    ) -> Iterator[SourceChunk]:
        check_there(self._relation, columns, self._names)
        place, sizes = place_of(span.after, self._start), growing(chunk_bytes)
        with TextStream(self._file, place) as stream:
            blocks = _Blocks(stream, end_of(span) - place.offset)
            while block := self._block(blocks, next(sizes), place.row):
                texts = self._parse(block, place.row)
                batches = self._typed(texts, columns, place.row)
                place = place.after(block, texts.num_rows)
                stream.row = place.row
                if texts.num_rows:  # empty lines hold no row
                    pieces = pieces_of(block, len(columns)) if is_passing else ()
                    yield SourceChunk(tuple(batches), texts.num_rows, len(block), place.position(), pieces)

    def _changed(self, what: str) -> SourceChanged:
        return SourceChanged(
            f"{self._relation} {what}: it changed since the run was started, start another", field="source.relation"
        )

    def _read_header(self) -> tuple[list[str], Place]:
        with TextStream(self._file, start_of(self._file)) as stream:
            block = self._block(_Blocks(stream), HEADER_BYTES, -1, is_first=True)
        if not block.strip(b"\r\n"):
            raise SourceMissing(
                f"{self._relation} is empty: a CSV file begins with a line of column names", field="source.relation"
            )
        start = len(BOM) if block.startswith(BOM) else 0
        try:
            lines = list(csv.reader(io.StringIO(block[start:].decode(), newline=""), delimiter=self._form.delimiter))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataRefused(f"{self._relation}: the header can't be read: {error}") from error
        [names] = lines
        doubled = {name for name in names if names.count(name) > 1}
        if doubled or "" in names:
            what = f"two columns `{min(doubled)}`" if doubled - {""} else "a column without a name"
            raise DataRefused(f"{self._relation}: the header has {what}")
        return names, start_of(self._file).after(block, 0)

    def _block(self, blocks: "_Blocks", size: int, row: int, *, is_first: bool = False) -> bytes:
        """The next whole records, about `size` bytes, or the first record alone; empty at the end."""
        while True:
            block, is_end = blocks.look(size)
            end = self._last_end(block, row, is_first=is_first)
            if end:
                return blocks.take(end)
            if is_end and block.count(b'"') % 2:
                raise DataRefused(
                    f"{self._relation}, {_where(row + 1)}: a quoted field does not end before the file does"
                )
            if is_end:
                if block.endswith(b"\r"):
                    raise self._lone_return(row, 0)
                return blocks.take(len(block))
            if size >= self._record_bytes_max:
                raise DataRefused(
                    f"{self._relation}, {_where(row + 1)}: it has more than {self._record_bytes_max:,} bytes"
                )
            size = min(4 * size, self._record_bytes_max)

    def _last_end(self, block: bytes, row: int, *, is_first: bool) -> int:
        """Where the last whole record ends (the first one, when that is asked for); 0 when none does."""
        codes = np.frombuffer(block, np.uint8)
        quotes = np.flatnonzero(codes == QUOTE) if b'"' in block else np.array([], np.int64)
        if quotes.size:
            self._refuse_stray(codes, quotes, row)
        if b"\r" in block:
            self._refuse_lone_returns(codes, quotes, row)
        find = block.find if is_first else block.rfind
        start, end = 0, len(block)
        for _ in range(NEWLINES_TRIED_MAX):
            at = find(b"\n", start, end)
            if at < 0:
                return 0
            if int(np.searchsorted(quotes, at)) % 2 == 0:
                return at + 1
            start, end = (at + 1, end) if is_first else (start, at)
        newlines = np.flatnonzero(codes == NEWLINE)
        newlines = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        return int(newlines[0 if is_first else -1]) + 1 if newlines.size else 0

    def _refuse_lone_returns(
        self,
        codes: "np.ndarray[tuple[int], np.dtype[np.uint8]]",
        quotes: "np.ndarray[tuple[int], np.dtype[np.int64]]",
        row: int,
    ) -> None:
        returns = np.flatnonzero(codes[:-1] == RETURN)
        returns = returns[codes[returns + 1] != NEWLINE]
        returns = returns[np.searchsorted(quotes, returns) % 2 == 0]
        if returns.size:
            newlines = np.flatnonzero(codes[: returns[0]] == NEWLINE)
            records = np.count_nonzero(np.searchsorted(quotes, newlines) % 2 == 0)
            raise self._lone_return(row, int(records))

    def _lone_return(self, row: int, records: int) -> DataRefused:
        return DataRefused(
            f"{self._relation}, {_where(row + records + 1)}: a carriage return stands alone: "
            "end lines with LF or CR LF, and quote what holds one"
        )

    def _refuse_stray(
        self,
        codes: "np.ndarray[tuple[int], np.dtype[np.uint8]]",
        quotes: "np.ndarray[tuple[int], np.dtype[np.int64]]",
        row: int,
    ) -> None:
        opening = quotes[::2]
        before = codes[np.maximum(opening - 1, 0)]
        allowed = np.isin(before, [ord(self._form.delimiter), NEWLINE, RETURN, QUOTE]) | (opening == 0)
        if codes[: len(BOM)].tobytes() == BOM:
            allowed |= opening == len(BOM)
        closing = quotes[1::2]
        behind = codes[np.minimum(closing + 1, codes.size - 1)]
        ended = np.isin(behind, [ord(self._form.delimiter), NEWLINE, RETURN, QUOTE]) | (closing == codes.size - 1)
        strays = np.concatenate([opening[~allowed], closing[~ended]])
        if strays.size:
            at = int(strays.min())
            lines = int(np.count_nonzero(codes[:at] == NEWLINE))
            raise DataRefused(
                f"{self._relation}, about row {row + lines + 1}: a quote stands inside a field; "
                "quote the whole field and double the quote"
            )

    def _parse(self, block: bytes, row: int) -> pa.Table:
        try:
            return self._read(block, row, pa.string())
        except pa.ArrowInvalid as error:
            raise self._undecodable(block, row) or DataRefused(f"{self._relation}, after row {row}: {error}") from error

    def _read(self, block: bytes, row: int, kind: pa.DataType) -> pa.Table:
        """The block's fields, each as it stands."""
        bad: list[pyarrow.csv.InvalidRow] = []

        def refuse(found: pyarrow.csv.InvalidRow) -> str:
            bad.append(found)
            return "skip"

        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(
                column_names=self._names, use_threads=False, block_size=max(len(block), 1) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._form.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=len(self._names) > 1,
                invalid_row_handler=refuse,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(self._names, kind),
                null_values=list(self._form.null_values),
                strings_can_be_null=bool(self._form.null_values),
                quoted_strings_can_be_null=False,
            ),
        )
        if bad:
            number = row + bad[0].number if bad[0].number is not None else row + 1
            raise DataRefused(
                f"{self._relation}, row {number}: it has {bad[0].actual_columns} fields, and the header {bad[0].expected_columns}"
            )
        return table

    def _undecodable(self, block: bytes, row: int) -> DataRefused | None:
        """The error for the first field that is not UTF-8, if that is what is wrong."""
        try:
            table = self._read(block, row, pa.binary())
        except pa.ArrowInvalid:
            return None
        found: list[tuple[int, str]] = []
        for name in self._names:
            values = table.column(name).combine_chunks()
            try:
                pc.cast(values, pa.string())
            except pa.ArrowInvalid:
                found.append((first_failure(values, lambda some: pc.cast(some, pa.string())), name))
        if not found:
            return None
        at, name = min(found)
        return refused(self._relation, name, row + at + 1, "it is not UTF-8")

    def _typed(self, table: pa.Table, columns: Sequence[ColumnInfo], row: int) -> list[pa.RecordBatch]:
        schema = arrow_schema(columns)
        arrays = []
        for column in columns:
            texts = table.column(column.name).combine_chunks()
            try:
                arrays.append(read_texts(texts, column.type))
            except Unreadable as error:
                raise refused(self._relation, column.name, row + error.row + 1, str(error)) from error
        return list(pa.Table.from_arrays(arrays, schema=schema).to_batches())


class _Blocks:
    """The bytes of a stream, of which those that are looked at stay until they are taken; at most `left` of them."""

    def __init__(self, stream: TextStream, left: int = sys.maxsize) -> None:
        self._stream = stream
        self._left = left
        self._held = b""

    def look(self, size: int) -> tuple[bytes, bool]:
        """The next bytes, at least `size` but at the end, and whether they are the last."""
        wanted = min(size, self._left)
        if len(self._held) < wanted:
            self._held += self._stream.read(wanted - len(self._held))
        return self._held, len(self._held) < size

    def take(self, size: int) -> bytes:
        """Takes the first of the bytes that were looked at."""
        taken, self._held = self._held[:size], self._held[size:]
        self._left -= size
        return taken


def _where(row: int) -> str:
    """A record by its number; the header comes before the first."""
    return f"row {row}" if row else "the header"
