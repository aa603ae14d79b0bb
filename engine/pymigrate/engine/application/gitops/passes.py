"""A pass of a source: find, fetch, check who signed, read, apply; or what of it fails, with what is applied staying as it is.

A pass that finds the same commit and the same state of the store reads no file and writes nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import structlog

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.applying import Applied, Applying, Scope
from pymigrate.engine.application.gitops.conditions import ConditionType, Findings
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.git_source_kinds import owner_of
from pymigrate.engine.application.gitops.holding_back import NoReversals, Reversals, is_held_back
from pymigrate.engine.application.gitops.objects_digest import objects_digest
from pymigrate.engine.application.gitops.pass_drafts import (
    CHANGES_MAX,
    GIT_ACTOR,
    PROBLEMS_MAX,
    Draft,
    Looked,
    counted,
    look,
    revision_of,
    told_first,
)
from pymigrate.engine.application.gitops.run_starting import RunStarting, due_plans
from pymigrate.engine.application.gitops.source_reading import (
    INVALID,
    SourceReading,
    Stopped,
    Target,
    problem_of,
)
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, StaleWrite
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Commit, Reference
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2, git_source_pb2

log = structlog.get_logger(__name__)
AGAIN_MAX = 5
COMMITS_BETWEEN_MAX = 1_000
KEPT_AGAIN_SECONDS = 300.0
Result = TypeVar("Result")
Observer = Callable[[git_source_pb2.GitSource, git_source_pb2.GitRevision], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of the next pass besides that it comes: to apply although the source only looks by itself, in whose name."""

    actor: str = GIT_ACTOR
    applies: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pass. `result` is a word for metrics; `revision` what came of the commit; `error` what ended the pass, if anything."""

    result: str
    is_well: bool
    revision: git_source_pb2.GitRevision = field(default_factory=git_source_pb2.GitRevision)
    error: PyMigrateError | None = None
    source: git_source_pb2.GitSource = field(default_factory=git_source_pb2.GitSource)
    status: git_source_pb2.GitSourceStatus = field(default_factory=git_source_pb2.GitSourceStatus)


@dataclass(slots=True)
class _Known:
    """What is known of a source in memory alone. `settled`: with this head, digest and version of it there was nothing to do."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    settled: tuple[str, str, int] | None = None
    kept_since: float = 0.0
    fetched: float = 0.0
    applied: float = 0.0
    status: git_source_pb2.GitSourceStatus = field(default_factory=git_source_pb2.GitSourceStatus)


