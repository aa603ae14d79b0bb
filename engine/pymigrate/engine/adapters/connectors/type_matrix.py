"""What becomes of every type of every source in every target, put together from the connectors' own functions.

`docs/types.md` is generated from this, and the test of the matrix copies hostile values of every type into every target and reads them
back by means of the systems' own. What a type's values can't all be is said beside it: such a value is refused with its column and row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pymigrate.engine.adapters.connectors import (
    duckdb_types,
    iceberg_types,
    mysql_types,
    mysql_values,
    postgres_reading,
    postgres_values,
    postgres_wire,
    sqlite_types,
)
from pymigrate.engine.domain.types import ColumnType, Kind
from pymigrate.engine.ports.arrow_types import arrow_type

_YEARS = "a day before the year 1 or after 9999 is refused"
_INFINITE = "infinity and -infinity are refused: declare the column as `string` to have them as text"
_ZERO_DATES = "zero dates are refused: declare the column as `string` to have them as text"
_DAY_END = "24:00:00 is refused"


@dataclass(frozen=True, slots=True)
class SourceTypes:
    """The native types of a kind of source and how they are read. `texts` are those that are text in the system itself; `refused` says by
    PyMigrate's kind which values are not read; `wire` gives the type on a path that passes rows undecoded to the same kind."""

    kind: str
    title: str
    natives: tuple[str, ...]
    column_type: Callable[[str], ColumnType]
    texts: frozenset[str] = frozenset()
    refused: Mapping[Kind, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    wire: Callable[[str], str] | None = None

    def is_text(self, native: str) -> bool:
        """Whether the type is carried as a text that it is not."""
        return self.column_type(native).kind == "string" and native not in self.texts


@dataclass(frozen=True, slots=True)
class TargetTypes:
    """How a kind of target holds PyMigrate's types. `as_text` are those that it holds as text of its own spelling; `refused` says which
    values it can't hold."""

    kind: str
    title: str
    native_type: Callable[[ColumnType], str]
    as_text: frozenset[Kind] = frozenset()
    refused: Mapping[Kind, str] = field(default_factory=dict)


def _natives(listed: str) -> tuple[str, ...]:
    return tuple(listed.split("; "))


SOURCES: tuple[SourceTypes, ...] = (
    SourceTypes(
        "postgres",
        "PostgreSQL",
        _natives(
            "boolean; smallint; integer; bigint; numeric(12,2); numeric(40,10); numeric; real; double precision; "
            'money; text; character varying(40); character(5); name; "char"; bytea; date; time without time zone; '
            "time with time zone; timestamp without time zone; timestamp with time zone; interval; uuid; json; "
            "jsonb; xml; inet; cidr; macaddr; macaddr8; bit(3); bit varying(8); point; line; lseg; box; path; "
            "polygon; circle; tsvector; tsquery; int4range; int8range; numrange; tsrange; tstzrange; daterange; "
            "int4multirange; oid; pg_lsn; integer[]; text[]; numeric[]; an enumeration; a composite; a domain"
        ),
        postgres_reading.column_type,
        frozenset({"text", "character varying(40)", "character(5)", "name", '"char"'}),
        {"date": _INFINITE, "timestamp": _INFINITE, "timestamptz": _INFINITE, "time": _DAY_END},
        {
            "character(5)": "with the blanks that fill it up",
            "money": "as the server's `lc_monetary` writes it",
            "jsonb": "as jsonb writes it: `1.10` stays `1.10`",
        },
        postgres_wire.wire_type,
    ),
    SourceTypes(
        "mysql",
        "MySQL, MariaDB",
        _natives(
            "tinyint(1); tinyint; tinyint unsigned; smallint; smallint unsigned; mediumint; mediumint unsigned; int; "
            "int unsigned; bigint; bigint unsigned; year; decimal(12,2); decimal(50,10); float; double; bit(8); "
            "char(5); varchar(40); text; enum('a','b'); set('a','b'); binary(4); varbinary(8); blob; date; time(6); "
            "datetime(6); timestamp(6); json; uuid; inet6; point"
        ),
        mysql_types.column_type,
        frozenset({"char(5)", "varchar(40)", "text", "enum('a','b')"}),
        {
            "date": _ZERO_DATES,
            "timestamp": _ZERO_DATES,
            "timestamptz": _ZERO_DATES,
            "time": "negative times and those of 24 hours and more are refused: declare the column as `string` to have them as text",
        },
    ),
    SourceTypes(
        "sqlite",
        "SQLite",
        _natives(
            "INTEGER; BIGINT; SMALLINT; REAL; DOUBLE PRECISION; FLOAT; BOOLEAN; TEXT; VARCHAR(40); CHAR(5); CLOB; "
            "BLOB; NUMERIC; DECIMAL(12,2); DATE; DATETIME; TIMESTAMP; JSON; (none)"
        ),
        lambda native: sqlite_types.column_type("" if native == "(none)" else native),
        frozenset({"TEXT", "VARCHAR(40)", "CHAR(5)", "CLOB"}),
        {
            "int64": "any value that is stored as something else is refused",
            "float64": "any value that is stored as something else is refused, an integer where no float is exactly it",
            "bool": "any value but 0 and 1 is refused",
            "bytes": "any value that is stored as something else is refused",
        },
        {
            "(none)": "integers, reals and blobs are refused: declare the type that all values have",
            "NUMERIC": "numbers by their digits",
            "DECIMAL(12,2)": "numbers by their digits",
        },
    ),
    SourceTypes(
        "duckdb",
        "DuckDB",
        _natives(
            "BOOLEAN; TINYINT; SMALLINT; INTEGER; BIGINT; HUGEINT; UTINYINT; USMALLINT; UINTEGER; UBIGINT; FLOAT; "
            "DOUBLE; DECIMAL(12,2); VARCHAR; BLOB; DATE; TIME; TIME WITH TIME ZONE; TIMESTAMP; TIMESTAMP_S; "
            "TIMESTAMP_MS; TIMESTAMP_NS; TIMESTAMP WITH TIME ZONE; INTERVAL; JSON; UUID; BIT; ENUM('a', 'b'); "
            "INTEGER[]; STRUCT(a INTEGER); MAP(VARCHAR, INTEGER)"
        ),
        duckdb_types.column_type,
        frozenset({"VARCHAR", "ENUM('a', 'b')"}),
        {"date": _INFINITE, "timestamp": _INFINITE, "timestamptz": _INFINITE, "time": _DAY_END},
    ),
)
TARGETS: tuple[TargetTypes, ...] = (
    TargetTypes(
        "postgres",
        "PostgreSQL",
        postgres_values.native_type,
        refused={
            "string": "the character NUL is refused",
            "json": "the character NUL is refused",
            "date": "a day outside PostgreSQL's calendar is refused",
        },
    ),
    TargetTypes(
        "mysql",
        "MySQL, MariaDB",
        mysql_values.native_type,
        frozenset({"json", "uuid"}),
        {
            "float32": "NaN, infinities and -0.0 are refused",
            "float64": "NaN, infinities and -0.0 are refused",
            "date": _YEARS,
            "timestamp": _YEARS,
            "timestamptz": _YEARS,
        },
    ),
    TargetTypes("duckdb", "DuckDB", duckdb_types.native_type, refused={"json": "what is no JSON is refused"}),
    TargetTypes(
        "sqlite",
        "SQLite",
        sqlite_types.native_type,
        frozenset({"uint64", "decimal", "date", "time", "timestamp", "timestamptz", "json", "uuid"}),
        {
            "float32": "NaN and -0.0 are refused",
            "float64": "NaN and -0.0 are refused",
            "date": _YEARS,
            "timestamp": _YEARS,
            "timestamptz": _YEARS,
        },
    ),
    TargetTypes("files", "Parquet", lambda column: str(arrow_type(column)), frozenset({"json", "uuid"})),
    TargetTypes("iceberg", "Iceberg", iceberg_types.native_type, frozenset({"json", "uuid"})),
)
