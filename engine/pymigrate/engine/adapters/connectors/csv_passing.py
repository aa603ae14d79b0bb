"""CSV records of texts that PostgreSQL is given as they lie in the file, wherever it reads them exactly as PyMigrate does.

What differs for a whole relation keeps the path from being offered. What differs for some records only (line ends that are mixed, empty
lines, `\\.` and NUL) lets those go as the batches that they parse to. Where a column is more than text, the server would parse what is
parsed here anyway, and COPY's binary rows cost less: by a fifth of all processor time, see `benchmarks/transfer.py`.
"""

import re
from collections.abc import Sequence

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.source import Piece

PIECE_BYTES = 256 * 1024
_UNFIT_NULL = re.compile(r'[\r\n"]')


def relation_obstacle(form: CsvFormat, columns: Sequence[ColumnInfo]) -> str:
    """Why the relation's records are not given to PostgreSQL as they lie there; empty where they are."""
    if len(form.null_values) > 1:
        return "PostgreSQL knows one text for NULL, and the dataset names several"
    for text in form.null_values:
        if _UNFIT_NULL.search(text) or form.delimiter in text:
            return "the text for NULL holds a delimiter, a quote or a line end"
    for column in columns:
        if column.type.kind != "string":
            return f"column `{column.name}` is {column.type}, and what is parsed anyway costs less as binary rows"
    return ""


def pieces_of(block: bytes, columns: int) -> tuple[Piece, ...]:
    """The block in pieces; none where PostgreSQL would read some of its records, of so many columns, otherwise."""
    if not _has_one_reading(block, is_single=columns == 1):
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
