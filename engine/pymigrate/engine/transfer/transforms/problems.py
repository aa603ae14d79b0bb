"""What every transform asks of the columns that it names."""

from collections.abc import Iterable, Iterator, Sequence

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import ColumnInfo


def unknown(path: str, names: Iterable[str], columns: Sequence[ColumnInfo]) -> Iterator[Problem]:
    """Names that are none of the columns', each with the nearest that is."""
    known = [column.name for column in columns]
    for name in names:
        if name not in known:
            yield Problem(path, f"there is no column `{name}` at this step{nearest(name, known)}")


def doubled(path: str, columns: Iterable[ColumnInfo]) -> Iterator[Problem]:
    """Names that two columns would have; SQL folds case."""
    seen: set[str] = set()
    for column in columns:
        if column.name.lower() in seen:
            yield Problem(path, f"two columns would be called `{column.name}`")
        seen.add(column.name.lower())


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises InvalidDefinition with the problems, unless there is none."""
    if found := tuple(problems):
        raise InvalidDefinition(found)


def column_of(name: str, columns: Sequence[ColumnInfo]) -> ColumnInfo:
    """The column of a name that is known to be there."""
    return next(column for column in columns if column.name == name)
