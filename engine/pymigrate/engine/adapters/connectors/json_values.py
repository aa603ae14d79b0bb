"""Values of JSON as columns hold them: numbers as they are written, text read strictly as the column's type."""

import json
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from pymigrate.engine.adapters.connectors.source_values import Unreadable, read_texts, refused, shown
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.arrow_types import arrow_type


class Number(str):
    """A number with a point or an exponent, as it was written."""

    __slots__ = ()


class Mark(str):
    """What stands between the values of an object or an array."""

    __slots__ = ()


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    Number: "number",
    str: "string",
    dict: "json",
    list: "json",
}
# Values that Arrow takes as they are, by the kind of the column; and those whose text is read strictly, beside that of strings.
_DIRECT: dict[str, type] = {"bool": bool, **dict.fromkeys(("int16", "int32", "int64", "uint64"), int), "string": str}
_FITTING: dict[str, tuple[str, ...]] = {
    "bool": ("string", "bool"),
    **dict.fromkeys(("int16", "int32", "int64", "uint64"), ("string", "int")),
    **dict.fromkeys(("float32", "float64", "decimal"), ("string", "int", "number")),
}


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN, infinities and a name that stands twice in an object, and
    RecursionError for what is nested too deeply."""
    return _DECODER.decode(text)


def array_of(relation: str, column: ColumnInfo, values: Sequence[Any], row: int, nulls: Collection[str]) -> pa.Array:
    """The values of a column, of which `row` rows came before; strings in `nulls` are NULL. Raises DataRefused with the row of the
    first that does not fit."""
    types = set(map(type, values))
    if nulls and str in types:
        values = [None if type(value) is str and value in nulls else value for value in values]
        types = set(map(type, values))
    if types <= {_DIRECT.get(column.type.kind), type(None)}:
        try:
            return pa.array(values, arrow_type(column.type))
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            return _read(relation, column, values, row)
    return _read(relation, column, values, row)


def written(value: Any) -> str:
    """A value as JSON, numbers as they were written."""
    parts, rest = list[str](), [value]
    while rest:
        some = rest.pop()
        if isinstance(some, (Number, Mark)):
            parts.append(str(some))
        elif isinstance(some, dict):
            names = [f"{json.dumps(name, ensure_ascii=False)}: " for name in some]
            rest += _between("{", names, list(some.values()), "}")
        elif isinstance(some, list):
            rest += _between("[", [""] * len(some), some, "]")
        else:
            parts.append(json.dumps(some, ensure_ascii=False))
    return "".join(parts)


def _read(relation: str, column: ColumnInfo, values: Sequence[Any], row: int) -> pa.Array:
    """Values by their texts."""
    kind = column.type.kind
    fitting = {"null", *_FITTING.get(kind, KINDS.values() if kind == "json" else ("string",))}
    texts: list[str | None] = []
    for at, value in enumerate(values):
        value_kind = KINDS[type(value)]
        if value_kind not in fitting:
            what = {"bool": "true or false", "string": "text", "json": "JSON"}.get(value_kind, "a number")
            why = f"{shown(written(value))} is {what}, and the column is {column.type}"
            raise refused(relation, column.name, row + at + 1, why)
        is_text = value is None or (value_kind in {"number", "string"} and kind != "json")
        texts.append(value if is_text else written(value))
    try:
        array = pa.array(texts, pa.string())
    except UnicodeEncodeError as error:
        at = next(at for at, text in enumerate(texts) if text is not None and _has_surrogate(text))
        why = "half of a surrogate pair is no character"
        raise refused(relation, column.name, row + at + 1, why) from error
    try:
        return array if kind == "json" else read_texts(array, column.type)
    except Unreadable as error:
        raise refused(relation, column.name, row + error.row + 1, str(error)) from error


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _between(first: str, names: Sequence[str], values: Sequence[Any], last: str) -> list[Any]:
    """What is to be written, the first at the end."""
    found: list[Any] = [Mark(first)]
    for at, (name, value) in enumerate(zip(names, values, strict=True)):
        found += [Mark(f", {name}" if at else name), value]
    return [*found, Mark(last)][::-1]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=_unique)
