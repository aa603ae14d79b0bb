"""People in a simulated world: they declare and start a run, meddle with it while it works, and see it to its end once all is calm."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.domain.errors import AlreadyExists, PermanentError, StaleWrite, TemporaryError
from pymigrate.engine.domain.run_states import RUN_ENDED, DesiredState
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.faults import Crash
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2
from tests.simulation.plans import connections, departments
from tests.simulation.witness import RUN

if TYPE_CHECKING:
    from tests.simulation.engines import EngineProcess
    from tests.simulation.world import World

ENVIRONMENT, PLAN = "environments/e", "environments/e/plans/p"
ME = Caller("people")
TRIES_MAX = 400
RETRIES_MAX = 12
END_SECONDS_MAX = 1_500.0
LOOK_SECONDS = 2.0
MEDDLING_SECONDS = (0.5, 12.0)
ENDED = {str(state) for state in RUN_ENDED}
GOOD = ENDED - {"failed", "rollback_blocked"}
Answer = TypeVar("Answer")


class NeverEnded(AssertionError):
    """A command was accepted, all has been calm for long, and nothing became of it."""


class People:
    """Everybody who asks for something."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.retries = 0

    async def live(self) -> None:
        """From the declaration to the end."""
        await self._insist(self._declare)
        await self._start()
        while not self._world.weather.is_calm:
            await asyncio.sleep(self._rng.uniform(*MEDDLING_SECONDS))
            await self._meddle()
        await self._see_to_its_end()

    @property
    def _state(self) -> str:
        return self._world.witness.states.get(RUN, "pending")

    async def _declare(self, engine: "EngineProcess") -> None:
        phases = self._world.plan.phases

        def work(unit: Unit) -> None:
            catalog = engine.catalog
            catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
            for name, department in departments().items():
                catalog.create(unit, DEPARTMENTS, ENVIRONMENT, name, department, ME)
            for name, connection in connections().items():
                catalog.create(unit, CONNECTIONS, ENVIRONMENT, name, connection, ME)
            plan = plan_pb2.Plan(phases=phases, rollback_window_seconds=-1)
            engine.plans.create(unit, ENVIRONMENT, "p", plan, ME, is_dry=False)

        try:
            await engine.store.transact(work)
        except AlreadyExists:  # it was committed though nobody was told
            return

    async def _start(self) -> None:
        desired = self._rng.choice([run_pb2.DESIRED_STATE_RUNNING] * 3 + [run_pb2.DESIRED_STATE_PAUSED])
        request = run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=desired))
        for _ in range(TRIES_MAX):
            if await self._insist(lambda engine: engine.runs.start(request, ME)):
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise NeverEnded("the run could not be started")

    async def _meddle(self) -> None:
        kind = self._rng.choices(
            ["pause", "resume", "cancel", "retry", "approve", "undo", "undo all", "seal", "nothing"],
            [4, 5, 0.7, 4, 4, 1.5, 0.7, 0.5, 6],
        )[0]
        phase = self._rng.choice(sorted(self._world.plan.phases))
        match kind:
            case "pause":
                await self._ask(lambda runs: runs.steer(RUN, DesiredState.PAUSED, ME))
            case "resume":
                await self._ask(lambda runs: runs.steer(RUN, DesiredState.RUNNING, ME))
            case "cancel":
                await self._ask(lambda runs: runs.steer(RUN, DesiredState.CANCELLED, ME))
            case "retry" if self._state == "failed":
                await self._ask(lambda runs: runs.retry(RUN, ME))
            case "approve":
                await self._approve()
            case "undo":
                await self._ask(lambda runs: runs.roll_back(RUN, phase, ME))
            case "undo all":
                await self._ask(lambda runs: runs.roll_back(RUN, "", ME))
            case "seal":
                await self._ask(lambda runs: runs.seal(RUN, (phase,), ME))

    async def _approve(self) -> None:
        for name, phase in sorted(self._world.plan.phases.items()):
            for gate in sorted(phase.gates):
                await self._ask(partial(_approve, name, gate))

    async def _see_to_its_end(self) -> None:
        """A held run goes on, gates are approved, what failed is done again, and what could not be undone is undone after all: also of a
        run that was cancelled, whose blocked phases keep what they have staged until somebody asks."""
        until = self._world.now() + END_SECONDS_MAX
        while self._world.now() < until:
            if self._state in GOOD and not self._has_blocked() and await self._is_settled():
                return
            match self._state:
                case "paused":
                    await self._ask(lambda runs: runs.steer(RUN, DesiredState.RUNNING, ME))
                case "failed" | "cancelled" | "rollback_blocked" if self._has_blocked() and await self._is_settled():
                    self.retries += 1
                    if self.retries > RETRIES_MAX:
                        raise NeverEnded(f"its rollback was blocked {RETRIES_MAX} times in calm weather")
                    await self._ask(lambda runs: runs.roll_back(RUN, "", ME))
                case "failed" if await self._is_settled():
                    self.retries += 1
                    if self.retries > RETRIES_MAX:
                        raise NeverEnded(f"it failed {RETRIES_MAX} times in calm weather")
                    await self._ask(lambda runs: runs.retry(RUN, ME))
                case "running" | "rolling_back":
                    await self._approve()
            await asyncio.sleep(LOOK_SECONDS)
        raise NeverEnded(f"it was {self._state} for {END_SECONDS_MAX:.0f} s of calm: {self._standing()}")

    async def _is_settled(self) -> bool:
        """Whether nothing is left to be done for the run."""
        return not await self._world.memory.read(lambda unit: RUN in unit.runs.names_with_work())

    def _has_blocked(self) -> bool:
        return "rollback_blocked" in self._world.witness.states.values()

    def _standing(self) -> str:
        return str({subject[len(RUN) :]: state for subject, state in self._world.witness.states.items()})

    async def _ask(self, call: Callable[[Runs], Coroutine[Any, Any, object]]) -> object:
        return await self._insist(lambda engine: call(engine.runs))

    async def _insist(self, call: "Callable[[EngineProcess], Coroutine[Any, Any, Answer]]") -> "Answer | bool":
        """Asks again until it is answered. False: it was refused."""
        for _ in range(TRIES_MAX):
            engine = self._world.engine
            if engine is not None and engine.is_up:
                task = engine.serve_people(call)
                await asyncio.wait({task})
                error = None if task.cancelled() else task.exception()
                if not task.cancelled() and error is None:
                    return task.result() or True
                if isinstance(error, PermanentError) and not isinstance(error, StaleWrite):
                    self._world.note(f"refused: {type(error).__name__}: {error.message}")
                    return False
                if error is not None and not isinstance(error, TemporaryError | StaleWrite | Crash):
                    raise error
            await asyncio.sleep(self._rng.uniform(0.2, 1.0))
        raise NeverEnded("nobody answered")


def _approve(phase: str, gate: str, runs: Runs) -> Coroutine[Any, Any, object]:
    return runs.approve(RUN, phase, gate, ME)
