"""What follows without anybody asking: a plan that others wait for has succeeded, the time to roll a run back is over, and another
engine's last commit has come late, a run has ended and there is something to learn from it.

Every look is complete in itself, so that nothing is missed by an engine that died in between.
"""

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.run_estimates import RunEstimates
from pymigrate.engine.domain.happenings import PlanSucceeded, SealAsked
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
SEALS_AT_ONCE_MAX = 20
SEAL_INTERVAL_SECONDS = 30.0
CATCH_UP_INTERVAL_SECONDS = 5.0
LEARN_INTERVAL_SECONDS = 5.0


def has_succeeded(unit: Unit, plan: str) -> bool:
    """Whether the newest run of a plan, without those that Git has undone, has succeeded."""
    newest = unit.runs.standing(plan)
    return newest is not None and newest.state is RunState.SUCCEEDED


class Followups:
    """Looks for what follows, and tells the runs."""

    def __init__(self, store: Store, board: Board, learning: Learning, estimates: RunEstimates, clock: Clock) -> None:
        self._store = store
        self._board = board
        self._learning = learning
        self._estimates = estimates
        self._clock = clock
        self._learned_at = float("-inf")
        self._sealed_at = float("-inf")
        self._caught_up_at = clock.monotonic()

    async def step(self) -> None:
        """One look."""
        if self._clock.monotonic() - self._caught_up_at >= CATCH_UP_INTERVAL_SECONDS:
            self._caught_up_at = self._clock.monotonic()
            await self._board.catch_up()
        await self._tell_succeeded_plans()
        await self._estimates.step()
        if self._clock.monotonic() - self._sealed_at >= SEAL_INTERVAL_SECONDS:
            self._sealed_at = self._clock.monotonic()
            await self._seal_due_runs()
        if self._clock.monotonic() - self._learned_at >= LEARN_INTERVAL_SECONDS:
            self._learned_at = self._clock.monotonic()
            await self._learning.settle()

    async def _tell_succeeded_plans(self) -> None:
        waits = {
            (core.run.name, plan): f"{environment_of(core.run.name)}/plans/{plan}"
            for core in self._board.active()
            for plan in core.run.waiting_for
        }
        if not waits:
            return
        plans = sorted(set(waits.values()))
        done = await self._store.read(lambda unit: {plan for plan in plans if has_succeeded(unit, plan)})
        for (run, plan), name in waits.items():
            if name in done:
                await self._board.apply(run, PlanSucceeded(plan))

    async def _seal_due_runs(self) -> None:
        now = self._clock.now()
        due = await self._store.read(lambda unit: list(unit.runs.names_to_seal(now, SEALS_AT_ONCE_MAX)))
        for run in due:
            log.info("run.rollback_window_over", run=run)
            await self._board.apply(run, SealAsked(ENGINE))
