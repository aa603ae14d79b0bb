"""Defaults of columns that mean the same in every system: literals, the moment of the insertion, and a random uuid.

A source reads its own spelling into the standard one, a target writes that as its own. What is in neither list is carried between
systems of one kind alone, and told otherwise.
"""

import math
import re
from datetime import date

from pymigrate.engine.domain.types import ColumnType, Kind

NOW = "CURRENT_TIMESTAMP"
RANDOM_UUID = "gen_random_uuid()"
_TEXT = re.compile(r"'((?:[^']|'')*)'(?:::[\w \".]+(?:\(\d+(?:,\d+)?\))?)?", re.DOTALL)
_NUMBER = re.compile(r"\(?([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\)?(?:::[\w ]+(?:\(\d+(?:,\d+)?\))?)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BOOLEANS = {"true": "TRUE", "false": "FALSE", "t": "TRUE", "f": "FALSE", "1": "TRUE", "0": "FALSE"}
_MOMENTS = re.compile(r"current_timestamp(\(\d?\))?|now\(\)|transaction_timestamp\(\)|get_current_timestamp\(\)")
_UUIDS = frozenset({"gen_random_uuid()", "uuid()", "gen_random_uuid", "public.gen_random_uuid()"})
_INTEGERS: frozenset[Kind] = frozenset({"int16", "int32", "int64", "uint64"})
_FLOATS: frozenset[Kind] = frozenset({"float32", "float64"})
_AS_WRITTEN: frozenset[Kind] = frozenset({"string", "json"})


def standard_default(native: str, column: ColumnType) -> str:
    """The default of a column of this type in the standard spelling; empty for none, and for what systems may take otherwise."""
    word = native.strip()
    lower = word.lower()
    if column.kind == "timestamptz":
        return NOW if _MOMENTS.fullmatch(lower) else ""
    if column.kind == "uuid" and lower in _UUIDS:
        return RANDOM_UUID
    if found := _TEXT.fullmatch(word):
        text = found[1].replace("''", "'")
    elif found := _NUMBER.fullmatch(word):
        text = found[1].lstrip("+")
    elif lower in {"true", "false"}:
        text = lower
    else:
        return ""
    return _literal(text, column)


def text_literal(text: str) -> str:
    """A text as standard SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _literal(text: str, column: ColumnType) -> str:
    kind = column.kind
    if kind == "bool":
        return _BOOLEANS.get(text.lower(), "")
    if kind in _INTEGERS:
        return text if re.fullmatch(r"-?\d+", text) else ""
    if kind == "decimal":
        return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else ""
    if kind in _FLOATS:
        return text if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else ""
    if kind == "date":
        return text_literal(text) if _is_date(text) else ""
    if kind == "uuid":
        return text_literal(text.lower()) if _UUID.fullmatch(text) else ""
    return text_literal(text) if kind in _AS_WRITTEN and "\\" not in text and "\0" not in text else ""


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:  # MySQL's zero dates
        return False
