"""How an existing table differs from what a dataset would write: every difference, as a problem where rows could not be kept exactly,
and as a note where they could.
"""

from collections.abc import Iterator, Mapping, Sequence

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.staging import Staging

_BITS = {"int16": 16, "int32": 32, "int64": 64}
_DIGITS = {"int16": 5, "int32": 10, "int64": 19, "uint64": 20}


def replaced_differences(staging: Staging, existing: Sequence[ColumnInfo], types: Mapping[str, str]) -> Iterator[str]:
    """What a replacement changes in the columns of the relation. `types` are the native types of the new ones by name."""
    known = {column.name: column for column in existing}
    for column in staging.columns:
        old = known.pop(column.name, None)
        if old is None:
            yield f"the column `{column.name}` is new in `{staging.relation}`"
            continue
        if _word(old.native_type) != _word(types[column.name]):
            yield f"the column `{column.name}` of `{staging.relation}` becomes {types[column.name]}, and was {old.native_type}"
        if old.is_required != column.is_required and column.name not in staging.key:
            what = "no longer takes NULL" if column.is_required else "takes NULL from now on"
            yield f"the column `{column.name}` of `{staging.relation}` {what}"
    for name in known:
        yield f"the column `{name}` of `{staging.relation}` is gone afterwards: the source has none of this name"


def merge_problems(staging: Staging, existing: Sequence[ColumnInfo], *, folds_case: bool) -> Iterator[Problem]:
    """What keeps rows from being written into the columns that are there, beside columns that are missing."""
    given = {_fold(column.name, folds_case=folds_case): column for column in staging.columns}
    for old in existing:
        column = given.pop(_fold(old.name, folds_case=folds_case), None)
        if column is None:
            if old.is_required and not (old.default or old.native_default or old.is_identity):
                yield Problem(
                    "target.relation",
                    f"the column `{old.name}` of `{staging.relation}` is NOT NULL without a default, and the source has none of this name",
                )
        elif why := _narrower(column.type, old.type):
            yield Problem(
                f"source.columns.{column.name}",
                f"the column is {column.type}, and `{staging.relation}` has it as {old.native_type or old.type}: {why}",
            )


def merge_notes(staging: Staging, existing: Sequence[ColumnInfo], *, folds_case: bool) -> Iterator[str]:
    """Differences that rows may pass."""
    given = {_fold(column.name, folds_case=folds_case): column for column in staging.columns}
    for old in existing:
        column = given.get(_fold(old.name, folds_case=folds_case))
        if column is None:
            yield f"the column `{old.name}` of `{staging.relation}` gets its default: the source has none of this name"
        elif old.is_required and not column.is_required:
            yield f"the column `{old.name}` of `{staging.relation}` is NOT NULL: a row with NULL is refused"
        elif column.type != old.type:
            yield f"the column `{old.name}` is {column.type} in the source, and {old.native_type or old.type} in `{staging.relation}`"


def key_differences(staging: Staging, unique: Sequence[frozenset[str]]) -> Iterator[str]:
    """Whether the relation that is there holds the dataset's key unique, and what else it does."""
    key = frozenset(staging.key)
    if key and key not in unique:
        held = f", but ({'), ('.join(', '.join(sorted(columns)) for columns in unique)})" if unique else ""
        yield f"nothing in `{staging.relation}` holds the key ({', '.join(staging.key)}) unique as it is{held}"


def _narrower(given: ColumnType, kept: ColumnType) -> str:
    """Why values of the one type could be changed by being kept in the other; empty where they can't, or are refused as they come."""
    if given == kept:
        return ""
    if given.kind in _BITS and kept.kind in _BITS:
        return "" if _BITS[given.kind] <= _BITS[kept.kind] else "it does not hold every number"
    if given.kind in _DIGITS and kept.kind == "decimal":
        return "" if _DIGITS[given.kind] <= kept.precision - kept.scale else "it does not hold every number"
    if given.kind == "decimal" and kept.kind == "decimal":
        is_wide = given.scale <= kept.scale and given.precision - given.scale <= kept.precision - kept.scale
        return "" if is_wide else "numbers would be rounded, or not fit"
    if (given.kind, kept.kind) == ("float32", "float64"):
        return ""
    if (given.kind, kept.kind) == ("float64", "float32"):
        return "numbers would be rounded"
    if {given.kind, kept.kind} <= {"string", "json"}:
        return ""
    return "values of the one are not those of the other"


def _fold(name: str, *, folds_case: bool) -> str:
    return name.lower() if folds_case else name


def _word(native: str) -> str:
    return " ".join(native.lower().split())
