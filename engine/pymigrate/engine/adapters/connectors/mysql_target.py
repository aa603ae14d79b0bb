"""A MySQL or MariaDB database as a target: rows and checkpoint in one InnoDB transaction, publication by one RENAME TABLE."""

import fnmatch
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pymysql

from pymigrate.engine.adapters.connectors import mysql_wire
from pymigrate.engine.adapters.connectors.mysql_connection import (
    said,
    translated,
)
from pymigrate.engine.adapters.connectors.mysql_limits import limit_problems
from pymigrate.engine.adapters.connectors.mysql_publication import Renaming
from pymigrate.engine.adapters.connectors.mysql_reading import selected, to_array
from pymigrate.engine.adapters.connectors.mysql_session import MysqlSession
from pymigrate.engine.adapters.connectors.mysql_values import in_pieces, joined, read_back, to_rows
from pymigrate.engine.adapters.connectors.source_values import Unreadable
from pymigrate.engine.adapters.connectors.target_dialect import Conflict, Found
from pymigrate.engine.adapters.connectors.target_statements import Statements, Table, is_own, split_relation
from pymigrate.engine.adapters.connectors.target_values import BATCH_ROWS_MAX, refused
from pymigrate.engine.domain.errors import (
    DataRefused,
    FenceLost,
    Problem,
)
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.staging import Staging, StagingId

STATEMENT_BYTES = 1 << 20
BATCH_BYTES_MAX = 16 << 20
OWN_PREFIX = "_pymigrate_"
NO_SUCH_TABLE, TABLE_EXISTS = 1146, 1050
_PLACE = re.compile(r"column (?:`[^`]*`\.`[^`]*`\.)?[`'](.+?)[`'] at row (\d+)")
_BINARY = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin")
Constraint = (pymysql.err.IntegrityError, pymysql.err.DataError)
# What the driver takes for other errors: a trigger's own, a check's, and a value for a column that is computed.
_REFUSING = frozenset({1644, 1906, 3105, 3819, 4025})


