"""Worlds in which one part is wrong. The simulation is worth its time only as long as it notices every one of them.

Each mutant takes one guard away. Where that guard is doubled by another one, which is what makes the whole safe, the mutant that would
go unnoticed is not here: what a lease protects on the host's side, for one, the fence protects in the target once more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from pymigrate.engine.application.board import ActiveRun, Board
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.domain.errors import FailedPrecondition, StaleWrite, StoreUnavailable, TemporaryError
from pymigrate.engine.domain.happenings import CoreEvent
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Entity, Failure, PhaseRun, RunEvent, Task
from pymigrate.engine.domain.run_states import Point, TaskKind
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.entrypoints.loops.supervisor import Supervisor
from pymigrate.engine.entrypoints.worker.task_work import TaskWork
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.capture import Changed
from pymigrate.engine.ports.feed import Claim
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import DeclaredSecrets, RotatingSecrets
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.memory import MemoryLane
from pymigrate.engine.testing.simulated_capture import SimulatedCapture
from pymigrate.engine.testing.simulated_systems import SimulatedSource, SimulatedTarget
from pymigrate.engine.testing.weather import Spell, Trouble
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome, LaneJob
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import run_pb2, worker_pb2
from tests.simulation.parts import REAL, Parts, VirtualLease
from tests.simulation.scenarios import (
    CHANGES_AMID_CRASHES,
    CHANGING_SOURCES,
    LATE_BEGINNINGS,
    LATE_COMMITS,
    LOCKED_TARGETS,
    LOST_COMMITS,
)

ALL = tuple(Trouble)
LONG_TRANSACTION_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A world with one part wrong, the trouble that shows it soonest, and the seed that did so when this was written: others do too,
    and looking begins there to save time. `online_share` is how likely one of its phases is online: what is wrong with captures is seen in
    such phases alone, and what is wrong elsewhere is looked for in worlds that do not change with them. `scenario` is trouble that is
    arranged, where what is drawn shows it too seldom."""

    parts: Parts
    kinds: Sequence[Trouble] = ALL
    seen_at: int = 0
    online_share: float = 0.0
    scenario: Sequence[Spell] = ()


# The decision core -----------------------------------------------------------------------------------------------------------------


class CoreOfOneFence(RunCore):
    """A lane that is handed out again has the fence that it had."""

    def _lease(self, task: Task, host: str, until: datetime) -> bool:
        lane = self.aggregate.lanes.get(task.lane)
        if lane is not None and lane.fence:
            lane.fence -= 1
        return super()._lease(task, host, until)


class CoreWithoutDependencies(RunCore):
    """A phase starts whenever it may."""

    def _may_start(self, phase: PhaseRun) -> bool:
        return self._is_approved(phase, Point.BEFORE_START)


class CoreWithoutGates(RunCore):
    """Nobody is asked."""

    def _is_approved(self, phase: PhaseRun, point: Point) -> bool:
        del phase, point
        return True


class CoreWithoutVerification(RunCore):
    """What is copied is good enough."""

    def _are_done(self, phase: PhaseRun, kind: TaskKind) -> bool:
        return kind is TaskKind.VERIFY or super()._are_done(phase, kind)


class CoreWithoutRetries(RunCore):
    """Whatever fails has failed for good."""

    def _fail(self, task: Task, failure: Failure) -> None:
        self._give_up(task, failure)


class CoreThatTriesForEver(RunCore):
    """Nothing fails for good."""

    def _is_hopeless(self, task: Task, failure: Failure, *, is_wait: bool) -> bool:
        del task, failure, is_wait
        return False

    def _fail(self, task: Task, failure: Failure) -> None:
        self._try_again(task, failure, 1.0)


class CoreWithoutDrain(RunCore):
    """A run that is held goes on with what it has begun."""

    def to_drain(self) -> list[str]:
        return []


class CoreWithoutCleaning(RunCore):
    """What failed leaves its staging behind."""

    def _clean_up(self, phase: PhaseRun) -> None:
        if phase.state == "rolling_back":
            super()._clean_up(phase)


class CoreThatUndoesNoData(RunCore):
    """A rollback of the words alone."""

    def _undo_data(self, phase: PhaseRun) -> bool:
        del phase
        return True


