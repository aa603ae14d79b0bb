"""A look at both sides of a dataset before its run: everything that stands against it, rather than the first thing only."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeVar

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, PyMigrateError, SourceMissing
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.paths import PASSING, Choice, CopyPath, choose
from pymigrate.engine.ports.capture import Capture, ChangingTarget
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.engine.ports.source import PassingSource, Source
from pymigrate.engine.ports.staging import Delivery, Staging, TableDdl
from pymigrate.engine.ports.target import Declaring, Guaranteeing, PassingTarget, SettingApart, Target
from pymigrate.engine.transfer.inspection_job import ARROW, NOTHING, Inspection, InspectJob
from pymigrate.engine.transfer.transforms.source import TransformedSource

FOLLOWED = Choice(
    CopyPath.ARROW, f"{ARROW.reason}; not as bytes, since changes are told by key, and so rows are read in its order"
)
LANE_BYTES = 512_000_000
LANES_AUTOMATIC_MAX = 8
RELATIONS_MAX = 10
DATASET_FIELDS = frozenset(
    {"source", "target", "key", "references", "order_column", "transforms", "catch_up", "quarantine"}
)
Side = TypeVar("Side", Source, Target)


def inspect(
    job: InspectJob,
    open_source: Callable[[], Source],
    open_target: Callable[[], Target],
    open_capture: Callable[[], Capture] | None = None,
) -> Inspection:
    """Looks at both sides and changes nothing in them. A side that can't be reached is one of the problems."""
    problems: list[Problem] = []
    with ExitStack() as stack:
        source = _opened(open_source, "source.connection", stack, problems)
        info, state = _look_at_source(job, source, problems)
        if info is not None:
            info = _placed(info, job.relations)
        if _same_relation(job):
            problems.append(Problem("target.relation", f"`{job.target_relation}` is the dataset's own source"))
        if info is not None:
            problems.extend(_column_problems(job, info))
        target = _opened(open_target, "target.connection", stack, problems)
        rows = _look_at_target(job, info, target, problems)
        if job.is_followed and info is not None:
            problems.extend(_follow_problems(job, info, source, target, open_capture))
        choice, ranges = ARROW, tuple[SourceRange, ...]()
        if source is not None and info is not None and not problems:
            choice, ranges = _ways(job, source, info, state, target, problems)
        ddl = _ddl(job, info, target, choice.path) if info is not None and not problems else NOTHING
        delivery = _delivery(job, info, target)
    found = tuple(dict.fromkeys(problems))
    return Inspection(info, state, rows is not None, rows or 0, found, choice, ranges, ddl, delivery)


def _delivery(job: InspectJob, info: RelationInfo | None, target: object) -> Delivery:
    if info is None or not isinstance(target, Guaranteeing):
        return Delivery.AT_LEAST_ONCE
    return target.delivery(_staging(job, info))


def _ddl(job: InspectJob, info: RelationInfo, target: object, path: CopyPath) -> TableDdl:
    return target.ddl(_staging(job, info, path)) if isinstance(target, Declaring) else NOTHING


def _placed(info: RelationInfo, relations: Mapping[str, str]) -> RelationInfo:
    """With the target relations that foreign keys lead to. A name says the same with and without the schema that is the default."""
    by_name = {name.removeprefix("public.").removeprefix("main."): relation for name, relation in relations.items()}
    keys = tuple(
        replace(key, target_relation=by_name.get(key.relation.removeprefix("public.").removeprefix("main."), ""))
        for key in info.schema.foreign_keys
    )
    return replace(info, schema=replace(info.schema, foreign_keys=keys))


def _opened(open_side: Callable[[], Side], path: str, stack: ExitStack, problems: list[Problem]) -> Side | None:
    try:
        return stack.enter_context(closing(open_side()))
    except PyMigrateError as error:
        problems.extend(_located(error, path))
        return None


def _look_at_source(job: InspectJob, source: Source | None, problems: list[Problem]) -> tuple[RelationInfo | None, str]:
    if source is None:
        return None, ""
    try:
        return source.describe(job.relation), source.state(job.relation)
    except SourceMissing as error:
        problems.append(Problem("source.relation", error.message))
    except PyMigrateError as error:
        problems.extend(_located(error, "source.relation"))
    return None, ""


def _follow_problems(
    job: InspectJob,
    info: RelationInfo,
    source: Source | None,
    target: Target | None,
    open_capture: Callable[[], Capture] | None,
) -> Iterator[Problem]:
    relation = replace(job.relation, key=job.relation.key or info.key)
    if target is not None and not isinstance(target, ChangingTarget):
        yield Problem(
            "target.connection",
            "takes no changes by key: name a PostgreSQL, DuckDB or SQLite, or choose another downtime policy",
        )
    if open_capture is None:
        yield Problem("catch_up", "the source does not keep what changes in it: choose another downtime policy")
        return
    try:
        if isinstance(source, TransformedSource):
            relation, problems = source.followed(relation)
            yield from problems
            if problems:
                return
        with closing(open_capture()) as capture:
            yield from capture.problems(relation, relation.key)
    except PyMigrateError as error:
        yield from _located(error, "source.connection")


