"""What may be declared: each check finds every problem of a message, with the path of the field that causes it."""

import re
from collections.abc import Collection, Iterator, Mapping

from google.protobuf.message import Message

from pymigrate.engine.application.controls import control_problems
from pymigrate.engine.application.file_definitions import files_problems, root_protocol, target_format_problems
from pymigrate.engine.application.following import catch_up_problems
from pymigrate.engine.application.http_definitions import http_json_problems, http_problems
from pymigrate.engine.application.references import is_reference
from pymigrate.engine.application.schedules import schedule_problems
from pymigrate.engine.application.transform_definitions import (
    quarantine_problems,
    shared_quarantines,
    transform_problems,
)
from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id, nearest
from pymigrate.engine.domain.types import parse_type
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2

DISPLAY_NAME_MAX = 200
DESCRIPTION_MAX = 2_000
LABELS_MAX = 64
LABEL_VALUE_MAX = 256
DATASETS_MAX = 10_000
PRIORITY_MAX = 1_000
LANES_MAX = 10_000
CHUNK_BYTES_MIN = 64 * 1024
CHUNK_BYTES_MAX = 1024**3
DATASET_LANES_MAX = 64
LATENCY_FACTOR_MIN = 1.1
LATENCY_FACTOR_MAX = 100.0
RATE_MAX = 10**15
SYSTEMS = tuple(field.name for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields)
_TARGETS_ONLY = {"iceberg": "an Iceberg catalogue"}
_SOURCES_ONLY = {"http": "an HTTP API"}
_MYSQL_SSL_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})
_POSTGRES_SSL_MODES = _MYSQL_SSL_MODES | {"allow"}
_RELATION_SEGMENT_MAX = 200


def environment_problems(environment: environment_pb2.Environment) -> Iterator[Problem]:
    """Problems of an environment."""
    yield from _texts(environment)
    yield from _range("lanes_max", environment.lanes_max, 0, LANES_MAX)


def department_problems(department: environment_pb2.Department) -> Iterator[Problem]:
    """Problems of a department, as far as it tells them by itself."""
    yield from _texts(department)
    yield from _length("owner", department.owner, DISPLAY_NAME_MAX)
    if department.users < 0:
        yield Problem("users", "can't be negative")
    if department.HasField("downtime_cost_per_hour"):
        cost = department.downtime_cost_per_hour
        if not re.fullmatch(r"[A-Z]{3}", cost.currency_code):
            yield Problem(
                "downtime_cost_per_hour.currency_code", "must be an ISO 4217 code of three capitals, such as EUR"
            )
        if not 0 <= cost.amount < 1e15:
            yield Problem("downtime_cost_per_hour.amount", "must be a number from 0 to below 10^15")
    for name, system in sorted(department.systems.items()):
        yield from _id(f"systems.{name}", name)
        yield from _length(f"systems.{name}.description", system.description, DESCRIPTION_MAX)


def connection_problems(connection: connection_pb2.Connection) -> Iterator[Problem]:
    """Problems of a connection. Nothing is contacted and no secret is read."""
    yield from _texts(connection)
    yield from _range("lanes_max", connection.lanes_max, 0, LANES_MAX)
    factor = connection.latency_factor_max
    if factor and not LATENCY_FACTOR_MIN <= factor <= LATENCY_FACTOR_MAX:
        yield Problem("latency_factor_max", f"must be {LATENCY_FACTOR_MIN} to {LATENCY_FACTOR_MAX:g}, or 0 for 3")
    for field in ("bytes_per_second_max", "rows_per_second_max"):
        yield from _range(field, getattr(connection, field), 0, RATE_MAX)
    match connection.WhichOneof("system"):
        case "sqlite":
            yield from _absolute("sqlite.path", connection.sqlite.path)
        case "duckdb":
            yield from _absolute("duckdb.path", connection.duckdb.path)
        case "files":
            if not root_protocol(connection.files):
                yield from _absolute("files.root", connection.files.root)
            yield from files_problems(connection.files)
        case "postgres":
            yield from _server("postgres", connection.postgres, _POSTGRES_SSL_MODES)
        case "mysql":
            yield from _server("mysql", connection.mysql, _MYSQL_SSL_MODES)
        case "http":
            yield from http_problems(connection.http)
        case "iceberg":
            yield from _iceberg(connection.iceberg)
        case "plugin":
            yield from _plugin(connection.plugin)
        case "sqlalchemy":
            yield from _sqlalchemy(connection.sqlalchemy)
        case _:
            yield Problem("system", f"say what it reaches: set one of {', '.join(SYSTEMS)}")