class _Refused(Exception):
    """The stage has problems: nothing of it is stored."""

    def __init__(self, staged: Applied) -> None:
        super().__init__("refused")
        self.staged = staged


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
        self._applying = applying
        self._starting = starting
        self._clock = clock
        self._clean = clean
        self._reversals = reversals or NoReversals()
        self._known: dict[str, _Known] = {}
        self._observers: list[Observer] = []

    def follow(self, observer: Observer) -> None:
        """Calls back with every revision that is kept, and the source, after it was committed. An observer neither waits nor raises."""
        self._observers.append(observer)

    def reverse_by(self, reversals: Reversals) -> None:
        """Says who decides what is undone for a commit that goes back."""
        self._reversals = reversals

    def known_status(self, uid: str) -> git_source_pb2.GitSourceStatus:
        """What the last pass found, with when the repository last answered; empty before the first."""
        return self._known[uid].status if uid in self._known else git_source_pb2.GitSourceStatus()

    def ages_seconds(self, uid: str) -> tuple[float, float]:
        """How long ago the repository last answered, and something was last applied or found to be applied; -1: not since the start."""
        known, now = self._known.get(uid, _Known()), self._clock.monotonic()
        return tuple(now - each if each else -1.0 for each in (known.fetched, known.applied))  # type: ignore[return-value]  # two

    def unsettle(self, uid: str) -> None:
        """The next pass looks at everything again."""
        if uid in self._known:
            self._known[uid].settled = None

    async def forget(self, uid: str) -> None:
        """A source is gone: its copy goes too, after a pass that is under way."""
        known = self._known.pop(uid, None)
        if known is None:
            await self._reading.drop(uid)
            return
        async with known.lock:
            await self._reading.drop(uid)

    async def run(self, name: str, wish: Wish = Wish()) -> Outcome:
        """One pass. Raises NotFound; whatever is wrong with the repository or what it holds is told by the outcome."""
        for tried in range(1, AGAIN_MAX + 1):
            looked = await self._store.read(partial(look, name=name))
            known = self._known.setdefault(looked.source.uid, _Known(status=looked.status))
            async with known.lock:
                looked = await self._store.read(partial(look, name=name))
                try:
                    return await self._pass(looked, known, wish)
                except StaleWrite as error:
                    if tried == AGAIN_MAX:
                        raise
                    log.info("git_source.again", source=name, error=error.message)
        raise AssertionError  # the loop returns or raises

    async def check(self, name: str, reference: Reference | None = None) -> git_source_pb2.GitRevision:
        """What a commit would change; nothing is stored. Raises what is wrong with the repository."""
        looked = await self._store.read(partial(look, name=name))
        known = self._known.setdefault(looked.source.uid, _Known(status=looked.status))
        async with known.lock:
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
            between = await self._between(looked, target)
            return await self._store.read(lambda unit: self._checked(unit, looked, target, read, between, GIT_ACTOR))

    async def _pass(self, looked: Looked, known: _Known, wish: Wish) -> Outcome:
        source, draft = looked.source, Draft(looked, self._clock.now())
        try:
            head = await self._reading.head(source, draft.findings)
        except Stopped as stopped:
            return await self._fall_back(draft, known, stopped.error)
        known.fetched = self._clock.monotonic()
        if not wish.applies and self._is_settled(looked, known, head):
            return await self._unchanged(draft, known, head)
        draft.see(head)
        try:
            target = await self._reading.target(source, head, draft.findings)
            draft.see(target.sha)
            tree, read = await self._reading.read(source, target.sha, draft.findings)
        except Stopped as stopped:
            draft.tell_problems([problem_of(stopped.error, self._clean)])
            return await self._fall_back(draft, known, stopped.error)
        target = replace(target, tree=tree)
        draft.status.skipped_count = read.skipped_count
        if read.problems:
            return await self._refuse(draft, known, target, read.problems, wish)
        if looked.status.is_suspended or (looked.must_only_look and not wish.applies):
            return await self._look_only(draft, known, target, read, wish)
        return await self._apply(draft, known, target, read, wish)

    def _is_settled(self, looked: Looked, known: _Known, head: str) -> bool:
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

    async def _unchanged(self, draft: Draft, known: _Known, head: str) -> Outcome:
        """The same commit, and the same state of the store."""
        looked = draft.looked
        known.settled = (head, looked.digest, looked.version)
        failure = await self._starting.step(looked.source, draft.findings)
        await self._write(draft, known)
        revision = await self._kept_revision(looked, looked.status.seen_commit)
        known.applied = self._clock.monotonic()
        return self._outcome("unchanged", draft, known, revision, failure)

    async def _apply(self, draft: Draft, known: _Known, target: Target, read: DefinitionsRead, wish: Wish) -> Outcome:
        """Stages, looks whether the commit goes back behind what ran, and stores it all or nothing."""
        looked, is_same = draft.looked, target.sha == draft.looked.status.applied_commit
        if is_same:  # a look that only reads keeps nobody waiting
            staged = await self._store.read(lambda unit: self._stage(unit, looked, read))
            if staged.problems:
                return await self._refuse(draft, known, target, staged.problems, wish)
            if not _writes(staged):
                return await self._in_sync(draft, known, target, staged)
            if looked.source.drift_policy == git_source_pb2.DRIFT_POLICY_REPORT and not wish.applies:
                return await self._report(draft, known, target, staged)
        between = await self._between(looked, target)
        is_rewritten = not is_same and await self._is_rewritten(looked, target)
        try:
            done = await self._store.transact(
                lambda unit: self._stored(unit, looked, target, read, between, wish, is_rewritten=is_rewritten)
            )
        except _Refused as refused:
            return await self._refuse(draft, known, target, refused.staged.problems, wish)
        written, stored, revisions = done
        return await self._told(written, known, target, stored, revisions)

    def _stored(
        self,
        unit: Unit,
        looked: Looked,
        target: Target,
        read: DefinitionsRead,
        between: Sequence[Commit],
        wish: Wish,
        *,
        is_rewritten: bool,
    ) -> tuple[Draft, Applied, list[git_source_pb2.GitRevision]]:
        """The whole of it, within the transaction; it may be done again after a conflict, and so makes its own draft."""
        draft = self._fresh(looked, target, read)
        draft.require_unchanged(unit)
        staged = self._stage(unit, looked, read)
        if staged.problems:
            raise _Refused(staged)
        is_same = target.sha == looked.status.applied_commit
        reversal = None if is_same else self._reversals.look(unit, looked, target.commit, target.tree, between, staged)
        if is_held_back(reversal):
            self._hold_back(draft, unit, target, staged, reversal)
            return draft, staged, draft.write(unit)
        staged.flush(unit)
        state = git_source_pb2.GIT_REVISION_STATE_CORRECTED if is_same else git_source_pb2.GIT_REVISION_STATE_APPLIED
        revision = _revision(state, draft, target, staged, wish.actor)
        if reversal is not None:
            revision.reversal.CopyFrom(reversal)
        if not is_same:
            revision.due_plans.extend(due_plans(looked.source, staged.plans, reversal))
        draft.revisions.append(revision)
        self._settle_applied(draft, target, staged, is_rewritten=is_rewritten)
        draft.status.object_count = len(read.definitions)
        draft.status.objects_digest = objects_digest(unit, looked.source)
        action = "correct" if is_same else "apply"
        draft.audit(self._actor(looked, wish), f"{action} {target.sha}", counted(staged.changes))
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
        status.ClearField("reversal")
        draft.tell_problems([])
        self._tell_kept(draft, staged)

    def _tell_kept(self, draft: Draft, staged: Applied) -> None:
        kept = [each for each in staged.changes if each.action == definition_pb2.CHANGE_ACTION_KEEP]
        draft.tell_drift(kept)
        if kept:
            said = f"{len(kept):,} objects are declared no longer and kept: {kept[0].name}: {kept[0].reason}"
            draft.findings.meet(ConditionType.IN_SYNC, "KEPT", said)
        else:
            draft.findings.meet(ConditionType.IN_SYNC, "IN_SYNC", "nobody else has changed what is declared here")

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
        draft.status.reversal.CopyFrom(reversal)
        draft.tell_problems([])
        said = f"commit {target.sha} waits until {len(reversal.runs):,} runs are undone"
        draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        draft.findings.miss(ConditionType.APPLIED, "HELD_BACK", said)
        word = git_source_pb2.ReversalState.Name(reversal.state).removeprefix("REVERSAL_STATE_")
        draft.findings.miss(ConditionType.REVERSED, word, reversal.message or said)
        newest = unit.git_records.newest_of(draft.looked.source.uid, target.sha)
        kept = git_source_pb2.GitRevision.FromString(newest[1]) if newest else git_source_pb2.GitRevision()
        if kept.state != git_source_pb2.GIT_REVISION_STATE_REVERSING:
            revision = _revision(git_source_pb2.GIT_REVISION_STATE_REVERSING, draft, target, staged, GIT_ACTOR)
            revision.reversal.CopyFrom(reversal)
            draft.revisions.append(revision)

    async def _told(
        self,
        draft: Draft,
        known: _Known,
        target: Target,
        staged: Applied,
        revisions: list[git_source_pb2.GitRevision],
    ) -> Outcome:
        """After it was committed: memory, whoever follows, and the runs that are to be started."""
        source, status = draft.looked.source, draft.status
        revision = revisions[-1] if revisions else await self._kept_revision(draft.looked, target.sha)
        known.status = status
        self._tell(source, revisions)
        if revision.state == git_source_pb2.GIT_REVISION_STATE_REVERSING:
            return self._outcome("held_back", draft, known, revision)
        known.applied = self._clock.monotonic()
        self._note_settled(known, draft.looked, target, staged, status.objects_digest)
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
            await self._write(after, known)
            revision = await self._kept_revision(after.looked, target.sha)
        is_same = revision.state == git_source_pb2.GIT_REVISION_STATE_CORRECTED
        return self._outcome("corrected" if is_same else "applied", after, known, revision, failure)

    async def _in_sync(self, draft: Draft, known: _Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and what is stored is what it says, whatever was written meanwhile."""
        self._meet_applied(draft, target)
        self._tell_kept(draft, staged)
        draft.tell_problems([])
        draft.status.objects_digest = draft.looked.digest
        self._note_settled(known, draft.looked, target, staged, draft.looked.digest)
        known.applied = self._clock.monotonic()
        failure = await self._starting.step(draft.looked.source, draft.findings)
        await self._write(draft, known)
        revision = await self._kept_revision(draft.looked, target.sha)
        return self._outcome("unchanged", draft, known, revision, failure)

    async def _report(self, draft: Draft, known: _Known, target: Target, staged: Applied) -> Outcome:
        """The same commit, and drift that is told and left alone."""
        self._meet_applied(draft, target)
        draft.tell_problems([])
        self._miss_sync(draft, staged)
        self._note_settled(known, draft.looked, target, staged, draft.looked.digest)
        await self._write(draft, known)
        return self._outcome("drifted", draft, known, await self._kept_revision(draft.looked, target.sha))

    def _miss_sync(self, draft: Draft, staged: Applied) -> None:
        draft.tell_drift(staged.changes)
        said = f"{counted(staged.changes)} since commit {draft.looked.status.applied_commit}, first {staged.changes[0].name}"
        draft.findings.miss(ConditionType.IN_SYNC, "DRIFTED", said)

    def _meet_applied(self, draft: Draft, target: Target) -> None:
        draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        if not any(c.type == ConditionType.APPLIED and c.is_met for c in draft.looked.status.conditions):
            draft.findings.meet(ConditionType.APPLIED, "APPLIED", f"commit {target.sha} is applied")

    async def _refuse(
        self,
        draft: Draft,
        known: _Known,
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
        if target.sha == draft.looked.status.applied_commit:
            return await self._fall_back(draft, known, None, "refused")
        kept = await self._kept_revision(draft.looked, target.sha)
        if kept.state != git_source_pb2.GIT_REVISION_STATE_REFUSED:
            revision = _revision(git_source_pb2.GIT_REVISION_STATE_REFUSED, draft, target, None, wish.actor)
            revision.problems.extend(told)
            draft.revisions.append(revision)
            draft.audit(
                self._actor(draft.looked, wish), f"refuse {target.sha}", told_first(problems, self._clean)[:500]
            )
        return await self._fall_back(draft, known, None, "refused")

    async def _look_only(
        self, draft: Draft, known: _Known, target: Target, read: DefinitionsRead, wish: Wish
    ) -> Outcome:
        """A source that is suspended, or only looks: what would change is told, once for each commit."""
        looked = draft.looked
        between = await self._between(looked, target)
        revision, staged = await self._store.read(
            lambda unit: self._staged_check(unit, looked, target, read, between, wish.actor)
        )
        if staged.problems:
            return await self._refuse(draft, known, target, staged.problems, wish)
        draft.tell_problems([])
        draft.findings.meet(ConditionType.VALID, "VALID", f"everything that commit {target.sha} declares is sound")
        self._note_settled(known, looked, target, staged, looked.digest)
        if target.sha == looked.status.applied_commit:
            self._meet_applied(draft, target)
            if _writes(staged):
                self._miss_sync(draft, staged)
            else:
                self._tell_kept(draft, staged)
            await self._write(draft, known)
            kept = await self._kept_revision(looked, target.sha)
            return self._outcome("drifted" if _writes(staged) else "unchanged", draft, known, kept)
        reason = "SUSPENDED" if looked.status.is_suspended else "DRY_RUN"
        how = "resume it" if looked.status.is_suspended else "call SyncGitSource"
        said = f"commit {target.sha} is not applied ({counted(staged.changes)}): {how} to apply it"
        draft.findings.miss(ConditionType.APPLIED, reason, said)
        kept = await self._kept_revision(looked, target.sha)
        if kept.state != git_source_pb2.GIT_REVISION_STATE_CHECKED:
            draft.revisions.append(revision)
        return await self._fall_back(draft, known, None, "checked", is_well=True)

    async def _fall_back(
        self,
        draft: Draft,
        known: _Known,
        error: PyMigrateError | None,
        result: str = "failed",
        *,
        is_well: bool = False,
    ) -> Outcome:
        """What is applied goes on serving, and is kept as it is: drift is corrected or told by the commit before."""
        looked, status = draft.looked, draft.looked.status
        if not is_well and draft.status.seen_commit != status.applied_commit:
            kept = (
                f"commit {status.applied_commit} goes on serving" if status.applied_commit else "nothing is applied yet"
            )
            draft.findings.miss(
                ConditionType.APPLIED, "HELD_BACK", f"commit {draft.status.seen_commit} is not applied: {kept}"
            )
        corrected = await self._keep_applied(draft, known)
        if corrected is None:
            revisions = await self._write(draft, known)
            revision = revisions[-1] if revisions else await self._kept_revision(looked, draft.status.seen_commit)
        else:
            revision = await self._kept_revision(looked, draft.status.seen_commit)
        return self._outcome(result, draft, known, revision, error, is_well=is_well)

    async def _keep_applied(self, draft: Draft, known: _Known) -> bool | None:
        """Looks for drift from the commit that is applied, where another one can't be. None: nothing was written."""
        looked, sha = draft.looked, draft.looked.status.applied_commit
        place = (sha, looked.digest, looked.version)
        if not sha or looked.digest == looked.status.objects_digest or known.settled == place:
            return None
        if not await self._reading.repository(looked.source).has(sha):
            return None
        try:
            _, read = await self._reading.read(looked.source, sha, Findings())
        except Stopped:
            return None
        staged = await self._store.read(lambda unit: self._stage(unit, looked, read))
        known.settled = place
        if staged.problems:
            return None
        if not _writes(staged):
            self._tell_kept(draft, staged)
            return None
        if looked.must_only_look or looked.source.drift_policy == git_source_pb2.DRIFT_POLICY_REPORT:
            self._miss_sync(draft, staged)
            return None
        commit = await self._reading.repository(looked.source).commit(sha)
        target = Target(sha, commit)

        def correct(unit: Unit) -> list[git_source_pb2.GitRevision]:
            again = self._stage(unit, looked, read)
            if again.problems or not _writes(again):
                raise StaleWrite(f"{looked.source.name} was changed while its pass went on: it begins again")
            draft.require_unchanged(unit)
            again.flush(unit)
            draft.revisions.append(
                _revision(git_source_pb2.GIT_REVISION_STATE_CORRECTED, draft, target, again, GIT_ACTOR)
            )
            draft.audit(owner_of(looked.source.name), f"correct {sha}", counted(again.changes))
            self._tell_kept(draft, again)
            draft.status.objects_digest = objects_digest(unit, looked.source)
            return draft.write(unit)

        revisions, audits = list(draft.revisions), list(draft.audits)

        def anew(unit: Unit) -> list[git_source_pb2.GitRevision]:
            draft.revisions[:], draft.audits[:] = revisions, audits
            return correct(unit)

        written = await self._store.transact(anew)
        known.settled, known.status = (sha, draft.status.objects_digest, looked.version), draft.status
        self._tell(looked.source, written)
        return True

    async def _write(self, draft: Draft, known: _Known) -> list[git_source_pb2.GitRevision]:
        """Writes what a pass found, where it is anything new."""
        written: list[git_source_pb2.GitRevision] = []
        if draft.is_needed:
            written = await self._store.transact(draft.write)
            self._tell(draft.looked.source, written)
        known.status = draft.finish()
        return written

    def _outcome(
        self,
        result: str,
        draft: Draft,
        known: _Known,
        revision: git_source_pb2.GitRevision,
        error: PyMigrateError | None = None,
        *,
        is_well: bool | None = None,
    ) -> Outcome:
        if known.fetched:
            age = self._clock.monotonic() - known.fetched
            known.status.fetch_time.FromMicroseconds(int((self._clock.now().timestamp() - age) * 1e6))
        well = result not in ("failed", "refused") and error is None if is_well is None else is_well
        return Outcome(result, well, revision, error, draft.looked.source, known.status)

    def _note_settled(self, known: _Known, looked: Looked, target: Target, staged: Applied, digest: str) -> None:
        known.settled = (target.head, digest, looked.version)
        has_kept = any(each.action == definition_pb2.CHANGE_ACTION_KEEP for each in staged.changes)
        known.kept_since = self._clock.monotonic() if has_kept else 0.0

    def _tell(self, source: git_source_pb2.GitSource, revisions: Sequence[git_source_pb2.GitRevision]) -> None:
        for revision in revisions:
            for observer in self._observers:
                try:
                    observer(source, revision)
                except Exception as error:  # what others are told of stops no pass
                    log.exception("git_source.observer_failed", source=source.name, error=type(error).__name__)

    def _fresh(self, looked: Looked, target: Target, read: DefinitionsRead) -> Draft:
        draft = Draft(looked, self._clock.now())
        draft.findings.meet(ConditionType.AVAILABLE, "FETCHED", "the repository answers, and what it says is here")
        if looked.source.HasField("signatures"):
            said = f"commit {target.sha} is signed by {target.signer}"
            draft.findings.meet(ConditionType.VERIFIED, "SIGNED", said)
        else:
            draft.findings.meet(ConditionType.VERIFIED, "NOT_DEMANDED", "no signatures are demanded")
        draft.see(target.sha)
        draft.status.skipped_count = read.skipped_count
        return draft

    def _stage(self, unit: Unit, looked: Looked, read: DefinitionsRead) -> Applied:
        source, owner = looked.source, owner_of(looked.source.name)
        scope = Scope(owner, source.environment, source.prune_policy, frozenset(source.taken_over_sides))
        return self._applying.stage(unit, read, Caller(owner, owner), scope)

    def _staged_check(
        self,
        unit: Unit,
        looked: Looked,
        target: Target,
        read: DefinitionsRead,
        between: Sequence[Commit],
        actor: str,
    ) -> tuple[git_source_pb2.GitRevision, Applied]:
        staged = self._stage(unit, looked, read)
        draft = Draft(looked, self._clock.now())
        revision = _revision(git_source_pb2.GIT_REVISION_STATE_CHECKED, draft, target, staged, actor)
        if not staged.problems and target.sha != looked.status.applied_commit:
            reversal = self._reversals.look(unit, looked, target.commit, target.tree, between, staged)
            if reversal is not None:
                revision.reversal.CopyFrom(reversal)
        return revision, staged

    def _checked(
        self,
        unit: Unit,
        looked: Looked,
        target: Target,
        read: DefinitionsRead,
        between: Sequence[Commit],
        actor: str,
    ) -> git_source_pb2.GitRevision:
        if not read.problems:
            revision, staged = self._staged_check(unit, looked, target, read, between, actor)
            revision.problems.extend(staged.problems[:PROBLEMS_MAX])
        else:
            draft = Draft(looked, self._clock.now())
            revision = _revision(git_source_pb2.GIT_REVISION_STATE_CHECKED, draft, target, None, actor)
            revision.problems.extend(read.problems[:PROBLEMS_MAX])
        return revision

    async def _between(self, looked: Looked, target: Target) -> Sequence[Commit]:
        """The commits that lead to this one and not to the one that is applied."""
        applied, repository = looked.status.applied_commit, self._reading.repository(looked.source)
        if not applied or applied == target.sha:
            return ()
        return await repository.between(applied, target.sha, COMMITS_BETWEEN_MAX)

    async def _is_rewritten(self, looked: Looked, target: Target) -> bool:
        """Whether a branch leads to a commit that does not come after the one that is applied, without the source having been changed."""
        applied, source = looked.status.applied_commit, looked.source
        if not applied or source.WhichOneof("reference") in ("tag", "commit") or source.promotion.pin_file:
            return False
        if source.update_time.ToMicroseconds() > looked.status.applied_time.ToMicroseconds():
            return False
        return not await self._reading.repository(source).is_ancestor(applied, target.sha)

    async def _kept_revision(self, looked: Looked, sha: str) -> git_source_pb2.GitRevision:
        """The newest revision of a commit; empty where none is kept."""
        kept = await self._store.read(lambda unit: unit.git_records.newest_of(looked.source.uid, sha) if sha else None)
        return git_source_pb2.GitRevision.FromString(kept[1]) if kept else git_source_pb2.GitRevision()

    @staticmethod
    def _actor(looked: Looked, wish: Wish) -> str:
        return owner_of(looked.source.name) if wish.actor == GIT_ACTOR else wish.actor


def _writes(staged: Applied) -> bool:
    """Whether anything would be written."""
    return not staged.is_empty


def _revision(
    state: "git_source_pb2.GitRevisionState.ValueType",
    draft: Draft,
    target: Target,
    staged: Applied | None,
    actor: str,
) -> git_source_pb2.GitRevision:
    """What came of a commit."""
    revision = revision_of(state, draft.now, actor)
    revision.commit, revision.tree, revision.signer = target.sha, target.tree, target.signer
    revision.author, revision.subject = target.commit.author, target.commit.subject
    revision.commit_time.FromDatetime(target.commit.time)
    if staged is not None:
        revision.changes.extend(staged.changes[:CHANGES_MAX])
        revision.change_count = len(staged.changes)
        revision.plans.extend(staged.plans)
    return revision


def refuse_suspended(status: git_source_pb2.GitSourceStatus, name: str) -> None:
    """Raises FailedPrecondition where a source is suspended."""
    if status.is_suspended:
        why = f" ({status.suspend_reason})" if status.suspend_reason else ""
        raise FailedPrecondition(f"{name} is suspended by {status.suspended_by}{why}: resume it first, or only check")