class CoreThatUndoesNoSteps(RunCore):
    """What was done outside databases stays done."""

    def _undo_steps(self, phase: PhaseRun, point: Point) -> bool:
        del phase, point
        return True


class CoreThatUndoesInAnyOrder(RunCore):
    """A phase is undone while others still need it."""

    def _is_clear(self, phase: PhaseRun) -> bool:
        del phase
        return True


class CoreThatLosesTasks(RunCore):
    """What a lost host had is nobody's."""

    def _lose(self, task: Task) -> bool:
        del task
        return True


# The engine ------------------------------------------------------------------------------------------------------------------------


class BoardThatTrustsItsMemory(Board):
    """A change that was not stored is kept."""

    async def _reload(self, name: str, active: ActiveRun) -> None:
        del name
        active.is_doubtful = False


class BoardThatTellsFirst(Board):
    """What is told does not wait until it is stored."""

    async def apply(
        self, name: str, event: CoreEvent, audit: AuditEntry | None = None, revision: bytes | None = None
    ) -> bool:
        try:
            return await super().apply(name, event, audit, revision)
        except StoreUnavailable:
            return True


class BoardOfTwoTransactions(Board):
    """What happened is stored first, and told to the stream in a transaction of its own."""

    async def apply(
        self, name: str, event: CoreEvent, audit: AuditEntry | None = None, revision: bytes | None = None
    ) -> bool:
        async with self._locked(name) as active:
            accepted = active.core.apply(event, self._clock.now())
            entities, events = active.core.take()
            await self._store.transact(lambda unit: unit.runs.save(name, entities))
            await self._store.transact(lambda unit: unit.runs.append(name, events))
        self._tell_work()
        return accepted


class FollowupsWithoutLateCommits(Followups):
    """What the engine before committed at last is never looked for."""

    async def step(self) -> None:
        self._caught_up_at = self._clock.monotonic()
        await super().step()


class SupervisorWithoutSweep(Supervisor):
    """Nobody looks for hosts that are lost."""

    def _lost(self) -> Iterable[HostRecord]:
        return ()


class WorkWithoutVerification(TaskWork):
    """Says that all is well without a look."""

    def _verify(self, work: worker_pb2.VerifyWork, fence: int, signals: Signals) -> run_pb2.Verification:
        del work, fence, signals
        return run_pb2.Verification(is_verified=True)


class RunnerWithoutVerification(TaskRunner):
    """Has its tasks done so."""

    def work_of(self, backends: DeclaredSecrets, secrets: RotatingSecrets) -> TaskWork:
        """A task that is never verified."""
        return WorkWithoutVerification(backends, secrets, *self._parts)


def tells_afterwards(claims: list[Claim]) -> bool:
    """A notifier that says that it is done before it has told anybody."""
    del claims
    return False


# The store -------------------------------------------------------------------------------------------------------------------------


class _Runs:
    """A unit's runs, with something else done in their place."""

    def __init__(self, runs: object) -> None:
        self._runs = runs

    def __getattr__(self, name: str) -> object:
        return getattr(self._runs, name)


class _UncomparedRuns(_Runs):
    def save(self, run: str, entities: Iterable[Entity]) -> None:
        for entity in entities:
            stored = self._runs._stored(run, entity)  # type: ignore[attr-defined]
            if stored is not None:
                entity.version = stored.version
            self._runs.save(run, [entity])  # type: ignore[attr-defined]

    def append(self, run: str, events: Iterable[RunEvent]) -> None:
        for event in events:
            try:
                self._runs.append(run, [event])  # type: ignore[attr-defined]
            except StaleWrite:
                continue


class _UntoldRuns(_Runs):
    def append(self, run: str, events: Iterable[RunEvent]) -> None:
        entries = self._runs._tables.feed  # type: ignore[attr-defined]
        for event in events:
            self._runs.append(run, [event])  # type: ignore[attr-defined]
            if event.type == "run.paused":
                self._runs._journal.drop(entries, len(entries))  # type: ignore[attr-defined]


def without_comparing(unit: Unit) -> Unit:
    """What somebody else stored meanwhile is overwritten."""
    unit.runs = _UncomparedRuns(unit.runs)  # type: ignore[misc, assignment]
    return unit


def without_outbox_row(unit: Unit) -> Unit:
    """An event is kept, and its entry of the stream is not."""
    unit.runs = _UntoldRuns(unit.runs)  # type: ignore[misc, assignment]
    return unit