def phase_problems(
    phase: plan_pb2.Phase, connections: Mapping[str, connection_pb2.Connection], departments: Collection[str]
) -> Iterator[Problem]:
    """Problems of a phase within an environment that has these connections and departments."""
    yield from _texts(phase)
    yield from _range("priority", phase.priority, -PRIORITY_MAX, PRIORITY_MAX)
    if not phase.department:
        yield Problem("department", "is required: name the department whose data the phase moves")
    elif phase.department not in departments:
        yield Problem(
            "department",
            f"there is no department `{phase.department}` in this environment{nearest(phase.department, departments)}",
        )
    if not 1 <= len(phase.datasets) <= DATASETS_MAX:
        yield Problem("datasets", f"a phase has 1 to {DATASETS_MAX:,} datasets")
    if len(set(phase.dependencies)) < len(phase.dependencies):
        yield Problem("dependencies", "names a phase twice")
    for name in phase.department_dependencies:
        if name == phase.department:
            yield Problem("department_dependencies", f"`{name}` is the phase's own department")
        elif name not in departments:
            yield Problem(
                "department_dependencies",
                f"there is no department `{name}` in this environment{nearest(name, departments)}",
            )
    yield from schedule_problems("schedule", phase.schedule)
    yield from control_problems(phase)
    for name, dataset in sorted(phase.datasets.items()):
        path = f"datasets.{name}"
        yield from _id(path, name)
        yield from _dataset(path, dataset, connections)
        yield from catch_up_problems(path, phase, dataset, connections)
    yield from shared_targets({"": phase})
    yield from shared_quarantines({"": phase})


def plan_own_problems(plan: plan_pb2.Plan) -> Iterator[Problem]:
    """Problems of a plan without its phases."""
    yield from _texts(plan)
    yield from _range("lanes_max", plan.lanes_max, 0, LANES_MAX)
    for name, lanes in sorted(plan.department_lanes_max.items()):
        yield from _range(f"department_lanes_max.{name}", lanes, 0, LANES_MAX)
    if plan.rollback_window_seconds < -1:
        yield Problem("rollback_window_seconds", "must be a number of seconds, 0 for 7 days, or -1 for never")
    if len(set(plan.dependencies)) < len(plan.dependencies):
        yield Problem("dependencies", "names a plan twice")
    yield from schedule_problems("schedule", plan.schedule)


def phase_dependencies(phases: Mapping[str, plan_pb2.Phase]) -> dict[str, tuple[str, ...]]:
    """What each phase needs: the phases that it names, and every phase of the departments that it names, ordered by name."""
    of_department: dict[str, list[str]] = {}
    for name, phase in phases.items():
        of_department.setdefault(phase.department, []).append(name)
    return {
        name: tuple(
            sorted(
                {
                    *phase.dependencies,
                    *(other for each in phase.department_dependencies for other in of_department.get(each, ())),
                }
            )
        )
        for name, phase in phases.items()
    }


