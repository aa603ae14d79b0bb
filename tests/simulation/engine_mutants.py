"""Engines with one thing wrong: the board, its followers and its loops, what a task does for them, and the store below them."""

from collections.abc import Iterable

from pymigrate.engine.application.active_runs import ActiveRun
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.domain.errors import StaleWrite, StoreUnavailable
from pymigrate.engine.domain.happenings import CoreEvent
from pymigrate.engine.domain.run import Entity, RunEvent
from pymigrate.engine.entrypoints.loops.supervisor import Supervisor
from pymigrate.engine.entrypoints.worker.task_work import TaskWork
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.feed import Claim
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.secrets import DeclaredSecrets, RotatingSecrets
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.transfer.signals import Signals
from pymigrate.v1 import run_pb2, worker_pb2


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
        stream = self._runs._tables.feed  # type: ignore[attr-defined]
        for event in events:
            self._runs.append(run, [event])  # type: ignore[attr-defined]
            if event.type == "run.paused":
                self._runs._journal.drop(stream.entries, stream.last)  # type: ignore[attr-defined]


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
