"""Where records of a text file end: what divides it into parts that can be read beside one another."""

import json
import sys
from collections.abc import Sequence

import numpy as np

from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.adapters.connectors.text_stream import Place
from pymigrate.engine.ports.file_formats import packing_of
from pymigrate.engine.ports.ranges import Position, SourceRange

SCAN_BYTES = 16 * 1024 * 1024
SCANNED_BYTES_MAX = 32 * 1024**3  # what is scanned within half a minute; a larger file is read by one lane
QUOTE, NEWLINE, RETURN = ord('"'), ord("\n"), ord("\r")


def end_of(span: SourceRange) -> int:
    """The offset at which a range of a text file ends."""
    return int(json.loads(span.until)["offset"]) if span.until else sys.maxsize


def record_ends(
    file: StoredFile, start: int, parts: int, *, has_quotes: bool, counts_empty: bool
) -> Sequence[Position]:
    """Positions after records that divide the file from `start` on into at most so many parts of about the same size; none in a packed
    file, of which each part would unpack what comes before it.

    `has_quotes`: a line end within quotes ends no record; `counts_empty`: an empty line is a record.
    """
    if packing_of(file.name):
        return ()
    size = file.size
    wanted = [start + (size - start) * number // parts for number in range(1, parts)]
    if size - start > SCANNED_BYTES_MAX:
        return ()
    found: dict[int, int] = {}
    offset, row, quotes_before, last_end = start, 0, 0, start
    with file.open() as stream:
        stream.seek(start)
        while wanted and (block := stream.read(SCAN_BYTES)):
            codes = np.frombuffer(block, np.uint8)
            ends = np.flatnonzero(codes == NEWLINE)
            if has_quotes:
                quotes = np.flatnonzero(codes == QUOTE)
                ends = ends[(np.searchsorted(quotes, ends) + quotes_before) % 2 == 0]
                quotes_before += quotes.size
            after = ends + 1 + offset
            lengths = np.diff(after, prepend=last_end)
            has_return = codes[np.maximum(ends - 1, 0)] == RETURN
            is_record = np.ones(ends.size, bool) if counts_empty else ~((lengths == 1) | ((lengths == 2) & has_return))
            rows = row + np.cumsum(is_record)
            while wanted and after.size and wanted[0] <= after[-1]:
                at = int(np.searchsorted(after, wanted.pop(0)))
                if start < after[at] < size:
                    found[int(after[at])] = int(rows[at])
            if ends.size:
                row, last_end = int(rows[-1]), int(after[-1])
            offset += len(block)
    return [Place(end, rows).position() for end, rows in sorted(found.items())]