def shared_targets(phases: Mapping[str, plan_pb2.Phase]) -> Iterator[Problem]:
    """Every pair of datasets that would write the same target relation without both adding to it, with what becomes of conflicts: of
    different phases, or within a phase that stands alone under no name."""
    writers: dict[tuple[str, str], list[tuple[str, str, plan_pb2.Dataset]]] = {}
    for phase_name, phase in sorted(phases.items()):
        for name, dataset in sorted(phase.datasets.items()):
            place = (dataset.target.connection, dataset.target.relation)
            writers.setdefault(place, []).append((phase_name, name, dataset))
    for place, found in writers.items():
        for later, (phase_name, name, dataset) in enumerate(found):
            for other_phase, other, other_dataset in found[:later]:
                is_told_by_phase = bool(phase_name) and phase_name == other_phase
                is_added = all(_is_merging(it) for it in (dataset, other_dataset)) or all(
                    it.target.load_mode == plan_pb2.LOAD_MODE_APPEND for it in (dataset, other_dataset)
                )
                if is_told_by_phase or is_added:
                    continue
                prefix, of_phase = (f"phases.{phase_name}.", f" of phase `{other_phase}`") if phase_name else ("", "")
                yield Problem(
                    f"{prefix}datasets.{name}.target.relation",
                    f"`{place[1]}` is the target of dataset `{other}`{of_phase} already: choose another, or give both load mode "
                    "`append`, or `merge` and a conflict policy",
                )


def _is_merging(dataset: plan_pb2.Dataset) -> bool:
    return bool(dataset.target.load_mode == plan_pb2.LOAD_MODE_MERGE and dataset.conflict_policy)


def plan_problems(
    phases: Mapping[str, plan_pb2.Phase],
    connections: Mapping[str, connection_pb2.Connection],
    departments: Collection[str],
) -> Iterator[Problem]:
    """Problems of a whole plan: of each phase, of the graph, and of targets that two phases would write."""
    for name, phase in sorted(phases.items()):
        yield from _id(f"phases.{name}", name)
        for problem in phase_problems(phase, connections, departments):
            yield Problem(f"phases.{name}.{problem.field}", problem.description)
    yield from graph.dangling({name: tuple(phase.dependencies) for name, phase in phases.items()})
    if cycle := graph.find_cycle(phase_dependencies(phases)):
        yield graph.cycle_problem(cycle)
    yield from shared_targets(phases)
    yield from shared_quarantines(phases)


def _dataset(
    path: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    source, target = dataset.source, dataset.target
    yield from _endpoint(f"{path}.source", source.connection, source.relation, connections)
    yield from _endpoint(f"{path}.target", target.connection, target.relation, connections)
    yield from _source_format(f"{path}.source", source, connections.get(source.connection))
    yield from target_format_problems(f"{path}.target", target, connections.get(target.connection))
    yield from _duckdb_sides(path, dataset, connections)
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
    yield from _range(f"{path}.lanes", dataset.lanes, 0, DATASET_LANES_MAX)
    yield from transform_problems(path, dataset, connections)
    yield from quarantine_problems(path, dataset)
    if dataset.conflict_policy and target.load_mode != plan_pb2.LOAD_MODE_MERGE:
        yield Problem(f"{path}.conflict_policy", "is for load mode `merge` alone")
    yield from _order_column(path, dataset)
    for name, reference in sorted(dataset.references.items()):
        yield from _id(f"{path}.references.{name}", name)
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
        )
    if not relation:
        yield Problem(f"{path}.relation", "is required")
    elif len(relation) > _RELATION_SEGMENT_MAX or "\0" in relation:
        yield Problem(f"{path}.relation", f"has at most {_RELATION_SEGMENT_MAX} characters and no NUL")


