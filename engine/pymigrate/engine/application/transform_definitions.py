"""What transforms may be declared; whether their columns exist is known when the source is looked at."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pymigrate.engine.application.references import secret_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import parse_type
from pymigrate.v1 import connection_pb2, plan_pb2

TRANSFORMS_MAX = 100
TRANSFORM_COLUMNS_MAX = 2_000
EXPRESSION_CHARACTERS_MAX = 10_000
QUARANTINE_SUFFIX = "_quarantine"
RELATION_CHARACTERS_MAX = 200
PYTHON_MEMORY_MIN = 64 << 20
PYTHON_MEMORY_MAX = 16 << 30
PYTHON_SECONDS_MAX = 3_600
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_KEYED = frozenset({plan_pb2.MASK_METHOD_HASH, plan_pb2.MASK_METHOD_TOKENISE})


def transform_problems(
    path: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    """Problems of a dataset's transforms within an environment that has these connections."""
    if dataset.lanes > 1 and any(transform.HasField("deduplicate") for transform in dataset.transforms):
        yield Problem(
            f"{path}.lanes", "must be 1 or left out with `deduplicate`, which holds for all rows of the dataset"
        )
    if len(dataset.transforms) > TRANSFORMS_MAX:
        yield Problem(f"{path}.transforms", f"has at most {TRANSFORMS_MAX} entries")
    for at, transform in enumerate(dataset.transforms[:TRANSFORMS_MAX]):
        place = f"{path}.transforms[{at}]"
        kind = transform.WhichOneof("kind")
        if kind is None:
            kinds = ", ".join(field.name for field in plan_pb2.Transform.DESCRIPTOR.oneofs_by_name["kind"].fields)
            yield Problem(place, f"say what it does: set one of {kinds}")
        elif kind == "lookup":
            yield from _lookup(f"{place}.lookup", transform.lookup, connections)
        else:
            yield from _CHECKS[kind](f"{place}.{kind}", getattr(transform, kind))


def quarantine_problems(path: str, dataset: plan_pb2.Dataset) -> Iterator[Problem]:
    """Problems of a dataset's quarantine."""
    if not dataset.HasField("quarantine"):
        return
    declared = dataset.quarantine
    if declared.rows_max < 0:
        yield Problem(f"{path}.quarantine.rows_max", "can't be negative")
    if not 0 <= declared.share_max <= 1:
        yield Problem(f"{path}.quarantine.share_max", "must be above 0 and at most 1")
    if not declared.rows_max and not declared.share_max:
        yield Problem(f"{path}.quarantine", "needs a budget: set rows_max, share_max or both")
    if declared.relation and declared.relation == dataset.target.relation:
        yield Problem(f"{path}.quarantine.relation", "is the target relation itself")
    elif len(declared.relation) > RELATION_CHARACTERS_MAX or "\0" in declared.relation:
        yield Problem(f"{path}.quarantine.relation", f"has at most {RELATION_CHARACTERS_MAX} characters and no NUL")


def shared_quarantines(phases: Mapping[str, plan_pb2.Phase]) -> Iterator[Problem]:
    """Quarantines that would be another's, or another's target: each dataset needs one of its own."""
    datasets = [
        (phase, name, it) for phase, each in sorted(phases.items()) for name, it in sorted(each.datasets.items())
    ]
    taken = {(it.target.connection, it.target.relation): name for _, name, it in datasets}
    for phase, name, dataset in datasets:
        if not dataset.HasField("quarantine"):
            continue
        relation = dataset.quarantine.relation or f"{dataset.target.relation}{QUARANTINE_SUFFIX}"
        place = (dataset.target.connection, relation)
        prefix = f"phases.{phase}." if phase else ""
        if place in taken:
            said = f"`{relation}` belongs to dataset `{taken[place]}` already: name another relation"
            yield Problem(f"{prefix}datasets.{name}.quarantine.relation", said)
        taken[place] = name


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


def _cast(path: str, cast: plan_pb2.CastColumns) -> Iterator[Problem]:
    yield from _count(f"{path}.columns", len(cast.columns))
    for name, column in sorted(cast.columns.items()):
        yield from _type(f"{path}.columns.{name}.type", column.type)