class _SilentAudit:
    def append(self, entry: AuditEntry) -> None:
        del entry


def without_audit(unit: Unit) -> Unit:
    """Who did it is not kept."""
    unit.audit = _SilentAudit()  # type: ignore[misc, assignment]
    return unit


# Targets and sources ---------------------------------------------------------------------------------------------------------------


class TargetWithoutFence(SimulatedTarget):
    """Whoever knows where the lane stands may go on."""

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        at = self._database.lanes.get((staging.id, lane), MemoryLane())
        super()._stand(staging, lane, at.fence, before)
        del fence


class TargetWithoutFenceColumn(SimulatedTarget):
    """On DuckDB: the update of the checkpoint does not write the fence, so that a claim meanwhile conflicts with nothing. Transactions take
    long, so that there is a meanwhile."""

    written = frozenset({"chunks"})

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        super()._stand(staging, lane, fence, before)
        if not self._is_allowed:
            self.route.systems.fibers.pause(LONG_TRANSACTION_SECONDS)


class TargetWithoutCheckpoint(SimulatedTarget):
    """A lane is begun anew, beside what it wrote before."""

    def claim(self, staging: Staging, lane: str, fence: int) -> Checkpoint:
        super().claim(staging, lane, fence)
        self._database.lanes[staging.id, lane] = MemoryLane(Checkpoint(), fence)
        return Checkpoint()


class TargetOfTwoTransactions(SimulatedTarget):
    """The rows are committed first, and then how far the lane got."""

    def _end_commit(self, staging: Staging, lane: str, after: Checkpoint, write: Callable[[], None]) -> None:
        kept = self._database.lanes.get((staging.id, lane), MemoryLane())
        super()._end_commit(staging, lane, after, write)
        done = self._database.lanes[staging.id, lane]
        self._database.lanes[staging.id, lane] = kept
        self.route.travel()
        self._database.lanes[staging.id, lane] = done


class TargetThatIsHopeful(SimulatedTarget):
    """A commit without an answer has worked."""

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        try:
            super().commit(staging, lane, fence, before, after, batches)
        except TemporaryError:
            return


class TargetThatWritesAgain(SimulatedTarget):
    """A commit without an answer has not worked, and is done again where the lane stands now."""

    def commit(
        self,
        staging: Staging,
        lane: str,
        fence: int,
        before: Checkpoint,
        after: Checkpoint,
        batches: Sequence[pa.RecordBatch],
    ) -> None:
        try:
            super().commit(staging, lane, fence, before, after, batches)
        except TemporaryError:
            at = self._database.lanes[staging.id, lane].checkpoint
            rows = sum(batch.num_rows for batch in batches)
            again = replace(after, chunks=at.chunks + 1, rows=at.rows + rows)
            super().commit(staging, lane, fence, at, again, batches)


class TargetThatEmptiesItsStaging(SimulatedTarget):
    """Preparing again begins anew, and the lanes keep where they stood."""

    def prepare(self, staging: Staging) -> None:
        self._database.staged.pop(staging.id, None)
        super().prepare(staging)


class TargetWithoutTombstone(SimulatedTarget):
    """Nothing tells a host that comes late that its staging was dropped."""

    def rollback(self, stagings: Sequence[Staging]) -> None:
        super().rollback(stagings)
        for staging in stagings:
            self._database.publications.pop(staging.id, None)


class TargetThatPublishesOnce(SimulatedTarget):
    """The second call of a publication whose first answer was lost finds nothing to publish."""

    def _put_in(self, staging: Staging) -> None:
        if self._is_published(staging):
            raise FailedPrecondition(f"there is no staging {staging.id} to publish")
        super()._put_in(staging)


class TargetThatForgetsWhatWasThere(SimulatedTarget):
    """Nothing is kept of what a publication replaces."""

    def _put_in(self, staging: Staging) -> None:
        super()._put_in(staging)
        self._database.publications[staging.id] = replace(self._database.publications[staging.id], kept=None)


class SourceThatClaimsToStandStill(SimulatedSource):
    """Its state is the same whatever becomes of it."""

    def state(self, relation: SourceRelation) -> str:
        super().state(relation)
        return "always the same"


# Sources that are written to -------------------------------------------------------------------------------------------------------


