"""CSV records that PostgreSQL is given as they lie in the file, wherever it reads them exactly as PyMigrate does.

What differs for a whole relation keeps the path from being offered. What differs for some records only (times in a form that PostgreSQL
reads otherwise, line ends that are mixed, empty lines, `\\.` and NUL) lets those go as the batches that they parse to.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.source import Piece

PIECE_BYTES = 256 * 1024
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?"
_FORMS = {
    "date": f"^{_DAY}$",
    "time": f"^{_CLOCK}$",
    "timestamp": f"^{_DAY}([ T]{_CLOCK})?$",
    "timestamptz": f"^{_DAY}[ T]{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$",
}
_YEAR_ONE = "0001-01-01"  # PostgreSQL has no year 0
_UNFIT_NULL = re.compile(r'[\r\n"]')


def relation_obstacle(form: CsvFormat, columns: Sequence[ColumnInfo]) -> str:
    """Why PostgreSQL would read the relation's records otherwise; empty where it would not."""
    if len(form.null_values) > 1:
        return "PostgreSQL knows one text for NULL, and the dataset names several"
    for text in form.null_values:
        if _UNFIT_NULL.search(text) or form.delimiter in text:
            return "the text for NULL holds a delimiter, a quote or a line end"
    if found := [column.name for column in columns if column.type.kind == "bytes"]:
        return f"PostgreSQL reads escapes in column `{found[0]}`, which is bytes"
    return ""


def pieces_of(block: bytes, texts: pa.Table, columns: Sequence[ColumnInfo]) -> tuple[Piece, ...]:
    """The block in pieces; none where PostgreSQL would read some of it otherwise."""
    if not _has_one_reading(block, is_single=texts.num_columns == 1):
        return ()
    if not all(_is_alike(texts.column(column.name), column.type) for column in columns):
        return ()
    return tuple(block[start : start + PIECE_BYTES] for start in range(0, len(block), PIECE_BYTES))


def _has_one_reading(block: bytes, *, is_single: bool) -> bool:
    """Whether line ends are all alike, no line is empty, and none is what ends COPY's data."""
    # A single byte is found many times faster than two, of which the second is a common one.
    if b"\0" in block or (b"\\" in block and b"\\." in block):
        return False
    has_returns = b"\r" in block
    if has_returns:
        pairs = block.count(b"\r\n")
        if block.count(b"\r") != pairs or block.count(b"\n") != pairs:
            return False
    if is_single:
        return True
    end = b"\r\n" if has_returns else b"\n"
    return not block.startswith(end) and end + end not in block


def _is_alike(texts: pa.ChunkedArray, column: ColumnType) -> bool:
    """Whether each text of a date or time has the form that both read alike."""
    form = _FORMS.get(column.kind)
    if form is None:
        return True
    if pc.all(pc.match_substring_regex(texts, form)).as_py() is False:
        return False
    first = pc.min(texts).as_py() if column.kind != "time" else None
    return first is None or bool(first >= _YEAR_ONE)
