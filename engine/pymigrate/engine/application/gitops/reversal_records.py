"""A source with its reversal, as the store holds it: read with its version, and written with the condition, the revision and the entries of
the audit trail that tell of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.application.gitops.conditions import Findings
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.reversal_messages import tell_reversal
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.v1 import git_source_pb2


@dataclass(frozen=True, slots=True)
class Told:
    """What the audit trail is told of a source: who did what."""

    actor: str
    action: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReversalRecord:
    """A source and where it stands, at the version that was read."""

    source: git_source_pb2.GitSource
    version: int
    status: git_source_pb2.GitSourceStatus

    @property
    def reversal(self) -> git_source_pb2.Reversal:
        """What is undone."""
        return self.status.reversal

    def keep(self, unit: Unit, told: Iterable[Told], now: datetime) -> None:
        """Writes it. Raises StaleWrite where somebody wrote since it was read."""
        findings = Findings()
        tell_reversal(findings, self.reversal)
        conditions = findings.conditions(self.status.conditions, now)
        del self.status.conditions[:]
        self.status.conditions.extend(conditions)
        records, uid = unit.git_records, self.source.uid
        records.set_status(uid, self.status.SerializeToString(deterministic=True), self.version)
        kept = records.newest_of(uid, self.reversal.commit)
        if kept is not None:
            revision = git_source_pb2.GitRevision.FromString(kept[1])
            if revision.state == git_source_pb2.GIT_REVISION_STATE_REVERSING:
                revision.reversal.CopyFrom(self.reversal)
                records.set_revision(uid, kept[0], revision.SerializeToString(deterministic=True))
        for each in told:
            unit.audit.append(AuditEntry(now, each.actor, each.action, self.source.name, 0, each.detail))


def record_of(unit: Unit, name: str) -> ReversalRecord | None:
    """The source of that name; None where there is none."""
    resource = unit.resources.get(name)
    if resource is None or resource.kind != GIT_SOURCES.collection:
        return None
    source = GIT_SOURCES.read(resource)
    version, status = status_of(unit, source.uid)
    return ReversalRecord(source, version, status)
