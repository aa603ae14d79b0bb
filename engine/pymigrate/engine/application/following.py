"""How a dataset of an online phase follows its source, as it is declared: what stands against it before any system is looked at."""

from collections.abc import Iterator, Mapping

from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, plan_pb2

LAG_SECONDS_MAX = 86_400
FOLLOWED = frozenset({"postgres"})


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
    found, source = dataset.catch_up, connections.get(dataset.source.connection)
    if found.WhichOneof("by") is None:
        yield Problem(f"{path}.catch_up", "say how changes are found: set `logical` or `column`")
    if found.WhichOneof("by") is not None and source is not None and source.WhichOneof("system") not in FOLLOWED:
        yield Problem(
            f"{path}.catch_up.{found.WhichOneof('by')}",
            f"is for PostgreSQL; `{dataset.source.connection}` is {source.WhichOneof('system')}: choose another downtime policy",
        )
    if dataset.HasField("quarantine"):
        yield Problem(
            f"{path}.quarantine", "can't be used in an `online` phase: changes are applied as the source has them"
        )
    if found.WhichOneof("by") == "column" and not found.column.name:
        yield Problem(
            f"{path}.catch_up.column.name", "is required: name the column that grows with every insert and update"
        )
    if found.column.overlap < 0:
        yield Problem(f"{path}.catch_up.column.overlap", "can't be negative")
    if dataset.transforms:
        yield Problem(
            f"{path}.transforms",
            "can't be used in an `online` phase: changes are told as the source has them; choose another downtime policy",
        )
    if not 0 <= found.lag_seconds_max <= LAG_SECONDS_MAX:
        yield Problem(f"{path}.catch_up.lag_seconds_max", f"must be 1 to {LAG_SECONDS_MAX:,}, or 0 for 10")
