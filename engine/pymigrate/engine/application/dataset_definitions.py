"""What may be declared of datasets: both sides, the key and its references, and which of them may write into one relation."""

import posixpath
from collections.abc import Iterator, Mapping

from pymigrate.engine.application.declared_figures import declared_problems
from pymigrate.engine.application.field_definitions import id_problems, range_problems
from pymigrate.engine.application.file_definitions import target_format_problems
from pymigrate.engine.application.http_definitions import http_json_problems
from pymigrate.engine.application.transform_definitions import quarantine_problems, transform_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.types import parse_type
from pymigrate.v1 import connection_pb2, plan_pb2

CHUNK_BYTES_MIN = 64 * 1024
CHUNK_BYTES_MAX = 1024**3
DATASET_LANES_MAX = 64
_TARGETS_ONLY = {"iceberg": "an Iceberg catalogue"}
_SOURCES_ONLY = {"http": "an HTTP API"}
RELATION_CHARACTERS_MAX = 200


def shared_targets(phases: Mapping[str, plan_pb2.Phase]) -> Iterator[Problem]:
    """Every dataset that would write the target relation of one before it without both adding to it, with what becomes of conflicts: of
    different phases, or within a phase that stands alone under no name. Each is told with the first that it meets."""
    writers: dict[tuple[str, str], _Writers] = {}
    for phase_name, phase in sorted(phases.items()):
        for name, dataset in sorted(phase.datasets.items()):
            place = (dataset.target.connection, dataset.target.relation)
            met = writers.setdefault(place, _Writers()).meet(phase_name, name, _addition(dataset))
            if met is None:
                continue
            other_phase, other = met
            prefix, of_phase = (f"phases.{phase_name}.", f" of phase `{other_phase}`") if phase_name else ("", "")
            yield Problem(
                f"{prefix}datasets.{name}.target.relation",
                f"`{place[1]}` is the target of dataset `{other}`{of_phase} already: choose another, or give both load mode "
                "`append`, or `merge` and a conflict policy",
            )


class _Writers:
    """The first datasets of a relation in each way of adding to it: one each of two phases, which is enough to find any that is met."""

    def __init__(self) -> None:
        self._firsts: dict[str, dict[str, str]] = {}

    def meet(self, phase: str, dataset: str, addition: str) -> tuple[str, str] | None:
        """Phase and dataset of one that can't write beside this one; a phase with a name tells itself of those within it."""
        found = next(
            (
                (other_phase, other)
                for way, firsts in self._firsts.items()
                if not (way and way == addition)
                for other_phase, other in firsts.items()
                if not (phase and phase == other_phase)
            ),
            None,
        )
        firsts = self._firsts.setdefault(addition, {})
        if len(firsts) < 2:  # one of two phases is another than the next dataset's
            firsts.setdefault(phase, dataset)
        return found


def _addition(dataset: plan_pb2.Dataset) -> str:
    """How its rows are added to those of others; empty where they take their place."""
    if dataset.target.load_mode == plan_pb2.LOAD_MODE_APPEND:
        return "append"
    return "merge" if dataset.target.load_mode == plan_pb2.LOAD_MODE_MERGE and dataset.conflict_policy else ""


