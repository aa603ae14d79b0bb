"""Stages what a source's commit declares: to tell what would change, or to store it with its revision in one transaction."""

from collections.abc import Callable

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.applying import Applied, Applying, Scope
from pymigrate.engine.application.gitops.conditions import ConditionType
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.git_source_kinds import owner_of
from pymigrate.engine.application.gitops.holding_back import NoReversals, Reversals, drop_reversal, is_held_back
from pymigrate.engine.application.gitops.objects_digest import objects_digest
from pymigrate.engine.application.gitops.pass_drafts import GIT_ACTOR, PROBLEMS_MAX, Draft, Looked, counted
from pymigrate.engine.application.gitops.pass_findings import fresh_draft, revision_for, tell_kept
from pymigrate.engine.application.gitops.pass_outcomes import Wish
from pymigrate.engine.application.gitops.read_commits import ReadCommit
from pymigrate.engine.application.gitops.reversal_messages import planned, tell_reversal
from pymigrate.engine.application.gitops.run_starting import due_plans
from pymigrate.engine.application.gitops.source_reading import Target
from pymigrate.engine.domain.errors import AlreadyExists, FailedPrecondition, InvalidDefinition, StaleWrite
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import definition_pb2, git_source_pb2

RUNS_TOLD_MAX = 10
Looking = Callable[[Unit, Unit, Applied], None]


class Refused(Exception):
    """The stage has problems: nothing of it is stored."""

    def __init__(self, staged: Applied) -> None:
        super().__init__("refused")
        self.staged = staged


