"""What a pass writes: where the source stands, the revisions that came of it, and who did what; in one transaction, guarded by what the
pass saw, and nothing where it is as it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.application.gitops.conditions import Findings, ready_of
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES, owner_of
from pymigrate.engine.application.gitops.objects_digest import objects_digest
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.errors import NotFound, StaleWrite
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit
from pymigrate.v1 import definition_pb2, git_source_pb2

PROBLEMS_MAX = 200
DRIFT_MAX = 200
CHANGES_MAX = 1_000
GIT_ACTOR = "git"
ON_PURPOSE = frozenset({"SUSPENDED", "DRY_RUN", "NOT_PROMOTED", "WAITING"})


@dataclass(frozen=True, slots=True)
class Looked:
    """What the store holds of a source when a pass begins. `digest` is that of its objects."""

    source: git_source_pb2.GitSource
    version: int
    status: git_source_pb2.GitSourceStatus
    status_version: int
    digest: str

    @property
    def must_only_look(self) -> bool:
        """Whether nothing is applied of itself."""
        return self.status.is_suspended or self.source.sync_mode == git_source_pb2.SYNC_MODE_DRY_RUN


def found(unit: Unit, name: str) -> tuple[git_source_pb2.GitSource, git_source_pb2.GitSourceStatus]:
    """A source, and where it stands. Raises NotFound."""
    resource = _resource(unit, name)
    return GIT_SOURCES.read(resource), status_of(unit, resource.uid)[1]


def look(unit: Unit, name: str) -> Looked:
    """What a pass begins with. Raises NotFound."""
    resource = _resource(unit, name)
    source = GIT_SOURCES.read(resource)
    version, status = status_of(unit, resource.uid)
    return Looked(source, resource.version, status, version, objects_digest(unit, source))


@dataclass(slots=True)
class Draft:
    """What a pass is about to write. `status` is changed by whoever finds something."""

    looked: Looked
    now: datetime
    findings: Findings = field(default_factory=Findings)
    status: git_source_pb2.GitSourceStatus = field(default_factory=git_source_pb2.GitSourceStatus)
    revisions: list[git_source_pb2.GitRevision] = field(default_factory=list)
    audits: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status.CopyFrom(self.looked.status)

    def see(self, sha: str) -> None:
        """A commit was seen."""
        if self.status.seen_commit != sha:
            self.status.seen_commit = sha
            self.status.seen_time.FromDatetime(self.now)

    def tell_problems(self, problems: Sequence[definition_pb2.DefinitionProblem]) -> None:
        """What keeps the commit that was seen from being applied."""
        del self.status.problems[:]
        self.status.problems.extend(problems[:PROBLEMS_MAX])

    def tell_drift(self, changes: Sequence[definition_pb2.DefinitionChange]) -> None:
        """What is not as the applied commit says."""
        del self.status.drift[:]
        self.status.drift.extend(changes[:DRIFT_MAX])

    def audit(self, actor: str, action: str, detail: str) -> None:
        """Who did what."""
        self.audits.append((actor, action, detail))

    def finish(self) -> git_source_pb2.GitSourceStatus:
        """The status with its conditions."""
        found = self.findings.conditions(self.looked.status.conditions, self.now)
        del self.status.conditions[:]
        self.status.conditions.extend(found)
        return self.status

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write: how a condition is worded alone is nothing."""
        if self.revisions or self.audits:
            return True
        before, after = _without_words(self.looked.status), _without_words(self.finish())
        return before.SerializeToString(deterministic=True) != after.SerializeToString(deterministic=True)

    def require_unchanged(self, unit: Unit) -> None:
        """Raises NotFound where the source is gone, and StaleWrite where it, or where it stands, was written since the pass began."""
        name = self.looked.source.name
        resource = unit.resources.get(name)
        if resource is None or resource.uid != self.looked.source.uid:
            raise NotFound(f"there is no {name} any more", field="name")
        version, _ = status_of(unit, resource.uid)
        if (resource.version, version) != (self.looked.version, self.looked.status_version):
            raise StaleWrite(f"{name} was changed while its pass went on: it begins again")

    def _turned(self) -> Iterator[tuple[str, str, str]]:
        """That a source fails, or works again, as rules route it. Where somebody has asked that it only looks, it does not fail."""
        before, after = ready_of(self.looked.status.conditions), ready_of(self.status.conditions)
        had_failed = before is not None and not before.is_met and before.reason not in ON_PURPOSE
        fails = after is not None and not after.is_met and after.reason not in ON_PURPOSE
        if after is not None and fails and (before is None or not had_failed or before.reason != after.reason):
            yield owner_of(self.looked.source.name), f"fail {after.reason}", after.message
        elif after is not None and had_failed and not fails:
            yield owner_of(self.looked.source.name), f"recover {after.reason}", after.message

    def write(self, unit: Unit) -> list[git_source_pb2.GitRevision]:
        """Writes it; the revisions with their names."""
        self.require_unchanged(unit)
        uid, name, written = self.looked.source.uid, self.looked.source.name, []
        newest = next(iter(unit.git_records.revisions(uid, 0, 1)), (0, b""))[0]
        for number, revision in enumerate(self.revisions, start=newest + 1):
            kept = git_source_pb2.GitRevision()
            kept.CopyFrom(revision)
            kept.name = f"{name}/revisions/{number}"
            unit.git_records.add_revision(uid, number, kept.commit, kept.SerializeToString())
            written.append(kept)
        body = self.finish().SerializeToString(deterministic=True)
        for actor, action, detail in (*self.audits, *self._turned()):
            unit.audit.append(AuditEntry(self.now, actor, action, name, newest + len(written), detail))
        unit.git_records.set_status(uid, body, self.looked.status_version)
        return written


def counted(changes: Sequence[definition_pb2.DefinitionChange]) -> str:
    """`3 created, 1 updated`; `nothing changed` for none."""
    words = (
        (definition_pb2.CHANGE_ACTION_CREATE, "created"),
        (definition_pb2.CHANGE_ACTION_UPDATE, "updated"),
        (definition_pb2.CHANGE_ACTION_DELETE, "deleted"),
        (definition_pb2.CHANGE_ACTION_KEEP, "kept"),
    )
    counts = [(sum(each.action == action for each in changes), word) for action, word in words]
    return ", ".join(f"{count:,} {word}" for count, word in counts if count) or "nothing changed"


def told_first(problems: Sequence[definition_pb2.DefinitionProblem], clean: Callable[[str], str] = str) -> str:
    """The first problem with its place, and how many others there are."""
    first = problems[0]
    place = f"{first.file}:{first.line}: " if first.line else f"{first.file}: " if first.file else ""
    others = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return clean(f"{place}{first.description}{others}")


def revision_of(
    state: "git_source_pb2.GitRevisionState.ValueType", now: datetime, actor: str
) -> git_source_pb2.GitRevision:
    """A revision of which nothing else is known yet."""
    return git_source_pb2.GitRevision(state=state, time=timestamp(now), actor=actor)


def _without_words(status: git_source_pb2.GitSourceStatus) -> git_source_pb2.GitSourceStatus:
    found = git_source_pb2.GitSourceStatus()
    found.CopyFrom(status)
    found.ClearField("fetch_time")
    found.ClearField("objects_digest")
    for each in found.conditions:
        each.message = ""
        each.ClearField("transition_time")
    return found


def _resource(unit: Unit, name: str) -> Resource:
    resource = unit.resources.get(name)
    if resource is None or resource.kind != GIT_SOURCES.collection:
        raise NotFound(f"there is no {name}", field="name")
    return resource
