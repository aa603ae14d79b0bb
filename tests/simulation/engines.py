"""An engine's process in a simulation: the real application services and the real supervisor, over a store that it shares."""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.housekeeping import Housekeeping
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.application.lane_credentials import LaneCredentials
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.plans import Plans
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.run_estimates import RunEstimates
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.testing.drawing import draw_one
from pymigrate.engine.testing.simulated_store import SimulatedStore
from pymigrate.engine.testing.virtual_loop import VirtualClock
from tests.simulation.parts import Parts

LANES_MAX = 50
HOSTS_SHARED_MAX = 2
DELIVERIES_KEPT_DAYS = 400
TERMS = LeaseTerms(lease_seconds=15.0, heartbeat_seconds=5.0, tasks_max=4)
Answer = TypeVar("Answer")


class EngineProcess:
    """One process, from its start to its end."""

    def __init__(
        self,
        number: int,
        store: SimulatedStore,
        executor: Executor,
        clock: VirtualClock,
        rng: random.Random,
        parts: Parts,
    ) -> None:
        self.number = number
        self.store = store
        self.is_up = False
        self.is_over = False
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their beginning, unlike a set
        numbers = itertools.count(1)
        surroundings = Surroundings(clock, lambda: f"e{number}-{next(numbers):06d}")
        self.catalog = Catalog(surroundings)
        self.plans = Plans(self.catalog)
        self.board = parts.board(store, clock, random.Random(rng.random()), parts.core)
        self.inquiries = Inquiries(surroundings.new_id, self._on_work)
        limits = LaneLimits(store, self.board, LANES_MAX, clock)
        scheduler = Scheduler(random.Random(rng.random()))
        credentials = LaneCredentials("the engine's token", clock)
        self.hosts = parts.hosts(store, self.board, self.inquiries, limits, surroundings, TERMS, scheduler, credentials)
        self.board.on_work(self._on_work)
        views = RunViews(self.board, scheduler, clock)
        self.runs = Runs(store, self.board, self.inquiries, self.catalog, surroundings, Topics(clock), views)
        learning = Learning(store, clock)
        estimates = RunEstimates(store, self.board, learning, LANES_MAX, draw_one)
        followups = parts.followups(store, self.board, learning, estimates, clock)
        housekeeping = Housekeeping(store, Requests(clock), clock, DELIVERIES_KEPT_DAYS)
        self._supervisor = parts.supervisor(
            self.hosts, followups, executor, housekeeping, clock, HOSTS_SHARED_MAX, views
        )
        self._parts = parts

    async def start(self) -> None:
        """Takes over what the store holds, and serves from then on; where the store fails, the process ends."""
        restoring = self._begin(self._restore())
        await asyncio.wait({restoring})
        if self.is_over or restoring.exception() is not None:
            self.crash()
            return
        self.is_up = True
        self._begin(self._supervisor.run())

    async def _restore(self) -> None:
        await self._parts.restore(self.board)
        await self.hosts.restore()

    def serve(self, call: Callable[[Hosts], Coroutine[Any, Any, Answer]]) -> "asyncio.Task[Answer]":
        """A call of a host's."""
        return self._begin(call(self.hosts))

    def serve_people(self, call: Callable[["EngineProcess"], Coroutine[Any, Any, Answer]]) -> "asyncio.Task[Answer]":
        """A call of a person's."""
        return self._begin(call(self))

    def crash(self) -> None:
        """SIGKILL."""
        self.is_up, self.is_over = False, True
        self.store.cut_off()
        for task in list(self._tasks):
            task.cancel()

    def _on_work(self) -> None:
        self.hosts.tell_work()

    def _begin(self, work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda _: self._tasks.pop(task, None))
        return task