class CoreThatReadsBeforeItKeeps(RunCore):
    """Lanes begin while keeping what changes is still being begun."""

    def _is_captured(self, phase: PhaseRun) -> bool:
        super()._is_captured(phase)
        return True


class CaptureThatLetsIn(SimulatedCapture):
    """Writes go on."""

    def block(self, relation: SourceRelation, name: str) -> None:
        super().block(relation, name)
        super().open(relation, name)


class CaptureThatForgets(SimulatedCapture):
    """What was told once is not told again, whatever became of it."""

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        for changed in super().changes(relation, columns, key, name, after, until):
            self.confirm(name, changed.end)
            yield changed


class CaptureThatReadsFirst(SimulatedCapture):
    """Where the source is was read before writes to it were blocked."""

    def present(self) -> Position:
        return self._before

    def block(self, relation: SourceRelation, name: str) -> None:
        self._before = super().present()
        super().block(relation, name)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._before = super().present()


class CaptureThatStays(SimulatedCapture):
    """Slots are never dropped."""

    def stop(self, name: str) -> None:
        del name


class RunnerThatLetsNobodyIn(TaskRunner):
    """What is undone leaves its source blocked."""

    def work_of(self, *arguments: Any) -> TaskWork:
        work = super().work_of(*arguments)
        following = work._following
        following.end_undone = following.end_published  # type: ignore[method-assign]  # that is the mutation
        return work


# The lane --------------------------------------------------------------------------------------------------------------------------


def without_frozen_state(job: LaneJob, *others: Any) -> CopyOutcome:
    """What the run knew of the source when it began is not compared with what it is now."""
    return copy_lane(replace(job, source_state=""), *others)


class LeaseWithoutDrain(VirtualLease):
    """A host that is asked to stop goes on."""

    def is_draining(self) -> bool:
        return False


class LeaseOfNoTime(VirtualLease):
    """A host whose clock stands still: its lease ends only when the engine tells it. This alone does no harm, for the fence keeps it out;
    where the fence is what is wrong, nothing else keeps it out either."""

    def is_lost(self) -> bool:
        return self._is_lost


class SourceThatSkips(SimulatedSource):
    """What is read after a position begins one chunk too late."""

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        found = super().chunks(relation, columns, after)
        if after is not None:
            next(found, None)
        yield from found


HOSTS = (Trouble.HOST_CRASH, Trouble.HOST_STOPPED, Trouble.ENGINE_PARTITION, Trouble.ANSWERS_LOST)
TARGETS = (Trouble.COMMIT_UNKNOWN, Trouble.TARGET_PARTITION, Trouble.HOST_CRASH, Trouble.LOCK_CONFLICT)
CHANGES = (Trouble.SOURCE_CHANGED, Trouble.HOST_CRASH, Trouble.SOURCE_SLOW)
ENGINES = (Trouble.ENGINE_STOPPED, Trouble.ENGINE_CRASH, Trouble.STORE_FAILING, Trouble.ANSWERS_LOST)