def _lookup(
    path: str, lookup: plan_pb2.LookupColumns, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    name = lookup.source.connection
    if not name:
        yield Problem(f"{path}.source.connection", "is required")
    elif name not in connections:
        said = f"there is no connection `{name}` in this environment{nearest(name, connections)}"
        yield Problem(f"{path}.source.connection", said, is_missing=True)
    elif connections[name].WhichOneof("system") == "duckdb":
        yield Problem(f"{path}.source.connection", f"`{name}` is a DuckDB file, which one process alone can open")
    if not lookup.source.relation:
        yield Problem(f"{path}.source.relation", "is required")
    for column, declared in sorted(lookup.source.columns.items()):
        yield from _type(f"{path}.source.columns.{column}.type", declared.type)
    yield from _count(f"{path}.keys", len(lookup.keys))
    yield from _count(f"{path}.columns", len(lookup.columns))
    for column in sorted(lookup.columns):
        yield from _name(f"{path}.columns.{column}", column)


def _split(path: str, split: plan_pb2.SplitColumn) -> Iterator[Problem]:
    if not split.column:
        yield Problem(f"{path}.column", "is required")
    if not split.separator:
        yield Problem(f"{path}.separator", "is required")
    yield from _columns(f"{path}.into", split.into)
    for name in split.into:
        yield from _name(f"{path}.into", name)


def _merge(path: str, merge: plan_pb2.MergeColumns) -> Iterator[Problem]:
    yield from _columns(f"{path}.columns", merge.columns)
    yield from _name(f"{path}.into", merge.into)


def _plugin(path: str, plugin: plan_pb2.PluginTransform) -> Iterator[Problem]:
    if not plugin.name:
        yield Problem(f"{path}.name", "is required: the entry point of a package that is installed")


def _mask(path: str, mask: plan_pb2.MaskColumns) -> Iterator[Problem]:
    yield from _count(f"{path}.columns", len(mask.columns))
    methods = ", ".join(("hash", "tokenise", "redact"))
    for name, column in sorted(mask.columns.items()):
        if not column.method:
            yield Problem(f"{path}.columns.{name}.method", f"is required: one of {methods}")
        if column.text and column.method != plan_pb2.MASK_METHOD_REDACT:
            yield Problem(f"{path}.columns.{name}.text", "is for `redact` alone")
    is_keyed = any(column.method in _KEYED for column in mask.columns.values())
    yield from secret_problems(f"{path}.key", mask.key, "key")
    if is_keyed and not mask.key:
        yield Problem(f"{path}.key", "is required by `hash` and `tokenise`: a reference such as env://NAME")


def _python(path: str, python: plan_pb2.PythonTransform) -> Iterator[Problem]:
    if not _FUNCTION.fullmatch(python.function):
        yield Problem(f"{path}.function", "must be `module:function`")
    yield from _count(f"{path}.columns", len(python.columns))
    for name, column in sorted(python.columns.items()):
        yield from _name(f"{path}.columns.{name}", name)
        yield from _type(f"{path}.columns.{name}.type", column.type)
    if python.memory_bytes_max and not PYTHON_MEMORY_MIN <= python.memory_bytes_max <= PYTHON_MEMORY_MAX:
        said = f"must be {PYTHON_MEMORY_MIN:,} to {PYTHON_MEMORY_MAX:,}, or 0 for 512 MiB"
        yield Problem(f"{path}.memory_bytes_max", said)
    if not 0 <= python.batch_seconds_max <= PYTHON_SECONDS_MAX:
        yield Problem(f"{path}.batch_seconds_max", f"must be 1 to {PYTHON_SECONDS_MAX:,}, or 0 for 60")


def _columns(path: str, columns: Sequence[str]) -> Iterator[Problem]:
    yield from _count(path, len(columns))
    yield from _twice(path, columns)


def _twice(path: str, columns: Sequence[str]) -> Iterator[Problem]:
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


_CHECKS: Mapping[str, Callable[[str, Any], Iterator[Problem]]] = {
    "rename": _rename,
    "cast": _cast,
    "filter": lambda path, it: _expression(f"{path}.condition", it.condition),
    "derive": _derive,
    "select": lambda path, it: _columns(f"{path}.columns", it.columns),
    "drop": lambda path, it: _columns(f"{path}.columns", it.columns),
    "deduplicate": lambda path, it: _twice(f"{path}.columns", it.columns),
    "split": _split,
    "merge": _merge,
    "mask": _mask,
    "plugin": _plugin,
    "python": _python,
}
