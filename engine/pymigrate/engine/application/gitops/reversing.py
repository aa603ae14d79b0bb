"""Takes back what ran, for commits that go back behind it, so that data and definitions agree with the commit again.
A pass asks what is to be
undone before it applies a commit, and holds the commit back. What is undone follows from what the store holds alone,
so that any engine goes on with it; when all of it is, the next pass applies the commit, in one transaction with the record of it."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.conditions import Findings
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES, owner_of, sources_in
from pymigrate.engine.application.gitops.pass_drafts import Looked
from pymigrate.engine.application.gitops.reversal_looking import (
    bringing,
    dependencies_in,
    given_up,
    held_runs,
    rewind_for,
)
from pymigrate.engine.application.gitops.reversal_messages import (
    AWAITING_APPROVAL,
    BLOCKED,
    DONE,
    REPORTED,
    ROLLING_BACK,
    asked_of,
    has_begun,
    how_it_stands,
    is_open,
    run_messages,
    tell_reversal,
    told_followers,
    told_left_alone,
    when_blocked,
)
from pymigrate.engine.application.gitops.revision_history import KnownHashes
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.application.policies import policy_of, require_approver
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.domain.errors import FailedPrecondition, NotFound, PyMigrateError, StaleWrite
from pymigrate.engine.domain.happenings import GivenUp
from pymigrate.engine.domain.held_data import HeldRun
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.reversals import NextStep, Progress, Step, reverted_commits
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Commit, Repository
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import environment_pb2, git_source_pb2

log = structlog.get_logger(__name__)
COMMITS_MAX = 1_000
STEPS_MAX = 10_000
RETRY_SECONDS = 1.0
_LEFT_ALONE = (environment_pb2.REVERT_POLICY_UNSPECIFIED, environment_pb2.REVERT_POLICY_REPORT)


@dataclass(frozen=True, slots=True)
class _Standing:
    """A source with a reversal, as the store holds it."""

    source: git_source_pb2.GitSource
    version: int
    status: git_source_pb2.GitSourceStatus
    runs: Sequence[HeldRun]
    step: NextStep

    @property
    def reversal(self) -> git_source_pb2.Reversal:
        """What is undone."""
        return self.status.reversal


class Reversing:
    """Reversals of all sources. `ring` asks for a pass of a source."""

    def __init__(self, store: Store, board: Board, runs: Runs, clock: Clock, ring: Callable[[str], None]) -> None:
        self._store = store
        self._board = board
        self._runs = runs
        self._clock = clock
        self._ring = ring
        self._hashes = KnownHashes()
        self._open: set[str] = set()
        self._concerned: dict[str, str] = {}
        self._wake = asyncio.Event()
        board.changes.follow(self._follow)

    # What a pass asks ----------------------------------------------------------------------------------------------------------------

    async def reverted(
        self, source: git_source_pb2.GitSource, declared: Collection[str], between: Sequence[Commit], copy: Repository
    ) -> frozenset[int]:
        """The numbers of the revisions that brought plans which are declared no longer, by a commit which one of these says it reverts."""
        # Read here, where nobody waits for it, so that nothing of it is left for the transaction that applies the commit.
        await self._store.read(lambda unit: self._hashes.of(unit, source.uid))
        said = tuple({sha for commit in between for sha in reverted_commits(commit.message)})
        if not said:
            return frozenset()
        found = set()
        for before, revision in await self._store.read(lambda unit: bringing(unit, source.uid, declared)):
            if not await copy.has(revision.commit) or (before and not await copy.has(before)):
                continue  # it was pushed away since: nobody can revert what is not there
            commits = await copy.between(before, revision.commit, COMMITS_MAX)
            if any(commit.sha.startswith(said) for commit in commits):
                found.add(revision.number)
        return frozenset(found)

    def look(
        self, unit: Unit, looked: Looked, commit: Commit, tree: str, reverted: Collection[int], staged: Applied
    ) -> git_source_pb2.Reversal | None:
        """What is undone for a commit, or would be; None: nothing. It writes nothing."""
        known = looked.status.reversal
        if known.state == ROLLING_BACK and known.commit != commit.sha:
            return known  # it comes to its end first
        same = known if known.commit == commit.sha else git_source_pb2.Reversal()
        plans = {each.plan: each.plan_hash for each in staged.plans if each.plan_hash}
        found = rewind_for(unit, looked.source.uid, commit.sha, tree, plans, reverted, self._hashes)
        if found is None:
            return _without_any(same)
        fresh = git_source_pb2.Reversal(commit=commit.sha, reverted_commits=found.rewind.commits)
        if same.HasField("create_time"):
            fresh.create_time.CopyFrom(same.create_time)
        else:
            fresh.create_time.FromDatetime(self._clock.now())
        policies = {
            environment: policy_of(unit, environment)
            for environment in {environment_of(run.plan) for run in found.rewind.runs}
        }
        undone = [
            run for run in found.rewind.runs if policies[environment_of(run.plan)].revert_policy not in _LEFT_ALONE
        ]
        if not undone:
            fresh.state = REPORTED
            fresh.runs.extend(run_messages(found.rewind.runs))
            fresh.message = how_it_stands(fresh) + told_followers(found.rewind)
            return fresh
        asked = asked_of(same)
        fresh.runs.extend(_with_known(same.runs, run_messages(undone, asked)))
        asking = [each for each in policies.values() if each.revert_policy == environment_pb2.REVERT_POLICY_APPROVE]
        fresh.approvals_min = max((max(each.approvals_min, 1) for each in asking), default=0)
        fresh.approved_by.extend(same.approved_by)
        step = Progress(undone, asked, found.dependencies).next_step()
        _settle(fresh, step, is_begun=has_begun(same))
        fresh.message += told_left_alone(len(found.rewind.runs) - len(undone)) + told_followers(found.rewind)
        return fresh

    def note(self, name: str) -> None:
        """A source has a reversal that is to be gone on with."""
        self._open.add(name)
        self._wake.set()

    # What is asked -------------------------------------------------------------------------------------------------------------------

    async def approve(self, request: git_source_pb2.ApproveReversalRequest, caller: Caller) -> git_source_pb2.GitSource:
        """Approves what a commit asks for. Approving twice changes nothing. Raises NotFound, NotPermitted to who is no approver in every
        environment that it concerns, and FailedPrecondition where that commit waits for no approval."""

        def work(unit: Unit) -> git_source_pb2.GitSource:
            resource = unit.resources.get(request.name)
            if resource is None or resource.kind != GIT_SOURCES.collection:
                raise NotFound(f"there is no {request.name}", field="name")
            source = GIT_SOURCES.read(resource)
            version, status = status_of(unit, source.uid)
            reversal = status.reversal
            if not reversal.commit or reversal.commit != request.commit:
                what = f"commit {reversal.commit}" if is_open(reversal) else "no commit"
                raise FailedPrecondition(
                    f"{what} of {request.name} waits for approval, and not {request.commit or 'none'}"
                )
            for environment in sorted({environment_of(each.run) for each in reversal.runs}):
                require_approver(policy_of(unit, environment), environment, caller)
            source.status.CopyFrom(status)
            if caller.principal in reversal.approved_by:
                return source
            if reversal.state not in (AWAITING_APPROVAL, BLOCKED) or not reversal.approvals_min:
                raise FailedPrecondition(f"commit {reversal.commit} of {request.name} needs no approval any more")
            reversal.approved_by.append(caller.principal)
            if len(reversal.approved_by) >= reversal.approvals_min and reversal.state == AWAITING_APPROVAL:
                reversal.state = ROLLING_BACK
            if reversal.state != BLOCKED:
                reversal.message = how_it_stands(reversal)
            self._keep(unit, source, version, status, [(caller.principal, f"approve reversal {reversal.commit}", "")])
            source.status.CopyFrom(status)
            return source

        source = await self._store.transact(work)
        self.note(source.name)
        return source

    # What is undone ------------------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Finds what an engine left unfinished."""

        def look(unit: Unit) -> list[str]:
            return [each.name for each in sources_in(unit) if is_open(status_of(unit, each.uid)[1].reversal)]

        for name in await self._store.read(look):
            self.note(name)

    async def run_loop(self) -> None:
        """Goes on with whatever can go on, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.step()
            except PyMigrateError as error:
                log.warning("reversals.behind", reason=error.reason, error=error.message)
                await self._clock.sleep(RETRY_SECONDS)
                self._wake.set()

    async def step(self) -> None:
        """One look at every reversal."""
        for name in sorted(self._open):
            await self.advance(name)

    async def advance(self, name: str) -> None:
        """Does what can be done now for a source."""
        for _ in range(STEPS_MAX):
            standing = await self._store.read(partial(self._look_at, name=name))
            if standing is None or standing.reversal.state == AWAITING_APPROVAL:
                self._open.discard(name)
                return
            for run in standing.reversal.runs:
                self._concerned[run.run] = name
            try:
                if not await self._do(standing):
                    return
            except StaleWrite as error:  # a pass, or somebody who approves, wrote in between
                log.info("reversal.again", source=name, error=error.message)

    def _look_at(self, unit: Unit, name: str) -> _Standing | None:
        resource = unit.resources.get(name)
        if resource is None or resource.kind != GIT_SOURCES.collection:
            return None
        source = GIT_SOURCES.read(resource)
        version, status = status_of(unit, source.uid)
        if status.is_suspended or not is_open(status.reversal):
            return None
        runs = held_runs(unit, [each.run for each in status.reversal.runs])
        needs = dependencies_in(unit, {environment_of(run.plan) for run in runs})
        step = Progress(runs, asked_of(status.reversal), needs).next_step()
        return _Standing(source, version, status, runs, step)

    async def _do(self, standing: _Standing) -> bool:
        """Does the next step. False: something else must happen before the one after it."""
        before = git_source_pb2.Reversal()
        before.CopyFrom(standing.reversal)
        told = self._take_states(standing)
        owner, caller = (
            owner_of(standing.source.name),
            Caller(owner_of(standing.source.name), owner_of(standing.source.name)),
        )
        if standing.reversal.state == BLOCKED and standing.step.step is not Step.BLOCKED:
            _settle(standing.reversal, standing.step, is_begun=has_begun(standing.reversal))
            if standing.reversal.state == AWAITING_APPROVAL:
                await self._write(standing, before, told)
                return False
        match standing.step.step:
            case Step.WAIT:
                await self._write(standing, before, told)
                return False
            case Step.BLOCKED:
                _settle(standing.reversal, standing.step, is_begun=True)
                if standing.reversal.message != before.message:
                    told.append((owner, f"block reversal {before.commit}", standing.reversal.message))
                await self._write(standing, before, told)
                return False
            case Step.CANCEL:
                await self._write(standing, before, told)
                for name in standing.step.runs:
                    with contextlib.suppress(FailedPrecondition):  # it has ended in between, as the next look tells
                        await self._runs.steer(name, DesiredState.CANCELLED, caller)
                return True
            case Step.ROLL_BACK:
                return await self._roll_back(standing, before, told, caller)
            case Step.DONE:
                if not await self._give_up(standing, owner):
                    return True
                standing.reversal.state = DONE
                standing.reversal.message = how_it_stands(standing.reversal)
                told.append((owner, f"reverse {before.commit}", standing.reversal.message))
                await self._write(standing, before, told)
                self._open.discard(standing.source.name)
                self._ring(standing.source.name)
                return False

    async def _give_up(self, standing: _Standing, owner: str) -> bool:
        """Lets the runs that are undone count no more. False: one of them holds data again."""
        names = [run.name for run in standing.runs]
        done = await self._store.read(lambda unit: given_up(unit, names))
        for run in standing.runs:
            if run.name in done:
                continue
            audit = AuditEntry(self._clock.now(), owner, f"give up {standing.reversal.commit}", run.name, 0)
            try:
                await self._board.apply(run.name, GivenUp(owner), audit)
            except FailedPrecondition as error:
                log.info("reversal.again", source=standing.source.name, error=error.message)
                return False
        for name in names:
            self._concerned.pop(name, None)
        return True

    async def _roll_back(
        self, standing: _Standing, before: git_source_pb2.Reversal, told: list[tuple[str, str, str]], caller: Caller
    ) -> bool:
        """Asks for one run to be rolled back, as RollbackRun does. Asking again changes nothing, so that it may be
        asked before it is kept."""
        (name,) = standing.step.runs
        try:
            await self._runs.roll_back(name, "", caller)
        except FailedPrecondition as error:  # it was sealed in between
            blocked = NextStep(Step.BLOCKED, (name,), error.message)
            _settle(standing.reversal, blocked, is_begun=True)
            told.append((caller.principal, f"block reversal {before.commit}", standing.reversal.message))
            await self._write(standing, before, told)
            return False
        for each in standing.reversal.runs:
            if each.run == name:
                each.is_asked = True
        told.append((caller.principal, f"undo {before.commit}", name))
        log.info("reversal.undoing", source=standing.source.name, commit=before.commit, run=name)
        await self._write(standing, before, told)
        return True

    def _take_states(self, standing: _Standing) -> list[tuple[str, str, str]]:
        """Takes in how the runs stand now; what of it is for the audit trail."""
        told, held = [], {run.name: run for run in standing.runs}
        for each in standing.reversal.runs:
            run = held.get(each.run)
            if run is None or each.state == str(run.state):
                continue
            each.state = str(run.state)
            each.is_undone = not run.holds
            if each.is_undone:
                told.append((owner_of(standing.source.name), f"undone {standing.reversal.commit}", each.run))
        if standing.reversal.state == ROLLING_BACK:
            standing.reversal.message = how_it_stands(standing.reversal)
        return told

    async def _write(
        self, standing: _Standing, before: git_source_pb2.Reversal, told: Sequence[tuple[str, str, str]]
    ) -> None:
        if standing.reversal == before and not told:
            return
        await self._store.transact(
            lambda unit: self._keep(unit, standing.source, standing.version, standing.status, told)
        )

    def _keep(
        self,
        unit: Unit,
        source: git_source_pb2.GitSource,
        version: int,
        status: git_source_pb2.GitSourceStatus,
        told: Sequence[tuple[str, str, str]],
    ) -> None:
        """Keeps where a reversal stands, with the condition that tells it and the entries of the audit trail. Raises StaleWrite."""
        now, findings, reversal = self._clock.now(), Findings(), status.reversal
        tell_reversal(findings, reversal)
        conditions = findings.conditions(status.conditions, now)
        del status.conditions[:]
        status.conditions.extend(conditions)
        unit.git_records.set_status(source.uid, status.SerializeToString(deterministic=True), version)
        kept = unit.git_records.newest_of(source.uid, reversal.commit)
        if kept is not None:
            revision = git_source_pb2.GitRevision.FromString(kept[1])
            if revision.state == git_source_pb2.GIT_REVISION_STATE_REVERSING:
                revision.reversal.CopyFrom(reversal)
                unit.git_records.set_revision(source.uid, kept[0], revision.SerializeToString(deterministic=True))
        for actor, action, detail in told:
            unit.audit.append(AuditEntry(now, actor, action, source.name, 0, detail))

    def _follow(self, change: Change) -> None:
        if any(isinstance(entity, Run) for entity in change.entities) and change.run in self._concerned:
            self.note(self._concerned[change.run])


def _with_known(
    known: Sequence[git_source_pb2.ReversedRun], fresh: Sequence[git_source_pb2.ReversedRun]
) -> list[git_source_pb2.ReversedRun]:
    """Runs that have come since first, then those that were known, with the phases and rows that they had then."""
    now = {each.run: each for each in fresh}
    kept = []
    for each in known:
        run = git_source_pb2.ReversedRun()
        run.CopyFrom(each)
        if each.run in now:
            run.state, run.is_undone = now[each.run].state, now[each.run].is_undone
            del run.sealed_phases[:]
            run.sealed_phases.extend(now[each.run].sealed_phases)
        kept.append(run)
    before = {each.run for each in known}
    return [*(each for each in fresh if each.run not in before), *kept]


def _without_any(same: git_source_pb2.Reversal) -> git_source_pb2.Reversal | None:
    """What becomes of a reversal where nothing holds data any more: what was undone by hand is settled like the rest."""
    if same.state == DONE:
        return same
    if not is_open(same):
        return None
    found = git_source_pb2.Reversal()
    found.CopyFrom(same)
    found.state = ROLLING_BACK
    found.message = how_it_stands(found)
    return found


def _settle(reversal: git_source_pb2.Reversal, step: NextStep, *, is_begun: bool) -> None:
    """Where a reversal stands, given what is to be done next."""
    if step.step is Step.BLOCKED:
        undone = [each.run for each in reversal.runs if each.is_undone]
        reversal.state = BLOCKED
        reversal.message = when_blocked(reversal.commit, step.message, undone)
        return
    is_approved = is_begun or len(reversal.approved_by) >= reversal.approvals_min
    reversal.state = ROLLING_BACK if is_approved else AWAITING_APPROVAL
    reversal.message = how_it_stands(reversal)
