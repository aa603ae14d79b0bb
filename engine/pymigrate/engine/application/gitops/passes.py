"""A pass of a source: find, fetch, check who signed, read, apply; or what of it fails, with what is applied staying as it is.

A pass that finds the same commit and the same state of the store reads no file and writes nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from pymigrate.engine.application.gitops.applying import Applied, Applying
from pymigrate.engine.application.gitops.commit_lines import CommitLines
from pymigrate.engine.application.gitops.conditions import ConditionType, Findings, first_unmet
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.falling_back import FallingBack
from pymigrate.engine.application.gitops.holding_back import Reversals
from pymigrate.engine.application.gitops.keeping import Keeping
from pymigrate.engine.application.gitops.pass_drafts import GIT_ACTOR, Draft, Looked, counted, found, look
from pymigrate.engine.application.gitops.pass_findings import meet_applied, miss_sync, tell_kept, writes
from pymigrate.engine.application.gitops.pass_outcomes import Known, Outcome, Wish
from pymigrate.engine.application.gitops.pass_writing import Observer, PassWriting
from pymigrate.engine.application.gitops.reversal_messages import is_open
from pymigrate.engine.application.gitops.run_starting import RunStarting
from pymigrate.engine.application.gitops.same_commits import SameCommits
from pymigrate.engine.application.gitops.source_reading import SourceReading, Stopped, Target
from pymigrate.engine.application.gitops.source_staging import Looking, Refused, SourceStaging
from pymigrate.engine.application.gitops.staged_templates import TemplateRendering
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Reference
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import git_source_pb2

log = structlog.get_logger(__name__)
AGAIN_MAX = 5
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
        self._staging = SourceStaging(applying, clock, reversals)
        self._writing = PassWriting(store, clock)
        self._lines = CommitLines(reading, self._staging)
        self._same_commits = SameCommits(self._writing, starting, clock)
        keeping = Keeping(store, reading, self._staging, self._writing)
        self._falling_back = FallingBack(self._writing, keeping, clean)
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
                    known.settled = None  # what this try took for settled was not kept
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
        commit = await self._lines.read_commit(looked, target, read)
        return await self._store.read(lambda unit: self._staging.check(unit, commit, GIT_ACTOR, looking))

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
            return await self._falling_back.fall_back(draft, known, stopped.error)
        known.fetched = self._clock.monotonic()
        # Somebody who asks gets what the source itself would not apply; where everything holds there is nothing of that, unless something
        # is kept, which hangs on runs too.
        conditions = looked.status.conditions
        is_whole = bool(conditions) and first_unmet(conditions) is None and not looked.status.drift
        if (is_whole or not wish.applies) and known.is_settled(looked, head, self._clock):
            return await self._same_commits.unchanged(draft, known, head)
        known.settled = None
        draft.see(head)
        try:
            target = await self._reading.target(source, head, draft.findings)
            draft.see(target.sha)
        except Stopped as stopped:
            return await self._falling_back.stop(draft, known, stopped.target, stopped.error, wish)
        try:
            tree, read = await self._reading.read(source, target.sha, draft.findings)
        except Stopped as stopped:
            return await self._falling_back.stop(draft, known, target, stopped.error, wish)
        target = replace(target, tree=tree)
        draft.status.skipped_count = read.skipped_count
        read = await self._rendered(looked, read)
        if read.problems:
            return await self._falling_back.refuse(draft, known, target, read.problems, wish)
        goes_on = looked.status.reversal.commit == target.sha  # what was begun at somebody's wish is brought to its end
        if looked.status.is_suspended or (looked.must_only_look and not wish.applies and not goes_on):
            return await self._look_only(draft, known, target, read, wish)
        return await self._apply(draft, known, target, read, wish)

    async def _rendered(self, looked: Looked, read: DefinitionsRead) -> DefinitionsRead:
        """What was read, with what does not render among its problems."""
        if self._rendering is None or read.problems:
            return read
        return await self._rendering.checked(read, lambda unit: self._staging.stage(unit, looked, read))

    async def _apply(self, draft: Draft, known: Known, target: Target, read: DefinitionsRead, wish: Wish) -> Outcome:
        """Stages, looks whether the commit goes back behind what ran, and stores it all or nothing."""
        looked, is_same = draft.looked, target.sha == draft.looked.status.applied_commit
        if is_same:  # a look that only reads keeps nobody waiting
            staged = await self._store.read(lambda unit: self._staging.stage(unit, looked, read))
            if staged.problems:
                return await self._falling_back.refuse(draft, known, target, staged.problems, wish)
            if not writes(staged):
                return await self._same_commits.in_sync(draft, known, target, staged)
            if looked.source.drift_policy == git_source_pb2.DRIFT_POLICY_REPORT and not wish.applies:
                return await self._same_commits.report(draft, known, target, staged)
        commit = await self._lines.read_commit(looked, target, read)
        is_rewritten = not is_same and await self._lines.is_rewritten(looked, target)
        try:
            done = await self._store.transact(
                lambda unit: self._staging.store(unit, commit, wish, is_rewritten=is_rewritten)
            )
        except Refused as refused:
            return await self._falling_back.refuse(draft, known, target, refused.staged.problems, wish)
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

    async def _look_only(
        self, draft: Draft, known: Known, target: Target, read: DefinitionsRead, wish: Wish
    ) -> Outcome:
        """A source that is suspended, or only looks: what would change is told, once for each commit."""
        looked = draft.looked
        commit = await self._lines.read_commit(looked, target, read)
        revision, staged = await self._store.read(lambda unit: self._staging.look(unit, commit, wish.actor))
        if staged.problems:
            return await self._falling_back.refuse(draft, known, target, staged.problems, wish)
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
        return await self._falling_back.fall_back(draft, known, None, "checked", is_well=True)
