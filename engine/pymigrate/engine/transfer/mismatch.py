"""Rows that differ, as people are told of them: by key where there is one, and what is the matter with each."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.transfer.bisection import Found

EXAMPLES_MAX = 10
TEXT_CHARACTERS_MAX = 120
MISSING = "missing"
SURPLUS = "surplus"
CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class MismatchedRow:
    """One row. `row` is its key, or its beginning where it has none; `kind` says whether staging lacks it (`missing`), has it though the
    source does not, or too often (`surplus`), or has it with other values in `columns` (`changed`)."""

    row: str
    kind: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == CHANGED:
            return f"{self.row} (other values in {', '.join(self.columns)})"
        return f"{self.row} ({'not staged' if self.kind == MISSING else 'staged once too often'})"


def described(found: Found, columns: Sequence[ColumnInfo], key: Sequence[str]) -> tuple[int, tuple[MismatchedRow, ...]]:
    """How many rows differ (two versions of a key count once), and the first of those that are held."""
    names = [column.name for column in columns]
    lacking, spare = list(_rows(found.missing, names)), list(_rows(found.surplus, names))
    told: list[MismatchedRow] = []
    if key:
        at = [names.index(name) for name in key]
        others = {_key(row, at): row for row in spare}
        changed = {_key(row, at): row for row in lacking if _key(row, at) in others}
        for value, row in changed.items():
            differing = tuple(n for n, one, two in zip(names, row, others[value], strict=True) if not _same(one, two))
            told.append(MismatchedRow(_told(value), CHANGED, differing))
        told += [MismatchedRow(_told(_key(row, at)), MISSING) for row in lacking if _key(row, at) not in changed]
        told += [MismatchedRow(_told(_key(row, at)), SURPLUS) for row in spare if _key(row, at) not in changed]
    else:
        told += [MismatchedRow(_told(row), MISSING) for row in lacking]
        told += [MismatchedRow(_told(row), SURPLUS) for row in spare]
    told.sort(key=lambda each: (len(each.row), each.row, each.kind))
    return len(told) if key and found.is_whole else found.rows, tuple(told[:EXAMPLES_MAX])


def spelled(rows: Iterable[MismatchedRow]) -> str:
    """The rows in one line."""
    return ", ".join(map(str, rows))


def to_text(rows: Sequence[MismatchedRow]) -> str:
    """The rows as a text that `from_text` reads."""
    return json.dumps([asdict(row) for row in rows])


def from_text(text: str) -> tuple[MismatchedRow, ...]:
    """The rows of a text; none of an empty one."""
    found = json.loads(text) if text else []
    return tuple(MismatchedRow(each["row"], each["kind"], tuple(each["columns"])) for each in found)


def _rows(batches: Iterable[pa.RecordBatch], names: Sequence[str]) -> Iterable[tuple[object, ...]]:
    for batch in batches:
        columns = [batch.column(at).to_pylist() for at, _ in enumerate(names)]
        yield from zip(*columns, strict=True)


def _key(row: tuple[object, ...], at: Sequence[int]) -> tuple[object, ...]:
    return tuple(row[place] for place in at)


def _same(one: object, two: object) -> bool:
    """Also of NaN, and not of 0.0 and -0.0."""
    return repr(one) == repr(two)


def _told(values: Sequence[object]) -> str:
    texts = ["NULL" if value is None else str(value) for value in values]
    text = texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}…"
