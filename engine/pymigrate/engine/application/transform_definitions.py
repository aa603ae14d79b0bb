"""What transforms may be declared; whether their columns exist is known when the source is looked at."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import parse_type
from pymigrate.v1 import plan_pb2

TRANSFORMS_MAX = 100
TRANSFORM_COLUMNS_MAX = 2_000
EXPRESSION_CHARACTERS_MAX = 10_000


def transform_problems(path: str, dataset: plan_pb2.Dataset) -> Iterator[Problem]:
    """Problems of a dataset's transforms."""
    if len(dataset.transforms) > TRANSFORMS_MAX:
        yield Problem(f"{path}.transforms", f"has at most {TRANSFORMS_MAX} entries")
    for at, transform in enumerate(dataset.transforms[:TRANSFORMS_MAX]):
        place = f"{path}.transforms[{at}]"
        kinds = ", ".join(field.name for field in plan_pb2.Transform.DESCRIPTOR.oneofs_by_name["kind"].fields)
        match transform.WhichOneof("kind"):
            case "rename":
                yield from _rename(f"{place}.rename", transform.rename)
            case "filter":
                yield from _expression(f"{place}.filter.condition", transform.filter.condition)
            case "derive":
                yield from _derive(f"{place}.derive", transform.derive)
            case "select":
                yield from _columns(f"{place}.select.columns", transform.select.columns)
            case "drop":
                yield from _columns(f"{place}.drop.columns", transform.drop.columns)
            case _:
                yield Problem(place, f"say what it does: set one of {kinds}")


def _rename(path: str, rename: plan_pb2.RenameColumns) -> Iterator[Problem]:
    yield from _count(f"{path}.columns", len(rename.columns))
    for old, new in sorted(rename.columns.items()):
        yield from _name(f"{path}.columns.{old}", new)


def _derive(path: str, derive: plan_pb2.DeriveColumns) -> Iterator[Problem]:
    yield from _count(f"{path}.columns", len(derive.columns))
    for name, column in sorted(derive.columns.items()):
        yield from _name(f"{path}.columns.{name}", name)
        yield from _expression(f"{path}.columns.{name}.expression", column.expression)
        yield from _type(f"{path}.columns.{name}.type", column.type)


def _columns(path: str, columns: Sequence[str]) -> Iterator[Problem]:
    yield from _count(path, len(columns))
    for name, times in sorted(Counter(columns).items()):
        if times > 1:
            yield Problem(path, f"names `{name}` {times} times")


def _expression(path: str, expression: str) -> Iterator[Problem]:
    if not expression.strip():
        yield Problem(path, "is required")
    elif len(expression) > EXPRESSION_CHARACTERS_MAX:
        yield Problem(path, f"has at most {EXPRESSION_CHARACTERS_MAX:,} characters")


def _type(path: str, text: str) -> Iterator[Problem]:
    if not text:
        yield Problem(path, "is required")
        return
    try:
        parse_type(text)
    except ValueError as error:
        yield Problem(path, str(error))


def _count(path: str, columns: int) -> Iterator[Problem]:
    if not 1 <= columns <= TRANSFORM_COLUMNS_MAX:
        yield Problem(path, f"names 1 to {TRANSFORM_COLUMNS_MAX:,} columns")


def _name(path: str, name: str) -> Iterator[Problem]:
    if not name or "\0" in name:
        yield Problem(path, "a column's name is not empty and holds no NUL")
