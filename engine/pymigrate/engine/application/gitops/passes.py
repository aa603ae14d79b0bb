"""A pass of a source: find, fetch, check who signed, read, apply; or what of it fails, with what is applied staying as it is.

A pass that finds the same commit and the same state of the store reads no file and writes nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import structlog

from pymigrate.engine.application.gitops.applying import Applied, Applying
from pymigrate.engine.application.gitops.conditions import ConditionType, Findings, first_unmet
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.holding_back import Reversals, drop_reversal, is_held_back
from pymigrate.engine.application.gitops.keeping import Keeping
from pymigrate.engine.application.gitops.pass_drafts import (
    GIT_ACTOR,
    PROBLEMS_MAX,
    Draft,
    Looked,
    counted,
    found,
    look,
    told_first,
)
from pymigrate.engine.application.gitops.pass_findings import meet_applied, miss_sync, revision_for, tell_kept, writes
from pymigrate.engine.application.gitops.pass_outcomes import Known, Outcome, Wish
from pymigrate.engine.application.gitops.pass_writing import Observer, PassWriting
from pymigrate.engine.application.gitops.reversal_messages import is_open
from pymigrate.engine.application.gitops.run_starting import RunStarting
from pymigrate.engine.application.gitops.source_reading import (
    INVALID,
    SourceReading,
    Stopped,
    Target,
    problem_of,
)
from pymigrate.engine.application.gitops.source_staging import Looking, Refused, SourceStaging, actor_of
from pymigrate.engine.application.gitops.staged_templates import TemplateRendering
from pymigrate.engine.application.kinds import PLANS
from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused, StaleWrite
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Reference
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import definition_pb2, git_source_pb2

log = structlog.get_logger(__name__)
AGAIN_MAX = 5
COMMITS_BETWEEN_MAX = 1_000
KEPT_AGAIN_SECONDS = 300.0
DETAIL_CHARACTERS_MAX = 500
NOBODY_ASKED = Wish()


class Passes:
    """Passes of sources, one after another for each."""

    def __init__(
        self,
        store: Store,
        reading: SourceReading,
        applying: Applying,
        starting: RunStarting,
        clock: Clock,
        clean: Callable[[str], str] = str,
        reversals: Reversals | None = None,
    ) -> None:
        self._store = store
        self._reading = reading
        self._starting = starting
        self._clock = clock
        self._clean = clean
        self._staging = SourceStaging(applying, clock, reversals)
        self._writing = PassWriting(store, clock)
        self._keeping = Keeping(store, reading, self._staging, self._writing)
        self._known: dict[str, Known] = {}
        self._rendering: TemplateRendering | None = None

    def follow(self, observer: Observer) -> None:
        """Calls back with every revision that is kept, and the source, after it was committed. An observer neither waits nor raises."""
        self._writing.observers.append(observer)

    def reverse_by(self, reversals: Reversals) -> None:
        """Says who decides what is undone for a commit that goes back."""
        self._staging.reversals = reversals

    def render_by(self, rendering: TemplateRendering) -> None:
        """Says what renders templates before a commit with them is applied."""
        self._rendering = rendering

    def known_status(self, uid: str) -> git_source_pb2.GitSourceStatus:
        """What the last pass found, with when the repository last answered; empty before the first."""
        return self._known[uid].status if uid in self._known else git_source_pb2.GitSourceStatus()

    def ages_seconds(self, uid: str) -> tuple[float, float]:
        """How long ago the repository last answered, and something was last applied or found to be applied; -1: not since the start."""
        known, now = self._known.get(uid, Known()), self._clock.monotonic()
        return tuple(now - each if each else -1.0 for each in (known.fetched, known.applied))  # type: ignore[return-value]  # two

    def unsettle(self, uid: str) -> None:
        """The next pass looks at everything again."""
        if uid in self._known:
            self._known[uid].settled = None

    async def forget(self, uid: str) -> None:
        """A source is gone: its copy goes too, after a pass that is under way."""
        self._starting.forget(uid)
        known = self._known.pop(uid, None)
        if known is None:
            await self._reading.drop(uid)
            return
        async with known.lock:
            await self._reading.drop(uid)

    async def run(self, name: str, wish: Wish = NOBODY_ASKED) -> Outcome:
        """One pass. Raises NotFound; whatever is wrong with the repository or what it holds is told by the outcome."""
        known = await self._known_of(name)
        for tried in range(1, AGAIN_MAX + 1):
            async with known.lock:
                looked = await self._store.read(partial(look, name=name))
                try:
                    async with self._reading.repository(looked.source).opened():
                        outcome = await self._pass(looked, known, wish)
                    if is_open(outcome.status.reversal):
                        self._staging.reversals.note(name)
                    return outcome
                except StaleWrite as error:
                    if tried == AGAIN_MAX:
                        raise
                    log.info("git_source.again", source=name, error=error.message)
        raise AssertionError  # the loop returns or raises

    async def check(
        self, name: str, reference: Reference | None = None, looking: Looking | None = None
    ) -> git_source_pb2.GitRevision:
        """What a commit would change; nothing is stored. `looking` is called with a unit in which everything is applied, the unit as it is,
        and what differs, unless there are problems. Raises what is wrong with the repository."""
        known = await self._known_of(name)
        async with known.lock:
            looked = await self._store.read(partial(look, name=name))
            async with self._reading.repository(looked.source).opened():
                return await self._check(looked, reference, looking)

    async def _check(
        self, looked: Looked, reference: Reference | None, looking: Looking | None
    ) -> git_source_pb2.GitRevision:
        findings = Findings()
        try:
            head = await self._reading.head(looked.source, findings, reference)
            if reference is None:
                target = await self._reading.target(looked.source, head, findings)
            else:
                target = Target(head, await self._reading.repository(looked.source).commit(head))
            tree, read = await self._reading.read(looked.source, target.sha, findings)
        except Stopped as stopped:
            raise stopped.error from stopped
        target = replace(target, tree=tree)
        read = await self._rendered(looked, read)
        reverted = await self._reverted(looked, target, read)
        return await self._store.read(
            lambda unit: self._staging.check(unit, looked, target, read, reverted, GIT_ACTOR, looking)
        )

    async def revision_of(self, outcome: Outcome) -> git_source_pb2.GitRevision:
        """What came of the commit that a pass has seen, by it or by one before; empty where nothing is kept of it."""
        if outcome.revision.name:
            return outcome.revision
        uid, sha = outcome.source.uid, outcome.status.seen_commit
        kept = await self._store.read(lambda unit: unit.git_records.newest_of(uid, sha))
        return git_source_pb2.GitRevision.FromString(kept[1] if kept else b"")

    async def _known_of(self, name: str) -> Known:
        """What is known of a source. Raises NotFound."""
        source, status = await self._store.read(partial(found, name=name))
        return self._known.setdefault(source.uid, Known(status=status))

    async def _pass(self, looked: Looked, known: Known, wish: Wish) -> Outcome:
        source, draft = looked.source, Draft(looked, self._clock.now())
        try:
            head = await self._reading.head(source, draft.findings, is_pushed=wish.is_pushed)
        except Stopped as stopped:
            return await self._fall_back(draft, known, stopped.error)
        known.fetched = self._clock.monotonic()
        # Somebody who asks gets what the source itself would not apply; where everything holds there is nothing of that.
        is_whole = bool(looked.status.conditions) and first_unmet(looked.status.conditions) is None
        if (is_whole or not wish.applies) and self._is_settled(looked, known, head):
            return await self._unchanged(draft, known, head)
        known.settled = None
        draft.see(head)
        try:
            target = await self._reading.target(source, head, draft.findings)
            draft.see(target.sha)
        except Stopped as stopped:
            return await self._stop(draft, known, stopped.target, stopped.error, wish)
        try:
            tree, read = await self._reading.read(source, target.sha, draft.findings)
        except Stopped as stopped:
            return await self._stop(draft, known, target, stopped.error, wish)
        target = replace(target, tree=tree)
        draft.status.skipped_count = read.skipped_count
        read = await self._rendered(looked, read)
        if read.problems:
            return await self._refuse(draft, known, target, read.problems, wish)
        goes_on = looked.status.reversal.commit == target.sha  # what was begun at somebody's wish is brought to its end
        if looked.status.is_suspended or (looked.must_only_look and not wish.applies and not goes_on):
            return await self._look_only(draft, known, target, read, wish)
        return await self._apply(draft, known, target, read, wish)

    async def _rendered(self, looked: Looked, read: DefinitionsRead) -> DefinitionsRead:
        """What was read, with what does not render among its problems."""
        if self._rendering is None or read.problems:
            return read
        return await self._rendering.checked(read, lambda unit: self._staging.stage(unit, looked, read))

    def _is_settled(self, looked: Looked, known: Known, head: str) -> bool:
        """Whether there is nothing to do: as this engine found already, or as the one before has kept it."""
        if looked.status.HasField("reversal") and is_held_back(looked.status.reversal):
            return False
        if known.settled == (head, looked.digest, looked.version):
            return not known.kept_since or self._clock.monotonic() - known.kept_since < KEPT_AGAIN_SECONDS
        status = looked.status
        return (
            known.settled is None
            and not looked.source.promotion.pin_file
            and head == status.applied_commit == status.seen_commit
            and looked.digest == status.objects_digest
            and not status.problems
            and not status.drift
            and not status.is_suspended
        )

    async def _unchanged(self, draft: Draft, known: Known, head: str) -> Outcome:
        """The same commit, and the same state of the store."""
        looked = draft.looked
        known.settled = (head, looked.digest, looked.version)
        failure = await self._starting.step(looked.source, draft.findings)
        await self._writing.write(draft, known)
        if first_unmet(draft.status.conditions) is None:
            known.applied = self._clock.monotonic()
        return self._writing.outcome("unchanged", draft, known, error=failure)

    async def _apply(self, draft: Draft, known: Known, target: Target, read: DefinitionsRead, wish: Wish) -> Outcome:
        """Stages, looks whether the commit goes back behind what ran, and stores it all or nothing."""
        looked, is_same = draft.looked, target.sha == draft.looked.status.applied_commit
        if is_same:  # a look that only reads keeps nobody waiting
            staged = await self._store.read(lambda unit: self._staging.stage(unit, looked, read))
            if staged.problems:
                return await self._refuse(draft, known, target, staged.problems, wish)
            if not writes(staged):
                return await self._in_sync(draft, known, target, staged)
            if looked.source.drift_policy == git_source_pb2.DRIFT_POLICY_REPORT and not wish.applies:
                return await self._report(draft, known, target, staged)
        reverted = await self._reverted(looked, target, read)
        is_rewritten = not is_same and await self._is_rewritten(looked, target)
        try:
            done = await self._store.transact(
                lambda unit: self._staging.store(unit, looked, target, read, reverted, wish, is_rewritten=is_rewritten)
            )
        except Refused as refused:
            return await self._refuse(draft, known, target, refused.staged.problems, wish)
        written, stored, revisions = done
        return await self._told(written, known, target, stored, revisions)

    async def _told(
        self,
        draft: Draft,
        known: Known,
        target: Target,
        staged: Applied,
        revisions: list[git_source_pb2.GitRevision],
    ) -> Outcome:
        """After it was committed: memory, whoever follows, and the runs that are to be started."""
        source, status = draft.looked.source, draft.status
        revision = revisions[-1] if revisions else await self._writing.kept_revision(draft.looked, target.sha)
        known.status = status
        self._writing.tell(source, revisions)
        if revision.state == git_source_pb2.GIT_REVISION_STATE_REVERSING:
            return self._writing.outcome("held_back", draft, known, revision)
        known.applied = self._clock.monotonic()
        known.settle(draft.looked, target, staged, status.objects_digest, self._clock)
        log.info(
            "git_source.applied",
            source=source.name,
            commit=target.sha,
            state=revision.state,
            changes=len(staged.changes),
        )
        after = Draft(await self._store.read(partial(look, name=source.name)), draft.now)
        failure = await self._starting.step(source, after.findings, revision)
        if failure is not None or revision.due_plans:
            await self._writing.write(after, known)
            revision = await self._writing.kept_revision(after.looked, target.sha)
        is_same = revision.state == git_source_pb2.GIT_REVISION_STATE_CORRECTED
        return self._writing.outcome("corrected" if is_same else "applied", after, known, revision, failure)

    async def _in_sync(self, draft: Draft, known: Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and what is stored is what it says, whatever was written meanwhile."""
        meet_applied(draft, target)
        drop_reversal(draft)
        tell_kept(draft, staged)
        draft.tell_problems([])
        draft.status.objects_digest = draft.looked.digest
        known.settle(draft.looked, target, staged, draft.looked.digest, self._clock)
        known.applied = self._clock.monotonic()
        failure = await self._starting.step(draft.looked.source, draft.findings)
        await self._writing.write(draft, known)
        return self._writing.outcome("unchanged", draft, known, error=failure)

    async def _report(self, draft: Draft, known: Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and drift that is told and left alone."""
        meet_applied(draft, target)
        drop_reversal(draft)
        draft.tell_problems([])
        miss_sync(draft, staged)
        known.settle(draft.looked, target, staged, draft.looked.digest, self._clock)
        await self._writing.write(draft, known)
        return self._writing.outcome("drifted", draft, known)

    async def _stop(
        self, draft: Draft, known: Known, target: Target | None, error: PyMigrateError, wish: Wish
    ) -> Outcome:
        """A commit that is not read, as of who signed it, or of what lies in its folder."""
        draft.tell_problems([problem_of(error, self._clean)])
        if target is not None and isinstance(error, RepositoryRefused):
            await self._note_refused(draft, target, wish)
        return await self._fall_back(draft, known, error)

    async def _refuse(
        self,
        draft: Draft,
        known: Known,
        target: Target,
        problems: Sequence[definition_pb2.DefinitionProblem],
        wish: Wish,
    ) -> Outcome:
        """A commit that is not sound: it is told where, and what is applied stays."""
        told = [
            definition_pb2.DefinitionProblem.FromString(each.SerializeToString()) for each in problems[:PROBLEMS_MAX]
        ]
        for each in told:
            each.description = self._clean(each.description)
        draft.tell_problems(told)
        draft.findings.miss(ConditionType.VALID, INVALID, told_first(problems, self._clean))
        await self._note_refused(draft, target, wish)
        return await self._fall_back(draft, known, None, "refused")

    async def _note_refused(self, draft: Draft, target: Target, wish: Wish) -> None:
        """Keeps that a commit was refused, once. One that is applied stays so, whatever is found of it later."""
        kept = await self._writing.kept_revision(draft.looked, target.sha)
        is_applied = target.sha == draft.looked.status.applied_commit
        if is_applied or kept.state == git_source_pb2.GIT_REVISION_STATE_REFUSED:
            return
        problems = draft.status.problems
        revision = revision_for(git_source_pb2.GIT_REVISION_STATE_REFUSED, draft, target, None, wish.actor)
        revision.problems.extend(problems)
        draft.revisions.append(revision)
        draft.audit(actor_of(draft.looked, wish), f"refuse {target.sha}", told_first(problems)[:DETAIL_CHARACTERS_MAX])

    async def _look_only(
        self, draft: Draft, known: Known, target: Target, read: DefinitionsRead, wish: Wish
    ) -> Outcome:
        """A source that is suspended, or only looks: what would change is told, once for each commit."""
        looked = draft.looked
        reverted = await self._reverted(looked, target, read)
        revision, staged = await self._store.read(
            lambda unit: self._staging.look(unit, looked, target, read, reverted, wish.actor)
        )
        if staged.problems:
            return await self._refuse(draft, known, target, staged.problems, wish)
        draft.tell_problems([])
        draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        known.settle(looked, target, staged, looked.digest, self._clock)
        if target.sha == looked.status.applied_commit:
            meet_applied(draft, target)
            if writes(staged):
                miss_sync(draft, staged)
            else:
                tell_kept(draft, staged)
            await self._writing.write(draft, known)
            return self._writing.outcome("drifted" if writes(staged) else "unchanged", draft, known)
        reason = "SUSPENDED" if looked.status.is_suspended else "DRY_RUN"
        how = "resume it" if looked.status.is_suspended else "call SyncGitSource"
        said = f"commit {target.sha} is not applied ({counted(staged.changes)}): {how} to apply it"
        draft.findings.miss(ConditionType.APPLIED, reason, said)
        kept = await self._writing.kept_revision(looked, target.sha)
        if kept.state != git_source_pb2.GIT_REVISION_STATE_CHECKED:
            draft.revisions.append(revision)
        return await self._fall_back(draft, known, None, "checked", is_well=True)

    async def _fall_back(
        self,
        draft: Draft,
        known: Known,
        error: PyMigrateError | None,
        result: str = "failed",
        *,
        is_well: bool = False,
    ) -> Outcome:
        """What is applied goes on serving, and is kept as it is: drift is corrected or told by the commit before."""
        status = draft.looked.status
        if not is_well and draft.status.seen_commit != status.applied_commit:
            kept = (
                f"commit {status.applied_commit} goes on serving" if status.applied_commit else "nothing is applied yet"
            )
            draft.findings.miss(
                ConditionType.APPLIED, "HELD_BACK", f"commit {draft.status.seen_commit} is not applied: {kept}"
            )
        revisions = [] if await self._keeping.step(draft, known) else await self._writing.write(draft, known)
        revision = revisions[-1] if revisions else None
        return self._writing.outcome(result, draft, known, revision, error, is_well=is_well)

    async def _reverted(self, looked: Looked, target: Target, read: DefinitionsRead) -> Collection[int]:
        """The revisions of which the commits that lead to this one, and not to the one that is applied, say that they revert them."""
        applied, repository = looked.status.applied_commit, self._reading.repository(looked.source)
        if not applied or applied == target.sha:
            return ()
        between = await repository.between(applied, target.sha, COMMITS_BETWEEN_MAX)
        declared = {each.name for each in read.definitions if each.kind is PLANS}
        return await self._staging.reversals.reverted(looked.source, declared, between, repository)

    async def _is_rewritten(self, looked: Looked, target: Target) -> bool:
        """Whether a branch leads to a commit that does not come after the one that is applied, without the source having been changed."""
        applied, source = looked.status.applied_commit, looked.source
        if not applied or source.WhichOneof("reference") in ("tag", "commit") or source.promotion.pin_file:
            return False
        if applied in target.commit.parents:
            return False
        if source.update_time.ToMicroseconds() > looked.status.applied_time.ToMicroseconds():
            return False
        return not await self._reading.repository(source).is_ancestor(applied, target.sha)
