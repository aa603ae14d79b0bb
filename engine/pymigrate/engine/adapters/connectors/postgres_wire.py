"""PostgreSQL's rows as COPY's binary format, moved between libpq's buffers and whoever takes them, and never decoded.

A type of PostgreSQL's own has one binary form on every server since version 12. Any other column travels as its text: enumerations,
composites, domains and types of extensions have no meaning, and often no place, on another server; `money` depends on a setting, and an
OID names another thing there.
"""

import re
import select
from collections.abc import Callable, Sequence

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.source import Piece

PIECE_BYTES = 256 * 1024
_OWN = frozenset(
    {
        *("boolean", "bytea", '"char"', "name", "bigint", "smallint", "integer", "text", "json", "jsonb", "uuid"),
        *("real", "double precision", "numeric", "date", "interval", "bit", "bit varying", "inet", "cidr", "macaddr"),
        *("macaddr8", "character", "character varying", "bpchar", "point", "lseg", "path", "box", "polygon", "line"),
        *("circle", "tsvector", "tsquery", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
        *("time without time zone", "time with time zone"),
        *("timestamp without time zone", "timestamp with time zone"),
    }
)
_SIZE = re.compile(r"\(-?\d+(,-?\d+)?\)")


def wire_type(native: str) -> str:
    """The type that a column of a native type has in the target, and on the way: itself, or `text`."""
    word = _SIZE.sub("", native.removesuffix("[]"))
    is_own = word in _OWN or word.startswith("interval ")
    return native if is_own else "text"


def wire_expression(column: ColumnInfo) -> str:
    """What is selected for a column."""
    name = quote(column.name)
    return name if wire_type(column.native_type) == column.native_type else f"{name}::text"


def digest_statement(columns: Sequence[str], key: Sequence[str], share: int, rows: str) -> str:
    """Counts and hashes the rows of a FROM item, by expressions of their columns and of their key.

    What is hashed is what COPY would send, so that 1.10 is not 1.1 and -0.0 not 0.0. A row's hash does not change with the server's
    version: the places of rows in hash partitions depend on it, which a dump and a restore keep.
    """
    where = f" WHERE hash_record_extended(ROW({', '.join(key)}), 0) % {share} = 0" if share > 1 and key else ""
    return (
        "SELECT count(*), coalesce(sum(h), 0)::text FROM (SELECT hash_record_extended(ROW(record_send(ROW("
        f"{', '.join(columns)}))), 0) AS h FROM {rows}{where}) AS hashes"
    )


def copy_out(connection: psycopg.Connection, statement: str) -> tuple[list[bytes], int]:
    """What a COPY … TO STDOUT gives, in pieces of about PIECE_BYTES, and how many rows that are. Raises the driver's errors."""
    libpq = connection.pgconn
    _require(libpq, libpq.exec_(statement.encode()), ExecStatus.COPY_OUT)
    pieces: list[bytes] = []
    held: list[bytes] = []
    size = 0
    read, wait = libpq.get_copy_data, _poll(libpq, select.POLLIN)
    while (found := read(1))[0] >= 0:
        if found[0]:
            held.append(bytes(found[1]))
            size += found[0]
            continue
        if size >= PIECE_BYTES:
            pieces.append(b"".join(held))
            held.clear()
            size = 0
        wait()
        libpq.consume_input()
    if held:
        pieces.append(b"".join(held))
    return pieces, _ended(libpq)


def copy_messages(connection: psycopg.Connection, statement: str) -> list[bytes]:
    """The messages of a COPY … TO STDOUT, each a row; the header of the binary format is part of the first. Raises the driver's errors."""
    libpq = connection.pgconn
    _require(libpq, libpq.exec_(statement.encode()), ExecStatus.COPY_OUT)
    held: list[bytes] = []
    read, wait = libpq.get_copy_data, _poll(libpq, select.POLLIN)
    while (found := read(1))[0] >= 0:
        if found[0]:
            held.append(bytes(found[1]))
        else:
            wait()
            libpq.consume_input()
    _ended(libpq)
    return held


def copy_in(connection: psycopg.Connection, statement: str, pieces: Sequence[Piece]) -> int:
    """Gives pieces to a COPY … FROM STDIN, and returns how many rows the server took. Raises the driver's errors."""
    libpq = connection.pgconn
    _require(libpq, libpq.exec_(statement.encode()), ExecStatus.COPY_IN)
    wait = _poll(libpq, select.POLLIN | select.POLLOUT)
    libpq.nonblocking = 1
    try:
        for piece in pieces:
            libpq.put_copy_data(piece)
            _flush(libpq, wait)
        libpq.put_copy_end(None)
        _flush(libpq, wait)
        return _ended(libpq)
    finally:
        if libpq.status != ConnStatus.BAD:
            libpq.nonblocking = 0


def _poll(libpq: PGconn, events: int) -> Callable[[], bool]:
    """Waits for the server, and tells whether it said something. The driver's own blocking calls hold up every other thread, and with
    it the other side of the copy."""
    poll = select.poll()
    poll.register(libpq.socket, events)
    return lambda: any(event & ~select.POLLOUT for _, event in poll.poll())


def _flush(libpq: PGconn, wait: Callable[[], bool]) -> None:
    while libpq.flush():
        if wait():
            libpq.consume_input()


def _ended(libpq: PGconn) -> int:
    """Every result that is left, of which the first that is an error is raised."""
    rows, failed, wait = 0, None, _poll(libpq, select.POLLIN)
    while True:
        while libpq.is_busy():
            wait()
            libpq.consume_input()
        if (result := libpq.get_result()) is None:
            break
        if result.status == ExecStatus.COMMAND_OK:
            rows = result.command_tuples or 0
        elif failed is None:
            failed = result
        if libpq.status == ConnStatus.BAD:
            break
    if failed is not None or libpq.status == ConnStatus.BAD:
        raise _error(libpq, failed)
    return rows


def _require(libpq: PGconn, result: PGresult, status: ExecStatus) -> None:
    if result.status != status:
        raise _error(libpq, result)


def _error(libpq: PGconn, result: PGresult | None) -> psycopg.Error:
    if libpq.status == ConnStatus.BAD or result is None:
        text = result.error_message if result is not None else libpq.error_message
        return psycopg.OperationalError(text.decode(errors="replace").strip() or "the connection is lost")
    return errors.error_from_result(result)
