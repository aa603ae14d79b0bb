"""Takes back what ran, for commits that go back behind it, so that data and definitions agree with the commit again.

A pass asks what is to be undone before it applies a commit, and holds the commit back. What is undone follows from what the store holds
alone, so that any engine goes on with it; when all of it is, the next pass applies the commit, in one transaction with the record of it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.gitops.git_source_kinds import owner_of, sources_in
from pymigrate.engine.application.gitops.reversal_approving import approve_reversal
from pymigrate.engine.application.gitops.reversal_drafts import ReversalDrafts
from pymigrate.engine.application.gitops.reversal_looking import dependencies_in, given_up, held_runs
from pymigrate.engine.application.gitops.reversal_messages import (
    AWAITING_APPROVAL,
    BLOCKED,
    DONE,
    ROLLING_BACK,
    asked_of,
    has_begun,
    how_it_stands,
    is_open,
    settle,
)
from pymigrate.engine.application.gitops.reversal_records import ReversalRecord, Told, record_of
from pymigrate.engine.application.gitops.suspension import status_of
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError, StaleWrite
from pymigrate.engine.domain.happenings import GivenUp
from pymigrate.engine.domain.held_data import HeldRun
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.reversals import NextStep, Progress, Step
from pymigrate.engine.domain.run import Run
from pymigrate.engine.domain.run_states import DesiredState
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import git_source_pb2

log = structlog.get_logger(__name__)
STEPS_MAX = 10_000
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """A source with a reversal, the runs that are undone for it, and what is to be done next."""

    record: ReversalRecord
    runs: Sequence[HeldRun]
    step: NextStep

    @property
    def name(self) -> str:
        """The source's."""
        return self.record.source.name

    @property
    def reversal(self) -> git_source_pb2.Reversal:
        """What is undone."""
        return self.record.reversal


class Reversing:
    """Reversals of all sources. `ring` asks for a pass of a source."""

    def __init__(self, store: Store, board: Board, runs: Runs, clock: Clock, ring: Callable[[str], None]) -> None:
        self._store = store
        self._board = board
        self._runs = runs
        self._clock = clock
        self._ring = ring
        self.drafts = ReversalDrafts(store, clock, self.note)
        self._open: set[str] = set()
        self._concerned: dict[str, str] = {}
        self._wake = asyncio.Event()
        board.changes.follow(self._follow)

    def note(self, name: str) -> None:
        """A source has a reversal that is to be gone on with."""
        self._open.add(name)
        self._wake.set()

    async def approve(self, request: git_source_pb2.ApproveReversalRequest, caller: Caller) -> git_source_pb2.GitSource:
        """As `approve_reversal`, in a transaction of its own; what has all its approvals is gone on with."""
        source = await self._store.transact(lambda unit: approve_reversal(unit, request, caller, self._clock.now()))
        self.note(source.name)
        return source

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
        record = record_of(unit, name)
        if record is None or record.status.is_suspended or not is_open(record.reversal):
            return None
        runs = held_runs(unit, [each.run for each in record.reversal.runs])
        needs = dependencies_in(unit, {environment_of(run.plan) for run in runs})
        return _Standing(record, runs, Progress(runs, asked_of(record.reversal), needs).next_step())

    async def _do(self, standing: _Standing) -> bool:
        """Does the next step. False: something else must happen before the one after it."""
        before = git_source_pb2.Reversal()
        before.CopyFrom(standing.reversal)
        told = self._take_states(standing)
        owner = owner_of(standing.name)
        caller = Caller(owner, owner)
        if standing.reversal.state == BLOCKED and standing.step.step is not Step.BLOCKED:
            settle(standing.reversal, standing.step, is_begun=has_begun(standing.reversal))
            if standing.reversal.state == AWAITING_APPROVAL:
                await self._write(standing, before, told)
                return False
        match standing.step.step:
            case Step.WAIT:
                await self._write(standing, before, told)
                return False
            case Step.BLOCKED:
                settle(standing.reversal, standing.step, is_begun=True)
                if standing.reversal.message != before.message:
                    told.append(Told(owner, f"block reversal {before.commit}", standing.reversal.message))
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
                told.append(Told(owner, f"reverse {before.commit}", standing.reversal.message))
                await self._write(standing, before, told)
                self._open.discard(standing.name)
                self._ring(standing.name)
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
                log.info("reversal.again", source=standing.name, error=error.message)
                return False
        for name in names:
            self._concerned.pop(name, None)
        return True

    async def _roll_back(
        self, standing: _Standing, before: git_source_pb2.Reversal, told: list[Told], caller: Caller
    ) -> bool:
        """Asks for one run to be rolled back, as RollbackRun does. Asking again changes nothing, so that it may be
        asked before it is kept."""
        (name,) = standing.step.runs
        try:
            await self._runs.roll_back(name, "", caller)
        except FailedPrecondition as error:  # it was sealed in between
            blocked = NextStep(Step.BLOCKED, (name,), error.message)
            settle(standing.reversal, blocked, is_begun=True)
            told.append(Told(caller.principal, f"block reversal {before.commit}", standing.reversal.message))
            await self._write(standing, before, told)
            return False
        for each in standing.reversal.runs:
            if each.run == name:
                each.is_asked = True
        told.append(Told(caller.principal, f"undo {before.commit}", name))
        log.info("reversal.undoing", source=standing.name, commit=before.commit, run=name)
        await self._write(standing, before, told)
        return True

    def _take_states(self, standing: _Standing) -> list[Told]:
        """Takes in how the runs stand now; what of it is for the audit trail."""
        told, held = [], {run.name: run for run in standing.runs}
        for each in standing.reversal.runs:
            run = held.get(each.run)
            if run is None or each.state == str(run.state):
                continue
            each.state = str(run.state)
            each.is_undone = not run.holds
            if each.is_undone:
                told.append(Told(owner_of(standing.name), f"undone {standing.reversal.commit}", each.run))
        if standing.reversal.state == ROLLING_BACK:
            standing.reversal.message = how_it_stands(standing.reversal)
        return told

    async def _write(self, standing: _Standing, before: git_source_pb2.Reversal, told: Sequence[Told]) -> None:
        if standing.reversal == before and not told:
            return
        await self._store.transact(lambda unit: standing.record.keep(unit, told, self._clock.now()))

    def _follow(self, change: Change) -> None:
        if any(isinstance(entity, Run) for entity in change.entities) and change.run in self._concerned:
            self.note(self._concerned[change.run])