def _ways(
    job: InspectJob, source: Source, info: RelationInfo, state: str, target: Target | None, problems: list[Problem]
) -> tuple[Choice, tuple[SourceRange, ...]]:
    """How the rows will travel, and in which ranges."""
    choice = ARROW
    try:
        choice = FOLLOWED if job.is_followed else _choice(job, source, info, target)
        parts = _parts(job, info, state)
        if parts <= 1:
            return choice, ()
        if choice.path in PASSING and isinstance(source, PassingSource):
            found = tuple(source.passing_split(job.relation, choice.path, parts))
        else:
            found = tuple(source.split(job.relation, parts))
    except PyMigrateError as error:
        problems.extend(_located(error, "source.relation"))
        return ARROW, ()
    return choice, found if len(found) > 1 else ()


def _choice(job: InspectJob, source: object, info: RelationInfo, target: object) -> Choice:
    if job.is_transformed:
        by = "transforms work on" if job.quarantine is None else "transforms and quarantine work on"
        return Choice(CopyPath.ARROW, f"{ARROW.reason}, which the dataset's {by}")
    if not isinstance(source, PassingSource) or not isinstance(target, PassingTarget):
        return ARROW
    return choose(source.offers(job.relation), target.takes(_staging(job, info)))


def _parts(job: InspectJob, info: RelationInfo, state: str) -> int:
    """How many lanes to split it into. A source that can't tell whether it has changed is split only when that is asked for: its lanes
    read under snapshots of their own."""
    if job.lanes_max:
        return job.lanes_max
    return min(LANES_AUTOMATIC_MAX, max(1, info.bytes // LANE_BYTES)) if state else 1


def _look_at_target(
    job: InspectJob, info: RelationInfo | None, target: Target | None, problems: list[Problem]
) -> int | None:
    if target is None:
        return None
    rows: int | None = None
    try:
        rows = target.rows(job.target_relation)
        if rows and job.is_replace and job.is_unverified:
            problems.append(
                Problem(
                    "verification",
                    f"`none` would replace the {rows:,} rows of `{job.target_relation}` by rows that nobody read back: use `sampled`, "
                    "`full` or `count`",
                )
            )
        if rows and not (job.is_replace or job.is_append) and job.merge is None:
            problems.append(
                Problem(
                    "target.load_mode",
                    f"`{job.target_relation}` holds {rows:,} rows already: use `replace`, `merge` or `append`, or another relation",
                )
            )
        elif info is not None and info.columns:
            target.check(_staging(job, info))
    except PyMigrateError as error:
        problems.extend(_located(error, "target.relation"))
    if job.quarantine is not None:
        problems.extend(_quarantine_problems(job.quarantine.staging, target))
    return rows


def _quarantine_problems(staging: Staging, target: Target) -> Iterator[Problem]:
    if not isinstance(target, SettingApart):
        yield Problem("quarantine", f"{target.version()} can't keep refused rows beside the others: leave it out")
        return
    try:
        target.check(staging)
        names = {column.name for column in staging.columns}
        for found in target.relations(staging.relation, RELATIONS_MAX):
            if found.relation == staging.relation and {column.name for column in found.columns} != names:
                yield Problem(
                    "quarantine.relation", f"`{staging.relation}` holds something else: name another relation"
                )
    except InvalidDefinition as error:
        for problem in error.problems:
            yield Problem("quarantine.relation", problem.description)
    except PyMigrateError as error:
        yield Problem("quarantine.relation", error.message)


def _staging(job: InspectJob, info: RelationInfo, path: CopyPath = CopyPath.ARROW) -> Staging:
    key = job.relation.key or info.key
    return Staging(
        job.staging_id,
        job.target_relation,
        info.columns,
        key,
        job.is_replace,
        job.merge,
        path,
        is_append=job.is_append,
        order_column=job.order_column,
        schema=replace(info.schema, omit=job.omit),
        ending=job.ending,
    )


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
        is_of_dataset = problem.field.partition(".")[0].partition("[")[0] in DATASET_FIELDS
        yield problem if is_of_dataset else Problem(path, problem.description)


def _same_relation(job: InspectJob) -> bool:
    source, target = job.source_system, job.target_system
    is_same_system = source.kind == target.kind and dict(source.options) == dict(target.options)
    return is_same_system and job.relation.relation == job.target_relation
