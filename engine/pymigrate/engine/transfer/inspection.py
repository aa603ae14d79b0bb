"""A look at both sides of a dataset before its run: everything that stands against it, rather than the first thing only."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError, SourceMissing
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.connector import (
    MergePolicy,
    RelationInfo,
    Source,
    SourceRange,
    SourceRelation,
    Staging,
    StagingId,
    SystemSpec,
    Target,
)

ARROW = "arrow"
LANE_BYTES = 512_000_000
LANES_AUTOMATIC_MAX = 8


@dataclass(frozen=True, slots=True)
class InspectJob:
    """What to look at. `references` are the referring columns by the reference's name. `lanes_max` is how many lanes the dataset may be
    split into; 0: one for each LANE_BYTES of a source that tells whether it has changed, at most LANES_AUTOMATIC_MAX."""

    relation: SourceRelation
    staging_id: StagingId
    target_relation: str
    is_replace: bool
    source_system: SystemSpec
    target_system: SystemSpec
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    merge: MergePolicy | None = None
    lanes_max: int = 1


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `source` is None when it could not be described; fields of `problems` are relative to the dataset. `ranges` are
    what its lanes copy; empty: one lane copies everything."""

    source: RelationInfo | None
    source_state: str
    is_target_present: bool
    target_rows: int
    problems: tuple[Problem, ...]
    path: str = ARROW
    ranges: tuple[SourceRange, ...] = ()


def inspect(job: InspectJob, open_source: Callable[[], Source], open_target: Callable[[], Target]) -> Inspection:
    """Looks at both sides and changes nothing in them. A side that can't be reached is one of the problems."""
    problems: list[Problem] = []
    info, state, ranges = _look_at_source(job, open_source, problems)
    if _same_relation(job):
        problems.append(Problem("target.relation", f"`{job.target_relation}` is the dataset's own source"))
    if info is not None:
        problems.extend(_column_problems(job, info))
    rows = _look_at_target(job, info, open_target, problems)
    return Inspection(info, state, rows is not None, rows or 0, tuple(dict.fromkeys(problems)), ranges=ranges)


def _look_at_source(
    job: InspectJob, open_source: Callable[[], Source], problems: list[Problem]
) -> tuple[RelationInfo | None, str, tuple[SourceRange, ...]]:
    try:
        source = open_source()
    except PyMigrateError as error:
        problems.extend(_located(error, "source.connection"))
        return None, "", ()
    with closing(source):
        try:
            info, state = source.describe(job.relation), source.state(job.relation)
            parts = _parts(job, info, state)
            ranges = tuple(source.split(job.relation, parts)) if parts > 1 else ()
            return info, state, ranges if len(ranges) > 1 else ()
        except SourceMissing as error:
            problems.append(Problem("source.relation", error.message))
        except PyMigrateError as error:
            problems.extend(_located(error, "source.relation"))
    return None, "", ()


def _parts(job: InspectJob, info: RelationInfo, state: str) -> int:
    """How many lanes to split it into. A source that can't tell whether it has changed is split only when that is asked for: its lanes
    read under snapshots of their own."""
    if job.lanes_max:
        return job.lanes_max
    return min(LANES_AUTOMATIC_MAX, max(1, info.bytes // LANE_BYTES)) if state else 1


def _look_at_target(
    job: InspectJob, info: RelationInfo | None, open_target: Callable[[], Target], problems: list[Problem]
) -> int | None:
    try:
        target = open_target()
    except PyMigrateError as error:
        problems.extend(_located(error, "target.connection"))
        return None
    with closing(target):
        rows: int | None = None
        try:
            rows = target.rows(job.target_relation)
            if rows and not job.is_replace and job.merge is None:
                problems.append(
                    Problem(
                        "target.load_mode",
                        f"`{job.target_relation}` holds {rows:,} rows already: use `replace` or `merge`, or another relation",
                    )
                )
            elif info is not None and info.columns:
                key = job.relation.key or info.key
                staging = Staging(job.staging_id, job.target_relation, info.columns, key, job.is_replace, job.merge)
                target.check(staging)
        except PyMigrateError as error:
            problems.extend(_located(error, "target.relation"))
    return rows


def _column_problems(job: InspectJob, info: RelationInfo) -> Iterator[Problem]:
    names = [column.name for column in info.columns]
    if not names:
        yield Problem("source.relation", f"`{job.relation.relation}` has no columns")
    for name, times in Counter(names).items():
        if times > 1:
            yield Problem("source.relation", f"`{job.relation.relation}` has {times} columns called `{name}`")
    yield from _unknown("key", job.relation.key, names, job.relation.relation)
    for name, times in Counter(job.relation.key).items():
        if times > 1:
            yield Problem("key", f"names `{name}` {times} times")
    for reference, columns in sorted(job.references.items()):
        yield from _unknown(f"references.{reference}.columns", columns, names, job.relation.relation)


def _unknown(path: str, columns: Iterable[str], known: Sequence[str], relation: str) -> Iterator[Problem]:
    for column in columns:
        if column not in known:
            yield Problem(path, f"`{relation}` has no column `{column}`{nearest(column, known)}")


def _located(error: PyMigrateError, path: str) -> Iterator[Problem]:
    """The error's problems, each on a field of the dataset: a field of the connection is shown as the connection."""
    found = error.problems if isinstance(error, InvalidDefinition) else (Problem(error.field, error.message),)
    for problem in found:
        is_of_dataset = problem.field.partition(".")[0] in {"source", "target", "key", "references"}
        yield problem if is_of_dataset else Problem(path, problem.description)


def _same_relation(job: InspectJob) -> bool:
    source, target = job.source_system, job.target_system
    is_same_system = source.kind == target.kind and dict(source.options) == dict(target.options)
    return is_same_system and job.relation.relation == job.target_relation
