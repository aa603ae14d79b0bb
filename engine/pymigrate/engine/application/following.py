"""How a dataset of an online phase follows its source, as it is declared: what stands against it before any system is looked at."""

from collections.abc import Iterator, Mapping

from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, plan_pb2

LAG_SECONDS_MAX = 86_400
# Another package's connector may bring either; whether it does is looked at before the run.
FOLLOWED = {
    "logical": frozenset({"postgres", "plugin"}),
    "column": frozenset({"postgres", "mysql", "sqlite", "plugin"}),
}
CHANGED = frozenset({"postgres", "duckdb", "sqlite", "plugin"})
_OTHER_POLICY = "use downtime policy `read_only` or `offline`"
_UNFOLLOWED = {
    "duckdb": "nobody else can write to a DuckDB file while it is read, and nothing in it would keep writes out in the end",
    "files": "nothing keeps files from being written to in the end",
    "http": "nothing keeps what is behind an API from changing in the end",
    "sqlalchemy": "not every dialect can keep writes out in the end; where it is PostgreSQL, MySQL or SQLite, name it as such",
    "iceberg": "it is a target only",
}


def catch_up_problems(
    path: str, phase: plan_pb2.Phase, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    """Problems of a dataset's `catch_up` in its phase."""
    is_online = phase.downtime_policy == plan_pb2.DOWNTIME_POLICY_ONLINE
    if not dataset.HasField("catch_up"):
        if is_online:
            yield Problem(
                f"{path}.catch_up",
                "is required where the downtime policy is `online`: say how changes are found, such as `logical`, or choose another policy",
            )
        return
    if not is_online:
        yield Problem(
            f"{path}.catch_up", "is for downtime policy `online` alone: the sources of this phase are not written to"
        )
    found, by = dataset.catch_up, dataset.catch_up.WhichOneof("by")
    if by is None:
        yield Problem(f"{path}.catch_up", "say how changes are found: set `logical` or `column`")
    else:
        yield from _system_problems(path, by, dataset, connections)
    if dataset.HasField("quarantine"):
        yield Problem(
            f"{path}.quarantine",
            "can't be used in an `online` phase: a refused row has no key there by which a later change could find it again; let the "
            "transforms filter or mend such rows, or choose another downtime policy",
        )
    if by == "column" and not found.column.name:
        yield Problem(
            f"{path}.catch_up.column.name", "is required: name the column that grows with every insert and update"
        )
    if found.column.overlap < 0:
        yield Problem(f"{path}.catch_up.column.overlap", "can't be negative")
    for at, transform in enumerate(dataset.transforms):
        if transform.HasField("deduplicate"):
            yield Problem(
                f"{path}.transforms[{at}].deduplicate",
                "can't be used in an `online` phase: what becomes of a row depends on others, which change; choose another downtime policy",
            )
    if not 0 <= found.lag_seconds_max <= LAG_SECONDS_MAX:
        yield Problem(f"{path}.catch_up.lag_seconds_max", f"must be 1 to {LAG_SECONDS_MAX:,}, or 0 for 10")


def _system_problems(
    path: str, by: str, dataset: plan_pb2.Dataset, connections: Mapping[str, connection_pb2.Connection]
) -> Iterator[Problem]:
    kinds = {name: connections[name].WhichOneof("system") for name in connections}
    source, target = kinds.get(dataset.source.connection), kinds.get(dataset.target.connection)
    if source in FOLLOWED["column"] - FOLLOWED[by]:
        yield Problem(
            f"{path}.catch_up.{by}",
            f"is for PostgreSQL; `{dataset.source.connection}` is {source}: name a column that grows, by `column`, or "
            f"{_OTHER_POLICY}",
        )
    elif source is not None and source not in FOLLOWED[by]:
        yield Problem(
            f"{path}.catch_up.{by}",
            f"can't follow `{dataset.source.connection}`, which is {source}: {_UNFOLLOWED[source]}; {_OTHER_POLICY}",
        )
    if target is not None and target not in CHANGED:
        yield Problem(
            f"{path}.target.connection",
            f"`{dataset.target.connection}` is {target}, which takes no changes by key: name a PostgreSQL, DuckDB or SQLite, or "
            f"{_OTHER_POLICY}",
        )
