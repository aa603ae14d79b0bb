"""Whether a source is suspended: other sides may change its objects then."""

from pymigrate.engine.application.gitops.git_source_kinds import source_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2


def status_of(unit: Unit, uid: str) -> tuple[int, git_source_pb2.GitSourceStatus]:
    """Where a source stands, and the version of that; 0 where nothing is kept of it."""
    version, body = unit.git_records.status(uid) or (0, b"")
    return version, git_source_pb2.GitSourceStatus.FromString(body)


def is_suspended(unit: Unit, owner: str) -> bool:
    """Whether a side is a source that is suspended."""
    stored = unit.resources.get(source_of(owner)) if source_of(owner) else None
    return stored is not None and status_of(unit, stored.uid)[1].is_suspended