MUTANTS: dict[str, Mutant] = {
    "core of one fence": Mutant(replace(REAL, core=CoreOfOneFence), HOSTS),
    "core without dependencies": Mutant(replace(REAL, core=CoreWithoutDependencies)),
    "core without gates": Mutant(replace(REAL, core=CoreWithoutGates)),
    "core without verification": Mutant(replace(REAL, core=CoreWithoutVerification)),
    "core without retries": Mutant(replace(REAL, core=CoreWithoutRetries)),
    "core that tries for ever": Mutant(replace(REAL, core=CoreThatTriesForEver), CHANGES),
    "core without drain": Mutant(
        replace(REAL, core=CoreWithoutDrain), (Trouble.SOURCE_SLOW, Trouble.HOST_SLOW), seen_at=31
    ),
    "core without cleaning": Mutant(replace(REAL, core=CoreWithoutCleaning), seen_at=8),
    "core that undoes no data": Mutant(replace(REAL, core=CoreThatUndoesNoData), seen_at=8),
    "core that undoes no steps": Mutant(replace(REAL, core=CoreThatUndoesNoSteps), seen_at=22),
    "core that undoes in any order": Mutant(
        replace(REAL, core=CoreThatUndoesInAnyOrder), (Trouble.NOTIFIER_DOWN,), seen_at=30
    ),
    "core that loses tasks": Mutant(replace(REAL, core=CoreThatLosesTasks), HOSTS),
    "board that trusts its memory": Mutant(replace(REAL, board=BoardThatTrustsItsMemory), ENGINES, seen_at=5),
    "board that tells first": Mutant(replace(REAL, board=BoardThatTellsFirst), ENGINES, seen_at=43),
    "board of two transactions": Mutant(replace(REAL, board=BoardOfTwoTransactions)),
    "followups without late commits": Mutant(
        replace(REAL, followups=FollowupsWithoutLateCommits), (Trouble.ENGINE_STOPPED,), seen_at=58
    ),
    "supervisor without sweep": Mutant(replace(REAL, supervisor=SupervisorWithoutSweep), HOSTS),
    "runner without verification": Mutant(
        replace(REAL, runner=RunnerWithoutVerification), (), seen_at=27, scenario=CHANGING_SOURCES
    ),
    "notifier that tells afterwards": Mutant(
        replace(REAL, tells_first=tells_afterwards), (Trouble.NOTIFIER_DOWN,), seen_at=15
    ),
    "store without compare-and-set": Mutant(replace(REAL, unit=without_comparing), ENGINES),
    "store without outbox row": Mutant(replace(REAL, unit=without_outbox_row)),
    "store without audit entry": Mutant(replace(REAL, unit=without_audit)),
    "target without fence": Mutant(replace(REAL, target=TargetWithoutFence), (), scenario=LATE_COMMITS),
    "target without fence column": Mutant(
        replace(REAL, target=TargetWithoutFenceColumn, lease=LeaseOfNoTime), (Trouble.ENGINE_PARTITION,), seen_at=30
    ),
    "target without checkpoint": Mutant(replace(REAL, target=TargetWithoutCheckpoint), TARGETS),
    "target of two transactions": Mutant(replace(REAL, target=TargetOfTwoTransactions), (Trouble.HOST_CRASH,)),
    "target that is hopeful": Mutant(replace(REAL, target=TargetThatIsHopeful), (), scenario=LOCKED_TARGETS),
    "target that writes again": Mutant(
        replace(REAL, target=TargetThatWritesAgain), (), seen_at=20, scenario=LOST_COMMITS
    ),
    "target that empties its staging": Mutant(replace(REAL, target=TargetThatEmptiesItsStaging), TARGETS),
    "target without tombstone": Mutant(
        replace(REAL, target=TargetWithoutTombstone), (), seen_at=19, scenario=LATE_BEGINNINGS
    ),
    "target that publishes once": Mutant(replace(REAL, target=TargetThatPublishesOnce), (), scenario=LOST_COMMITS),
    "target that forgets what was there": Mutant(replace(REAL, target=TargetThatForgetsWhatWasThere), ()),
    "source that claims to stand still": Mutant(
        replace(REAL, source=SourceThatClaimsToStandStill), (), scenario=CHANGES_AMID_CRASHES
    ),
    "source that skips": Mutant(replace(REAL, source=SourceThatSkips), TARGETS, seen_at=7),
    "core that reads before it keeps": Mutant(replace(REAL, core=CoreThatReadsBeforeItKeeps), online_share=1.0),
    "capture that lets in": Mutant(replace(REAL, capture=CaptureThatLetsIn), online_share=1.0),
    "capture that forgets": Mutant(
        replace(REAL, capture=CaptureThatForgets), (), seen_at=16, online_share=1.0, scenario=LOCKED_TARGETS
    ),
    "capture that reads first": Mutant(replace(REAL, capture=CaptureThatReadsFirst), seen_at=2, online_share=1.0),
    "capture that stays": Mutant(replace(REAL, capture=CaptureThatStays), online_share=1.0),
    "runner that lets nobody in": Mutant(
        replace(REAL, runner=RunnerThatLetsNobodyIn), TARGETS, seen_at=52, online_share=1.0
    ),
    "lane without frozen state": Mutant(
        replace(REAL, copy=without_frozen_state), (), seen_at=57, scenario=CHANGING_SOURCES
    ),
    "lease without drain": Mutant(
        replace(REAL, lease=LeaseWithoutDrain), (Trouble.SOURCE_SLOW, Trouble.HOST_SLOW), seen_at=31
    ),
}
