"""Casts that keep a value or refuse it: never rounded, cut, or taken for what it does not say.

A cast is two SQL expressions over a value of a known DuckDB type: the value as it becomes, and whether it holds. NULL stays NULL and holds.
"""

import re
from dataclasses import dataclass

from pymigrate.engine.domain.types import ColumnType

NATIVE = {
    "bool": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint64": "UBIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "bytes": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "json": "VARCHAR",
    "uuid": "VARCHAR",
}
_INTEGERS = frozenset(
    {
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }
)
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_WHOLE = frozenset({"int16", "int32", "int64", "uint64"})
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
_TEXTS = {
    "bool": "(?i)(true|false|t|f|yes|no|y|n|1|0)",
    "date": _DATE,
    "time": _TIME,
    "timestamp": f"{_DATE}[ T]{_TIME}",
    "timestamptz": f"{_DATE}[ T]{_TIME} ?(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)",
    **dict.fromkeys(("int16", "int32", "int64", "uint64"), "[+-]?[0-9]+"),
    **dict.fromkeys(("float32", "float64"), rf"({_NUMBER})([eE][+-]?[0-9]+)?"),
}
# What becomes of a time of day or a zone is not for a cast to say.
_TEMPORAL = {
    ("DATE", "timestamp"),
    ("TIMESTAMP", "date"),
    ("TIMESTAMP_S", "timestamp"),
    ("TIMESTAMP_MS", "timestamp"),
    ("TIMESTAMP_NS", "timestamp"),
}


@dataclass(frozen=True, slots=True)
class Cast:
    """`value` is the SQL of what the value becomes, `holds` of whether it is still the same value."""

    value: str
    holds: str


def cast(value: str, native: str, goal: ColumnType) -> Cast | None:
    """From a value of the DuckDB type `native`; None where there is no cast that keeps values."""
    wanted, kind = native_of(goal), goal.kind
    if native == '"NULL"':
        return Cast(f"CAST({value} AS {wanted})", "true")
    if kind in {"json", "uuid"}:
        return _of_text(value, native, kind)
    if native == wanted or (native in _INTEGERS | _FLOATS and kind == "string"):
        return Cast(f"CAST({value} AS {wanted})", "true")
    if native == "VARCHAR":
        return _from_text(value, goal)
    if kind == "string":
        tried = f"TRY(decode({value}))" if native == "BLOB" else f"CAST({value} AS VARCHAR)"
        return Cast(tried, f"({value} IS NULL OR {tried} IS NOT NULL)")
    is_number = native in _INTEGERS | _FLOATS or native.startswith("DECIMAL(")
    is_numeric = kind in _WHOLE or kind in {"float32", "float64", "decimal"}
    if native == "BOOLEAN" and kind in _WHOLE:
        return Cast(f"CAST({value} AS {wanted})", "true")
    if native in _INTEGERS and kind == "bool":
        return Cast(f"CAST({value} AS BOOLEAN)", f"({value} IS NULL OR {value} IN (0, 1))")
    if (is_number and is_numeric) or (native, kind) in _TEMPORAL:
        tried = f"TRY_CAST({value} AS {wanted})"
        return Cast(tried, f"TRY_CAST({tried} AS {native}) IS NOT DISTINCT FROM {value}")
    return None


def native_of(type_: ColumnType) -> str:
    """DuckDB's type for a column type; json and uuid are text."""
    return f"DECIMAL({type_.precision},{type_.scale})" if type_.kind == "decimal" else NATIVE[type_.kind]


def _of_text(value: str, native: str, kind: str) -> Cast | None:
    if kind == "uuid":
        if native not in {"VARCHAR", "UUID"}:
            return None
        tried = f"CAST(TRY_CAST({value} AS UUID) AS VARCHAR)"
        return Cast(tried, f"({value} IS NULL OR {tried} IS NOT NULL)")
    if native in {"VARCHAR", "JSON"}:
        return Cast(f"CAST({value} AS VARCHAR)", f"({value} IS NULL OR json_valid({value}))")
    is_nested = native.startswith(("STRUCT(", "MAP(")) or native.endswith("]")
    if is_nested or native == "BOOLEAN" or native in _INTEGERS or native.startswith("DECIMAL("):
        return Cast(f"CASE WHEN {value} IS NULL THEN NULL ELSE CAST(to_json({value}) AS VARCHAR) END", "true")
    return None


def _from_text(value: str, goal: ColumnType) -> Cast | None:
    kind = goal.kind
    if kind == "bytes":
        return Cast(f"encode({value})", "true")
    tried = f"TRY_CAST({value} AS {native_of(goal)})"
    if kind == "decimal":
        digits = f"length(rtrim(split_part({value}, '.', 2), '0')) <= {goal.scale}"
        return Cast(tried, f"({value} IS NULL OR ({_matches(value, _NUMBER)} AND {digits} AND {tried} IS NOT NULL))")
    holds = f"{_matches(value, _TEXTS[kind])} AND {tried} IS NOT NULL"
    if kind in {"float32", "float64"}:
        words = _matches(value, "(?i)(nan|[+-]?inf(inity)?)")
        holds = f"({holds} AND NOT isinf({tried})) OR ({words} AND {tried} IS NOT NULL)"
    return Cast(tried, f"({value} IS NULL OR {holds})")


def _matches(value: str, pattern: str) -> str:
    quoted = re.sub("'", "''", pattern)
    return f"regexp_full_match({value}, '{quoted}')"