def _duckdb_sides(
    path: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    """Writing to a DuckDB file changes its state, and a source that changes while it is read is refused."""
    source, target = (connections.get(side.connection) for side in (dataset.source, dataset.target))
    if source and target and source.duckdb.path and source.duckdb.path == target.duckdb.path:
        problem = f"is the DuckDB file that the dataset reads, {target.duckdb.path}: write to another, or let DuckDB copy within it"
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


def _server(
    kind: str, system: connection_pb2.PostgresSystem | connection_pb2.MysqlSystem, ssl_modes: Collection[str]
) -> Iterator[Problem]:
    """Problems of a database server that is logged in to."""
    for name in ("host", "database", "user"):
        if not getattr(system, name):
            yield Problem(f"{kind}.{name}", "is required")
    yield from _range(f"{kind}.port", system.port, 0, 65_535)
    if system.ssl_mode and system.ssl_mode not in ssl_modes:
        yield Problem(f"{kind}.ssl_mode", f"must be one of {', '.join(sorted(ssl_modes))}")
    yield from _secret(f"{kind}.password", system.password)


def _sqlalchemy(system: connection_pb2.SqlalchemySystem) -> Iterator[Problem]:
    scheme, separator, rest = system.url.partition("://")
    if not separator or not re.fullmatch(r"[a-z0-9_]+(\+[a-z0-9_]+)?", scheme):
        yield Problem("sqlalchemy.url", "is no URL of SQLAlchemy's: write dialect+driver://user@host:port/database")
    elif ":" in rest.partition("/")[0].rpartition("@")[0]:
        yield Problem("sqlalchemy.url", "must hold no password: name a reference to it as `password`")
    yield from _secret("sqlalchemy.password", system.password)


def _plugin(system: connection_pb2.PluginSystem) -> Iterator[Problem]:
    if system.kind in SYSTEMS:
        yield Problem("plugin.kind", f"`{system.kind}` is one of PyMigrate's own: set `{system.kind}` itself")
    yield from _id("plugin.kind", system.kind)
    if len(system.options) > LABELS_MAX:
        yield Problem("plugin.options", f"has at most {LABELS_MAX} entries")


def _iceberg(system: connection_pb2.IcebergSystem) -> Iterator[Problem]:
    for name, value in (("catalog_path", system.catalog_path), ("warehouse", system.warehouse.removeprefix("file://"))):
        yield from _absolute(f"iceberg.{name}", value)
        if any(character in "%?#" or character.isspace() for character in value):
            yield Problem(
                f"iceberg.{name}", "must hold no space and none of %, ? and #, which tables refer to files with"
            )


def _secret(path: str, reference: str) -> Iterator[Problem]:
    if reference and not is_reference(reference):
        yield Problem(
            path,
            "must be a reference, never the password itself: env://NAME or file:///path, with #key for a field",
        )


def _texts(message: Message) -> Iterator[Problem]:
    """Problems of the fields that many resources share."""
    fields = message.DESCRIPTOR.fields_by_name
    if "display_name" in fields:
        yield from _length("display_name", getattr(message, "display_name"), DISPLAY_NAME_MAX)  # noqa: B009 (by descriptor)
    if "description" in fields:
        yield from _length("description", getattr(message, "description"), DESCRIPTION_MAX)  # noqa: B009 (by descriptor)
    labels: Mapping[str, str] = getattr(message, "labels")  # noqa: B009 (by descriptor)
    if len(labels) > LABELS_MAX:
        yield Problem("labels", f"has at most {LABELS_MAX} entries")
    for name, value in sorted(labels.items()):
        if not 0 < len(name) <= LABELS_MAX or len(value) > LABEL_VALUE_MAX:
            yield Problem(
                f"labels.{name}", f"a label has a name of 1 to 64 and a value of at most {LABEL_VALUE_MAX} characters"
            )


def _id(path: str, name: str) -> Iterator[Problem]:
    if not is_id(name):
        yield Problem(path, f"`{name}` is no name: use {ID_RULE}")


def _absolute(path: str, value: str) -> Iterator[Problem]:
    if not value.startswith("/"):
        yield Problem(path, "must be an absolute path on the worker host, such as /data/sales.db")
    elif "\0" in value or "/../" in f"{value}/":
        yield Problem(path, "must not hold NUL or `..`")


def _length(path: str, value: str, characters_max: int) -> Iterator[Problem]:
    if len(value) > characters_max:
        yield Problem(path, f"has at most {characters_max:,} characters")


def _range(path: str, value: int, least: int, most: int) -> Iterator[Problem]:
    if not least <= value <= most:
        yield Problem(path, f"must be {least:,} to {most:,}")