class SourceStaging:
    """Stages commits of sources. `reversals` decides what is undone for one that goes back."""

    def __init__(self, applying: Applying, clock: Clock, reversals: Reversals | None = None) -> None:
        self._applying = applying
        self._clock = clock
        self.reversals: Reversals = reversals or NoReversals()

    def stage(self, unit: Unit, looked: Looked, read: DefinitionsRead) -> Applied:
        """What these definitions make of what the unit holds."""
        source, owner = looked.source, owner_of(looked.source.name)
        scope = Scope(owner, source.environment, source.prune_policy, frozenset(source.taken_over_sides))
        try:
            return self._applying.stage(unit, read, Caller(owner, owner), scope)
        except (InvalidDefinition, FailedPrecondition) as error:  # of environments as wholes, which no document says
            return Applied(problems=[definition_pb2.DefinitionProblem(description=error.message, rule="refused")])

    def look(
        self,
        unit: Unit,
        commit: ReadCommit,
        actor: str,
    ) -> tuple[git_source_pb2.GitRevision, Applied]:
        """What would come of a commit, in a unit that only reads."""
        looked, target = commit.looked, commit.target
        staged = self.stage(unit, looked, commit.read)
        draft = Draft(looked, self._clock.now())
        revision = revision_for(git_source_pb2.GIT_REVISION_STATE_CHECKED, draft, target, staged, actor)
        if not staged.problems and target.sha != looked.status.applied_commit:
            reversal = self.reversals.look(unit, commit, staged)
            if reversal is not None:
                revision.reversal.CopyFrom(planned(reversal, looked.status.reversal))
        return revision, staged

    def check(
        self,
        unit: Unit,
        commit: ReadCommit,
        actor: str,
        looking: Looking | None = None,
    ) -> git_source_pb2.GitRevision:
        """The same with every problem, for who asks, and who may look at the unit in which everything is applied."""
        if not commit.read.problems:
            revision, staged = self.look(unit, commit, actor)
            revision.problems.extend(staged.problems[:PROBLEMS_MAX])
            if looking is not None and staged.staged is not None and not staged.problems:
                looking(staged.staged.as_unit, unit, staged)
        else:
            draft = Draft(commit.looked, self._clock.now())
            revision = revision_for(git_source_pb2.GIT_REVISION_STATE_CHECKED, draft, commit.target, None, actor)
            revision.problems.extend(commit.read.problems[:PROBLEMS_MAX])
        return revision

    def store(
        self,
        unit: Unit,
        commit: ReadCommit,
        wish: Wish,
        *,
        is_rewritten: bool,
    ) -> tuple[Draft, Applied, list[git_source_pb2.GitRevision]]:
        """The whole of it, within the transaction; it may be done again after a conflict, and so makes its own draft."""
        looked, target, read = commit.looked, commit.target, commit.read
        draft = fresh_draft(looked, target, read, self._clock.now())
        draft.require_unchanged(unit)
        staged = self.stage(unit, looked, read)
        if staged.problems:
            raise Refused(staged)
        is_same = target.sha == looked.status.applied_commit
        reversal = None if is_same else self.reversals.look(unit, commit, staged)
        if is_held_back(reversal):
            self._hold_back(draft, unit, target, staged, reversal)
            return draft, staged, draft.write(unit) if draft.is_needed else []
        try:
            staged.flush(unit)
        except AlreadyExists as error:
            raise StaleWrite(error.message) from error
        state = git_source_pb2.GIT_REVISION_STATE_CORRECTED if is_same else git_source_pb2.GIT_REVISION_STATE_APPLIED
        revision = revision_for(state, draft, target, staged, wish.actor)
        if reversal is not None:
            revision.reversal.CopyFrom(reversal)
            tell_reversal(draft.findings, reversal)
        if not is_same:
            revision.due_plans.extend(due_plans(looked.source, staged.plans, reversal))
        draft.revisions.append(revision)
        self._settle_applied(draft, target, staged, is_rewritten=is_rewritten)
        draft.status.object_count = len(read.definitions)
        draft.status.objects_digest = objects_digest(unit, looked.source)
        action = "correct" if is_same else "apply"
        draft.audit(actor_of(looked, wish), f"{action} {target.sha}", counted(staged.changes))
        return draft, staged, draft.write(unit)

    def _settle_applied(self, draft: Draft, target: Target, staged: Applied, *, is_rewritten: bool) -> None:
        status, found = draft.status, draft.findings
        before = status.applied_commit
        found.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        if is_rewritten:
            said = f"commit {target.sha} is applied, though it does not come after {before}: the branch was rewritten"
            found.meet(ConditionType.APPLIED, "HISTORY_REWRITTEN", said)
            draft.audit(
                owner_of(draft.looked.source.name), f"rewrite {before}", f"the branch leads to {target.sha} now"
            )
        elif target.sha != before or not any(c.type == ConditionType.APPLIED and c.is_met for c in status.conditions):
            found.meet(ConditionType.APPLIED, "APPLIED", f"commit {target.sha} is applied")
        status.applied_commit = target.sha
        status.applied_time.FromDatetime(draft.now)
        drop_reversal(draft)
        draft.tell_problems([])
        tell_kept(draft, staged)

    def _hold_back(
        self,
        draft: Draft,
        unit: Unit,
        target: Target,
        staged: Applied,
        reversal: git_source_pb2.Reversal | None,
    ) -> None:
        """A commit waits until what it goes back behind is undone."""
        assert reversal is not None  # noqa: S101 (for the type checker: none holds nothing back)
        is_new = draft.status.reversal.commit != reversal.commit
        draft.status.reversal.CopyFrom(reversal)
        draft.tell_problems([])
        count = len(reversal.runs)
        said = f"commit {target.sha} waits until {count:,} {'run is' if count == 1 else 'runs are'} undone"
        draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        draft.findings.miss(ConditionType.APPLIED, "HELD_BACK", said)
        tell_reversal(draft.findings, reversal)
        if is_new:
            is_blocked = reversal.state == git_source_pb2.REVERSAL_STATE_BLOCKED
            runs = ", ".join(last_segment(each.run) for each in reversal.runs[:RUNS_TOLD_MAX])
            owner = owner_of(draft.looked.source.name)
            draft.audit(owner, f"hold back {target.sha}", f"it goes back behind {runs}")
            if is_blocked:
                draft.audit(owner, f"block reversal {target.sha}", reversal.message)
        newest = unit.git_records.newest_of(draft.looked.source.uid, target.sha)
        kept = git_source_pb2.GitRevision.FromString(newest[1]) if newest else git_source_pb2.GitRevision()
        if kept.state != git_source_pb2.GIT_REVISION_STATE_REVERSING:
            revision = revision_for(git_source_pb2.GIT_REVISION_STATE_REVERSING, draft, target, staged, GIT_ACTOR)
            revision.reversal.CopyFrom(reversal)
            draft.revisions.append(revision)


def actor_of(looked: Looked, wish: Wish) -> str:
    """In whose name something is done: the source's own where nobody has asked for it."""
    return owner_of(looked.source.name) if wish.actor == GIT_ACTOR else wish.actor
