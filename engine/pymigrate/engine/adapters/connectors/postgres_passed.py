"""PostgreSQL's part in taking rows that pass undecoded, and what it says of a row that it refuses."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors

from pymigrate.engine.adapters.connectors.postgres_catalog import PostgresCatalog
from pymigrate.engine.adapters.connectors.postgres_connection import first_line
from pymigrate.engine.adapters.connectors.postgres_two_phase import TwoPhaseTarget
from pymigrate.engine.adapters.connectors.postgres_values import native_type
from pymigrate.engine.adapters.connectors.postgres_wire import copy_in, digest_statement, wire_type
from pymigrate.engine.adapters.connectors.target_statements import Table, quote
from pymigrate.engine.adapters.connectors.target_values import refused
from pymigrate.engine.domain.errors import DataRefused, FenceLost
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.file_formats import CsvFormat
from pymigrate.engine.ports.relations import RowsDigest
from pymigrate.engine.ports.source import Piece
from pymigrate.engine.ports.staging import Checkpoint, Staging

MODULUS = 2**64
_PLACE = re.compile(r"COPY .*, line (\d+)(?:, column (.*?))?(?:: .*)?$", re.DOTALL)


class PassedRows(TwoPhaseTarget):
    """What of a Target on PostgreSQL takes rows as bytes."""

    _catalog: PostgresCatalog

    @property
    @abstractmethod
    def _connection(self) -> psycopg.Connection:
        """The connection, opened again where it was lost."""

    def takes(self, staging: Staging) -> Mapping[CopyPath, str]:
        """Lines of text, CSV, and binary rows unless they are merged into a table whose columns have other types."""
        return {
            CopyPath.POSTGRES_BINARY: self._binary_obstacle(staging),
            CopyPath.POSTGRES_TEXT: "",
            CopyPath.CSV: "",
        }

    def _binary_obstacle(self, staging: Staging) -> str:
        existing = self._catalog.columns(self._locate(staging.relation)) if staging.merge else ()
        types = {column.name: column.native_type for column in existing}
        for column in staging.columns:
            if types.get(column.name, wire_type(column.native_type)) != wire_type(column.native_type):
                return f"they are merged into column `{column.name}`, which is {types[column.name]} there"
        return ""

    def commit_passed(
        self, staging: Staging, lane: str, fence: int, before: Checkpoint, after: Checkpoint, pieces: Sequence[Piece]
    ) -> None:
        """Bytes and checkpoint in one transaction."""
        self._commit_passed(staging, lane, fence, before, after, pieces)

    def digest(self, staging: Staging, share: int) -> RowsDigest:
        """By the server."""
        columns = [quote(column.name) for column in staging.columns]
        key = [quote(name) for name in staging.key]
        [(rows, total)] = self._query(digest_statement(columns, key, share, self._place(staging).sql))
        return RowsDigest(int(str(rows)), int(str(total)) % MODULUS)

    def _pass_in(self, staging: Staging, table: Table, pieces: Sequence[Piece], row: int) -> int:
        with refusing_rows(staging, row):
            return copy_in(
                self._connection, f"COPY {table.sql} ({_columns(staging)}) FROM STDIN ({_options(staging)})", pieces
            )


def _options(staging: Staging) -> str:
    """COPY's options for the path. A CSV file without a text for NULL has none: an empty field is an empty text then."""
    if staging.path is CopyPath.POSTGRES_TEXT:
        return "FORMAT text, ENCODING 'UTF8'"
    if staging.path is not CopyPath.CSV:
        return "FORMAT binary"
    form = staging.csv or CsvFormat()
    null = f"NULL {_literal(form.null_values[0])}" if form.null_values else f"FORCE_NOT_NULL ({_columns(staging)})"
    return f"FORMAT csv, ENCODING 'UTF8', DELIMITER {_literal(form.delimiter)}, {null}"


def _columns(staging: Staging) -> str:
    return ", ".join(quote(column.name) for column in staging.columns)


def _literal(text: str) -> str:
    """A string constant that means the same whatever standard_conforming_strings says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def refusing_rows(staging: Staging, row: int) -> Iterator[None]:
    """What the server says of a row as the error that names it."""
    try:
        yield
    except errors.UndefinedTable as error:
        raise FenceLost(f"the staging {staging.id} of {staging.relation} is gone") from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        place = _PLACE.search(error.diag.context or "")
        if place is None:
            raise DataRefused(f"{staging.relation}: {first_line(error)}") from error
        raise refused(staging, place[2] or "", row + int(place[1]), first_line(error)) from error


def as_texts(staging: Staging, table: Table) -> str:
    """A FROM item of the staged rows, with what the source reads as text by the server's own cast as text by it, too."""
    if staging.path is not CopyPath.POSTGRES_BINARY:
        return table.sql
    columns = [
        f"{quote(column.name)}::text AS {quote(column.name)}" if column.type.kind == "string" else quote(column.name)
        for column in staging.columns
    ]
    return f"(SELECT {', '.join(columns)} FROM {table.sql})"


def staged_type(staging: Staging, column: ColumnInfo) -> str:
    """Rows that pass undecoded need the very types that they come with."""
    if staging.path is CopyPath.POSTGRES_BINARY:
        return wire_type(column.native_type)
    return native_type(column.type)
