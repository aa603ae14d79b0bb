"""Rows of a result as the server sends them, undecoded: the driver's own reading costs more than the server's work.

A row is one packet of the text protocol: each value with its length before it, or a mark for NULL.
See https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

import struct
from collections.abc import Callable, Iterator

from pymysql import err
from pymysql.constants import CR

from pymigrate.engine.adapters.connectors.mysql_connection import Connection

PIECE_BYTES = 256 * 1024
PACKET_BYTES_MAX = 0xFFFFFF  # a packet of this size goes on in the next one
HEADER_BYTES = 4
_HEADER = struct.Struct("<I")
_ERROR, _END = 0xFF, 0xFE
_END_BYTES_MAX = 9
_NULL, _TWO, _THREE = 0xFB, 0xFC, 0xFD


def packets(connection: Connection, statement: str) -> Iterator[list[bytes]]:
    """The rows of a statement's result, as many at a time as have arrived. Raises the driver's errors. The connection can be used again
    once all rows are read, and not before."""
    file = connection.stream(statement)
    unpack, data, rows, longer = _HEADER.unpack_from, b"", list[bytes](), list[bytes]()
    while True:
        at, end = 0, len(data)
        missing = 0
        while end - at >= HEADER_BYTES:
            size = unpack(data, at)[0] & PACKET_BYTES_MAX
            after = at + HEADER_BYTES + size
            if after > end:
                missing = after - end
                break
            row = data[at + HEADER_BYTES : after]
            at = after
            if longer or size == PACKET_BYTES_MAX:
                longer.append(row)
                if size == PACKET_BYTES_MAX:
                    continue
                row = b"".join(longer)
                longer.clear()
            elif size and row[0] >= _END and _is_last(row):
                if rows:
                    yield rows
                return
            rows.append(row)
        if rows:
            yield rows
            rows = []
        rest = data[at:]
        # What is known to be missing is waited for; otherwise whatever has arrived is taken.
        data = rest + (_read(file.read, missing) if missing > PIECE_BYTES else _read(file.read1, PIECE_BYTES))


def values(row: bytes) -> list[bytes | None]:
    """The values of a row."""
    found: list[bytes | None] = []
    at, end = 0, len(row)
    while at < end:
        size = row[at]
        at += 1
        if size == _NULL:
            found.append(None)
            continue
        if size > _NULL:
            width = 2 if size == _TWO else 3 if size == _THREE else 8
            size = int.from_bytes(row[at : at + width], "little")
            at += width
        found.append(row[at : at + size])
        at += size
    return found


def _is_last(row: bytes) -> bool:
    """Whether the packet ends the result rather than being a row. Raises the error that it may carry."""
    if row[0] == _END and len(row) >= _END_BYTES_MAX:
        return False
    if row[0] == _ERROR:
        err.raise_mysql_exception(row)
    return True


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        piece = read(size)
    except OSError as error:
        raise err.OperationalError(CR.CR_SERVER_LOST, f"the connection is lost: {error}") from error
    if not piece:
        raise err.OperationalError(CR.CR_SERVER_LOST, "the connection is lost in the middle of a result")
    return piece