def dataset_problems(
    path: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    """Problems of a dataset whose field is `path`, within an environment that has these connections."""
    source, target = dataset.source, dataset.target
    yield from _endpoint(f"{path}.source", source.connection, source.relation, connections)
    yield from _endpoint(f"{path}.target", target.connection, target.relation, connections)
    yield from _source_format(f"{path}.source", source, connections.get(source.connection))
    yield from target_format_problems(f"{path}.target", target, connections.get(target.connection))
    yield from _same_file(path, dataset, connections)
    for side, name, kinds, only in (
        ("source", source.connection, _TARGETS_ONLY, "target"),
        ("target", target.connection, _SOURCES_ONLY, "source"),
    ):
        kind = connections[name].WhichOneof("system") if name in connections else None
        if kind in kinds:
            yield Problem(f"{path}.{side}.connection", f"`{name}` is {kinds[kind]}, which is a {only} only")
    is_iceberg = target.connection in connections and connections[target.connection].HasField("iceberg")
    if is_iceberg and target.load_mode == plan_pb2.LOAD_MODE_MERGE:
        yield Problem(f"{path}.target.load_mode", "Iceberg tables are not merged into: use `replace` or `append`")
    for name, column in sorted(source.columns.items()):
        if column.type:
            try:
                parse_type(column.type)
            except ValueError as error:
                yield Problem(f"{path}.source.columns.{name}.type", str(error))
    if len(set(dataset.key)) < len(dataset.key):
        yield Problem(f"{path}.key", "names a column twice")
    if len(set(target.schema.omit)) < len(target.schema.omit):
        yield Problem(f"{path}.target.schema.omit", "names a part twice")
    if dataset.chunk_bytes and not CHUNK_BYTES_MIN <= dataset.chunk_bytes <= CHUNK_BYTES_MAX:
        yield Problem(f"{path}.chunk_bytes", f"must be {CHUNK_BYTES_MIN:,} to {CHUNK_BYTES_MAX:,}, or 0 for 20 MB")
    yield from range_problems(f"{path}.lanes", dataset.lanes, 0, DATASET_LANES_MAX)
    yield from transform_problems(path, dataset, connections)
    yield from quarantine_problems(path, dataset)
    yield from declared_problems(f"{path}.declared", dataset.declared)
    if dataset.conflict_policy and target.load_mode != plan_pb2.LOAD_MODE_MERGE:
        yield Problem(f"{path}.conflict_policy", "is for load mode `merge` alone")
    yield from _order_column(path, dataset)
    for name, reference in sorted(dataset.references.items()):
        yield from id_problems(f"{path}.references.{name}", name)
        if not reference.relation:
            yield Problem(f"{path}.references.{name}.relation", "is required: name the relation referred to")
        if not reference.columns or len(reference.columns) != len(reference.relation_columns):
            yield Problem(
                f"{path}.references.{name}.columns", "needs at least one column, and as many as relation_columns has"
            )


def _order_column(path: str, dataset: plan_pb2.Dataset) -> Iterator[Problem]:
    is_latest = dataset.conflict_policy == plan_pb2.CONFLICT_POLICY_LATEST
    if is_latest and not dataset.order_column:
        yield Problem(
            f"{path}.order_column", "is required by conflict policy `latest`: name the column whose greater value wins"
        )
    elif dataset.order_column and not is_latest:
        yield Problem(f"{path}.order_column", "is for conflict policy `latest` alone")
    elif is_latest and dataset.order_column in dataset.key:
        yield Problem(f"{path}.order_column", "belongs to the key, in which rows to choose from are equal")


def _endpoint(
    path: str, connection: str, relation: str, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    if not connection:
        yield Problem(f"{path}.connection", "is required: name a connection of this environment")
    elif connection not in connections:
        yield Problem(
            f"{path}.connection",
            f"there is no connection `{connection}` in this environment{nearest(connection, connections)}",
            is_missing=True,
        )
    if not relation:
        yield Problem(f"{path}.relation", "is required")
    elif len(relation) > RELATION_CHARACTERS_MAX or "\0" in relation:
        yield Problem(f"{path}.relation", f"has at most {RELATION_CHARACTERS_MAX} characters and no NUL")


def _same_file(
    path: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    """Writing to a DuckDB file changes its state, and a source that changes while it is read is refused. A SQLite file is locked against
    writing while its snapshot is read."""
    source, target = (connections.get(side.connection) for side in (dataset.source, dataset.target))
    if not (source and target):
        return
    for title, read, written in (
        ("DuckDB", source.duckdb.path, target.duckdb.path),
        ("SQLite", source.sqlite.path, target.sqlite.path),
    ):
        if read and posixpath.normpath(read) == posixpath.normpath(written):
            problem = f"is the {title} file that the dataset reads, {written}: write to another, or let {title} copy within it"
            yield Problem(f"{path}.target.connection", problem)


def _source_format(
    path: str, source: plan_pb2.DatasetSource, connection: connection_pb2.Connection | None
) -> Iterator[Problem]:
    form = source.WhichOneof("format")
    taker = "http" if form == "http_json" else "files"
    if form and connection is not None and connection.WhichOneof("system") != taker:
        what = "HTTP APIs" if form == "http_json" else "files"
        yield Problem(f"{path}.{form}", f"is for {what}; `{source.connection}` is {connection.WhichOneof('system')}")
    if form == "http_json":
        yield from http_json_problems(f"{path}.http_json", source.http_json)
    if form == "csv" and (len(source.csv.delimiter) > 1 or source.csv.delimiter in {'"', "\n", "\r"}):
        yield Problem(f"{path}.csv.delimiter", "must be one character, no quote and no line end")
    if form == "csv" and not source.csv.delimiter.isascii():
        yield Problem(f"{path}.csv.delimiter", "must be an ASCII character")
