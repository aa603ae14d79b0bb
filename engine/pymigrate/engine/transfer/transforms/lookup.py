"""Columns that are taken from another relation by a key: it is read once an attempt, into a private DuckDB file."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition, Problem, PyMigrateError, SystemUnavailable
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.transform import Lookup, Missing, Outcome, Refusal
from pymigrate.engine.transfer.transforms.computed import flat, rows_where, without
from pymigrate.engine.transfer.transforms.problems import column_of, doubled, raise_if_any, unknown
from pymigrate.engine.transfer.transforms.sql import MEMORY_LIMIT, category, quote

OpenLookup = Callable[[Lookup], Source]


class LookupStep:
    """See the port. Keys are equal as SQL has it: a NULL in one finds nothing."""

    is_stateful = False

    def __init__(
        self, given: Sequence[ColumnInfo], spec: Lookup, found: Sequence[ColumnInfo], open_source: OpenLookup
    ) -> None:
        by_name = {column.name: column for column in found}
        taken = [ColumnInfo(name, by_name[other].type) for name, other in spec.columns.items()]
        self.columns = (*given, *taken)
        self.origins = {column.name: column.name for column in given}
        self._spec = spec
        self._given = list(given)
        self._found = [by_name[name] for name in dict.fromkeys([*spec.keys.values(), *spec.columns.values()])]
        self._open_source = open_source
        self._schema = arrow_schema(self.columns)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._folder: Path | None = None

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """One join. Raises DataRefused where the other relation has a key twice."""
        connection = self._loaded()
        pairs = " AND ".join(f"l.{quote(other)} = b.{quote(own)}" for own, other in self._spec.keys.items())
        taken = ", ".join(f"l.{quote(other)} AS v{at}" for at, other in enumerate(self._spec.columns.values()))
        keys = {own: batch.column(own) for own in self._spec.keys}
        numbered = pa.table(keys | {"pymigrate_row": pa.array(range(batch.num_rows))})
        connection.register("given", numbered)
        try:
            joined = connection.execute(
                f"SELECT {taken}, l.pymigrate_found IS NULL AS missing FROM given AS b LEFT JOIN looked_up AS l ON {pairs} "
                "ORDER BY b.pymigrate_row"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise SystemUnavailable(
                f"the rows of {self._spec.relation.relation} can't be looked up: {category(error)}"
            ) from error
        finally:
            connection.unregister("given")
        fields = list(self._schema)[len(self._given) :]
        made = [flat(joined.column(f"v{at}")).cast(field.type) for at, field in enumerate(fields)]
        result = pa.RecordBatch.from_arrays([*batch.columns, *made], schema=self._schema)
        missing = rows_where(joined.column("missing"))
        if not missing or self._spec.missing is Missing.NULL:
            return Outcome(result)
        rows = without(batch.num_rows, missing)
        refusals: tuple[Refusal, ...] = ()
        if self._spec.missing is Missing.REFUSE:
            names = ", ".join(self._spec.keys)
            reason = f"({names}) is not in {self._spec.relation.relation}"
            refusals = tuple(Refusal(row, next(iter(self._spec.keys)), reason) for row in missing)
        return Outcome(result.take(rows), rows, refusals)

    def close(self) -> None:
        """Deletes what was read."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _loaded(self) -> duckdb.DuckDBPyConnection:
        if self._connection is not None:
            return self._connection
        self._folder = Path(tempfile.mkdtemp(prefix="pymigrate-"))
        connection = duckdb.connect(
            str(self._folder / "looked_up.duckdb"), config={"threads": 1, "memory_limit": MEMORY_LIMIT}
        )
        self._connection = connection
        schema = arrow_schema(self._found)
        connection.register("part", schema.empty_table())
        connection.execute("CREATE TABLE looked_up AS SELECT *, true AS pymigrate_found FROM part")
        with closing(self._open_source(self._spec)) as source:
            # A source yields every column that it is asked for, in this order.
            for chunk in source.chunks(self._spec.relation, self._found, None):
                connection.register("part", pa.Table.from_batches(chunk.batches, schema))
                connection.execute("INSERT INTO looked_up SELECT *, true FROM part")
        connection.unregister("part")
        keys = ", ".join(quote(name) for name in self._spec.keys.values())
        doubled_keys = connection.execute(
            f"SELECT count(*) FROM (SELECT {keys} FROM looked_up GROUP BY {keys} HAVING count(*) > 1) AS d"
        ).fetchall()[0][0]
        if doubled_keys:
            raise DataRefused(
                f"the lookup in {self._spec.relation.relation} is not of one row: {doubled_keys:,} values of "
                f"({', '.join(self._spec.keys.values())}) occur there more than once",
                field="transforms",
            )
        return connection


def bind_lookup(spec: Lookup, given: Sequence[ColumnInfo], open_source: OpenLookup) -> LookupStep:
    """Raises InvalidDefinition for a relation or columns that are not there, and for keys of different types."""
    raise_if_any(unknown("lookup.keys", spec.keys, given))
    try:
        with closing(open_source(spec)) as source:
            found = source.describe(spec.relation).columns
    except PyMigrateError as error:
        if error.is_temporary:
            raise
        raise InvalidDefinition((Problem("lookup.source", error.message),)) from error
    raise_if_any(_problems(spec, given, found))
    return LookupStep(given, spec, found, open_source)


def _problems(spec: Lookup, given: Sequence[ColumnInfo], found: Sequence[ColumnInfo]) -> Iterator[Problem]:
    relation, known = spec.relation.relation, [column.name for column in found]
    is_known = True
    for path, names in (("lookup.keys", spec.keys), ("lookup.columns", spec.columns)):
        for name, other in names.items():
            if other not in known:
                is_known = False
                yield Problem(f"{path}.{name}", f"`{relation}` has no column `{other}`{nearest(other, known)}")
    if not is_known:
        return
    for own, other in spec.keys.items():
        mine, theirs = column_of(own, given).type, column_of(other, found).type
        if mine != theirs:
            yield Problem(f"lookup.keys.{own}", f"is {mine}, and `{other}` of `{relation}` is {theirs}: cast it first")
    taken = [ColumnInfo(name, column_of(other, found).type) for name, other in spec.columns.items()]
    yield from doubled("lookup.columns", [*given, *taken])
