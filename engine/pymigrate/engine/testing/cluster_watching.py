"""What of a history a watch of an API in memory tells."""

from collections.abc import Callable

from pymigrate.engine.ports.cluster import Change, ChangeKind, Object, ResourceType
from pymigrate.engine.testing.cluster_history import Key, Record
from pymigrate.engine.testing.cluster_selectors import Selector

Passes = Callable[[Key, Object | None], bool]


def passing(namespace: str, selects: Selector) -> Passes:
    """What a list or a watch of a namespace takes; of all, where none is named."""
    return lambda key, item: item is not None and namespace in {"", key[0]} and selects(item)


def change_of(record: Record, passes: Passes) -> Change | None:
    """How a watch tells of a record, if it does."""
    was, there = passes(record.key, record.before), passes(record.key, record.after)
    if there and record.after is not None:
        return Change(ChangeKind.MODIFIED if was else ChangeKind.ADDED, record.after)
    if not was or record.before is None:
        return None
    # Of what is gone, or does not fit any more, the last that was there is told, with the version of the change.
    metadata = {**record.before["metadata"], "resourceVersion": str(record.version)}
    return Change(ChangeKind.DELETED, {**record.before, "metadata": metadata})


def bookmark_of(kind: ResourceType, version: int) -> Object:
    """An object that says a version and nothing else."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
