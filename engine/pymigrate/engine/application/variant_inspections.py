"""What is known of a dataset that a variant changes or adds, from the look that was taken at the plan as it stands."""

from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2

SPLIT = frozenset({"sqlite", "duckdb", "postgres", "mysql", "files"})
SPLIT_UNASKED = frozenset({"sqlite", "duckdb", "files"})
LANE_BYTES = 512_000_000
LANES_AUTOMATIC_MAX = 8
NOT_KNOWN = -1
_NOT_LOOKED_AT = "a variant names it, and nothing was looked at for that"


def inspection_of(
    dataset: plan_pb2.Dataset,
    before: plan_pb2.Dataset | None,
    looked_at: run_pb2.Inspection | None,
    source: connection_pb2.Connection | None,
) -> run_pb2.Inspection | None:
    """What a look at the dataset would find as far as is known: all of that which was found (None where nothing was), as long as it
    reads and writes what it did; its size alone where it writes elsewhere; nothing where it reads something else. Its lanes are those
    that it asks for."""
    if looked_at is None and before == dataset:
        return None
    found = run_pb2.Inspection()
    if looked_at is None or before is None or before.source != dataset.source:
        found.source.rows = found.source.bytes = NOT_KNOWN
        found.path_reason = _NOT_LOOKED_AT
    else:
        found.CopyFrom(looked_at)
        if before.target != dataset.target or list(before.transforms) != list(dataset.transforms):
            found.ClearField("path")
            found.ClearField("is_target_present")
            found.ClearField("target_rows")
            found.path_reason = _NOT_LOOKED_AT
        if before.lanes == dataset.lanes:
            return found
    lanes = _lanes(dataset, found.source.bytes, source)
    del found.ranges[:]
    found.ranges.extend(f"{lane}/{lanes}" for lane in range(1, lanes + 1) if lanes > 1)
    return found


def is_measured_alike(dataset: plan_pb2.Dataset, before: plan_pb2.Dataset | None) -> bool:
    """Whether what was measured of the dataset as it was still holds: how it is split and followed, and what is declared of its size, may
    differ."""
    if before is None:
        return False
    return _measured_part(dataset) == _measured_part(before)


def _measured_part(dataset: plan_pb2.Dataset) -> bytes:
    part = plan_pb2.Dataset()
    part.CopyFrom(dataset)
    for field in ("lanes", "declared", "catch_up"):
        part.ClearField(field)
    return part.SerializeToString(deterministic=True)


def _lanes(dataset: plan_pb2.Dataset, size_bytes: int, source: connection_pb2.Connection | None) -> int:
    """The lanes that a dataset is split into: as many as it asks for where its source can be split."""
    kind = source.WhichOneof("system") if source is not None else None
    if kind in SPLIT and dataset.lanes:
        return dataset.lanes
    if kind in SPLIT_UNASKED:
        return max(1, min(LANES_AUTOMATIC_MAX, -(-size_bytes // LANE_BYTES)))
    return 1