class MysqlTarget(MysqlSession):
    """See the port. PyMigrate's own tables lie in the connection's database."""

    statements = Statements(
        f"{OWN_PREFIX}checkpoint",
        f"{OWN_PREFIX}publication",
        text="LONGTEXT",
        key_text="VARCHAR(255)",
        where_there="ON DUPLICATE KEY UPDATE lane = lane",
        options=" ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )
    name_bytes_max = 64

    def __init__(self, system: SystemSpec) -> None:
        super().__init__(system)
        self._is_ready = False
        [(packet, folded)] = self._query("SELECT @@max_allowed_packet, @@lower_case_table_names")
        self._packet_bytes_max, self._folds_tables = int(str(packet)), str(folded) != "0"
        names = ", ".join(f"'{name}'" for name in _BINARY)
        found = self._query(
            f"SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME IN ({names})"
        )
        self._collation = str(found[0][0]) if found else "utf8mb4_bin"

    def version(self) -> str:
        """Such as `MariaDB 10.11.19`."""
        return self._version

    def relations(self, glob: str, limit: int) -> Sequence[RelationInfo]:
        """Tables and views of the connection's database; the number of rows is the server's estimate."""
        names = self._catalog.names(self._database)
        theirs = [name for name in names if not (is_own(name) or name.startswith(OWN_PREFIX))]
        matching = [Table(self._database, name) for name in theirs if fnmatch.fnmatchcase(name, glob)][:limit]
        return [
            RelationInfo(table.name, self._catalog.columns(table), rows=self._catalog.size(table)[0])
            for table in matching
        ]

    def _locate(self, relation: str) -> Table:
        table = split_relation(relation, self._database)
        return Table(table.schema.lower(), table.name.lower()) if self._folds_tables else table

    def _find(self, table: Table) -> Found | None:
        kind = self._catalog.kind(table)
        return None if kind is None else Found(table, kind)

    def _type_problems(self, staging: Staging) -> Iterator[Problem]:
        table = self._locate(staging.relation)
        if table.name.startswith(OWN_PREFIX):
            yield Problem("target.relation", f"`{staging.relation}` is a name that PyMigrate keeps for itself")
        yield from limit_problems(staging, table, is_mariadb=self._version.startswith("MariaDB"))
        if not staging.is_addition and (referring := self._catalog.referring(table)):
            yield Problem(
                "target.relation",
                f"the foreign keys of {', '.join(referring)} would go on to mean the old rows of `{staging.relation}`: drop them first, "
                "and make them anew after",
            )

    def _has_own_relations(self) -> bool:
        self._is_ready = self._is_ready or self._find(self._own("publication")) is not None
        return self._is_ready

    def _own(self, what: str) -> Table:
        return Table(self._database, f"{OWN_PREFIX}{what}")

    def _create(self, staging: Staging, table: Table) -> None:
        for statement in (*self.statements.create, *self._schema_statements(table)):
            self._execute(statement)
        if self._find(table) is None:
            # Another lane may have made it since; definitions wait for no transaction here.
            self._execute(
                self._create_statement(staging, table).replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
            )

    def _insert(self, staging: Staging, table: Table, batches: Sequence[pa.RecordBatch], row: int) -> None:
        head = f"INSERT INTO {table.sql} VALUES ".encode()
        for batch in batches:
            rows = to_rows(staging, batch, row)
            for before, piece in in_pieces(rows, min(STATEMENT_BYTES, self._packet_bytes_max // 2)):
                self._insert_piece(staging, head + joined(piece), row + before)
            row += batch.num_rows

    def _insert_piece(self, staging: Staging, statement: bytes, row: int) -> None:
        if len(statement) >= self._packet_bytes_max:
            raise DataRefused(
                f"{staging.relation}, row {row + 1}: it is longer than the server takes at once: raise its max_allowed_packet"
            )
        try:
            with translated(self._system):
                self._connection.query(statement)
        except pymysql.err.MySQLError as error:
            if error.args and error.args[0] == NO_SUCH_TABLE:
                raise FenceLost(f"the staging {staging.id} of {staging.relation} is gone") from error
            place = _PLACE.search(said(error))
            if place is None:
                raise DataRefused(f"{staging.relation}: {said(error)}") from error
            raise refused(staging, place[1], row + int(place[2]), said(error)) from error

    def _scan(self, staging: Staging, table: Table) -> Iterator[pa.RecordBatch]:
        """Over a connection of its own, so that a reader that pauses holds nobody up."""
        columns = [read_back(column) for column in staging.columns]
        statement = f"SELECT {', '.join(map(selected, columns))} FROM {table.sql}"
        connection = self._connect()
        try:
            with translated(self._system):
                held: list[list[bytes | None]] = []
                size = 0
                for packet in mysql_wire.packets(connection, statement):
                    held += map(mysql_wire.values, packet)
                    size += sum(map(len, packet))
                    while len(held) >= BATCH_ROWS_MAX or (held and size >= BATCH_BYTES_MAX):
                        yield _batch(staging, columns, held[:BATCH_ROWS_MAX])
                        held, size = held[BATCH_ROWS_MAX:], 0
                if held:
                    yield _batch(staging, columns, held)
        finally:
            connection.abandon()

    def _rename(self, table: Table, name: str) -> None:
        self._rename_all([(table, Table(table.schema, name))])

    def _rename_all(self, renamings: Sequence[Renaming]) -> None:
        try:
            self._execute("RENAME TABLE " + ", ".join(f"{before.sql} TO {after.sql}" for before, after in renamings))
        except pymysql.err.MySQLError as error:
            if error.args and error.args[0] in {NO_SUCH_TABLE, TABLE_EXISTS}:
                raise Conflict(f"MySQL: somebody made or dropped a relation meanwhile: {said(error)}") from error
            raise

    def _is_constraint(self, error: BaseException) -> bool:
        is_refusing = isinstance(error, pymysql.err.MySQLError) and bool(error.args) and error.args[0] in _REFUSING
        return is_refusing or isinstance(error, Constraint)

    def _identity(self, staging: StagingId, table: Table) -> str:
        """The comment that every staging table gets when it is made."""
        return self._catalog.comment(table)

    def _fingerprint(self, table: Table) -> str:
        """The server's checksum over all rows; another version may count otherwise, and compares nothing."""
        [(_, checksum)] = self._query(f"CHECKSUM TABLE {table.sql}")
        return f"{self._version}:{checksum}"

    def _columns(self, table: Table) -> list[str]:
        return [column.name for column in self._catalog.columns(table)]


def _batch(staging: Staging, columns: Sequence[ColumnInfo], rows: Sequence[Sequence[bytes | None]]) -> pa.RecordBatch:
    arrays = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(to_array(column, values))
        except Unreadable as error:
            raise refused(staging, column.name, error.row + 1, str(error)) from error
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(staging.columns))
