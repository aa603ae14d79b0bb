"""Many plans whose runs have ended, in a real store, and engines that start with them: from what was kept, or from the beginning."""

import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.kept_figures import kept_figures
from pymigrate.engine.application.kinds import ENVIRONMENTS, PLANS
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_kept import summary_of
from pymigrate.engine.domain.run import DatasetRun, Failure, Lane, PhaseRun, Run, RunAggregate, RunEvent, Task
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState, TaskKind, TaskState
from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2, kpi_pb2, plan_pb2, run_pb2

ENVIRONMENT = "environments/e"
PHASES, LANES, OLDER_RUNS = 4, 4, 5
BEGUN = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
AGREED = run_pb2.Verification(is_verified=True, target_rows=4_000).SerializeToString()
AWAY = Failure("SOURCE_UNAVAILABLE", "the source does not answer: see whether it is up", is_temporary=True)
PLANS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Start:
    """What an engine's start took until every figure was whole, and what it told of the environment then."""

    cpu_seconds: float
    seconds: float
    told: kpi_pb2.Kpis


class Restarts:
    """A store that holds the plans."""

    def __init__(self, store: SqliteStore, plans: int) -> None:
        self._store = store
        self._plans = plans
        self._clock = SystemClock()

    async def fill(self) -> None:
        """Declares the plans, with the runs of each."""
        catalog, me = Catalog(Surroundings(self._clock, lambda: random.randbytes(8).hex())), Caller("me")
        await self._store.transact(
            lambda unit: catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), me)
        )

        def declare(unit: Unit, first: int) -> None:
            for at in range(first, min(first + PLANS_AT_ONCE, self._plans)):
                catalog.create(unit, PLANS, ENVIRONMENT, f"p{at:04d}", plan_pb2.Plan(), me)
                for number in range(OLDER_RUNS):
                    unit.runs.insert(RunAggregate(_run(at, number)), b"")
                aggregate, events = _ended(at)
                unit.runs.insert(aggregate, b"")
                unit.runs.append(aggregate.run.name, events)

        for first in range(0, self._plans, PLANS_AT_ONCE):
            await self._store.transact(lambda unit, first=first: declare(unit, first))  # type: ignore[misc]  # bound

    def figures(self) -> list[KeptFigures]:
        """What the engine's housekeeping keeps of the newest runs."""
        found = []
        for at in range(self._plans):
            aggregate, events = _ended(at)
            for part in aggregate.entities():
                part.version = 1
            run = RunKpis(aggregate.run.name, verdict_of)
            run.take_in(BEGUN, aggregate.entities(), events)
            found.append(kept_figures(aggregate.run, summary_of(run) or []))
        return found

    async def keep(self, figures: Iterable[KeptFigures]) -> None:
        """Keeps them."""

        def keep(unit: Unit) -> None:
            for each in figures:
                unit.figures.put(each)

        await self._store.transact(keep)

    async def start(self) -> Start:
        """Starts an engine's KPIs, and reads all that is missing."""
        kpis = FleetKpis(self._store, Board(self._store, self._clock, random.Random(1)), self._clock)
        cpu, began = time.process_time(), time.perf_counter()
        await kpis.restore()
        told = await kpis.kpis(ENVIRONMENT)
        return Start(time.process_time() - cpu, time.perf_counter() - began, told)


@asynccontextmanager
async def restarts(plans: int) -> AsyncIterator[Restarts]:
    """A store of so many plans, of which nothing is kept yet."""
    with TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "store.db", SystemClock())
        try:
            scene = Restarts(store, plans)
            await scene.fill()
            yield scene
        finally:
            await store.close()


def _run(at: int, number: int) -> Run:
    plan, created = f"{ENVIRONMENT}/plans/p{at:04d}", BEGUN + timedelta(days=number)
    state = RunState.FAILED if at % 20 == 0 else RunState.SUCCEEDED
    end = created + timedelta(hours=2)
    return Run(f"{plan}/runs/r{number}", plan, f"k{number}", "h", created, "api", state=state, end_time=end)


def _ended(at: int) -> tuple[RunAggregate, list[RunEvent]]:
    """A plan's newest run: each lane of it was tried twice."""
    run = _run(at, OLDER_RUNS)
    aggregate, start = RunAggregate(run), run.create_time
    steps: list[tuple[str, str, Failure | None]] = [("run.running", run.name, None)]
    for number in range(PHASES):
        name, over = f"f{number}", start + timedelta(minutes=20)
        aggregate.phases[name] = PhaseRun(
            name, f"d{number}", state=PhaseState.PUBLISHED, start_time=start, end_time=over
        )
        where = f"{run.name}/phases/{name}"
        dataset = DatasetRun(name, "t", "s", "t", "w", "t", "shared", rows_expected=4_000, verification=AGREED)
        aggregate.datasets[name, "t"] = dataset
        steps.append(("phase.staging", where, None))
        for part in range(LANES):
            lane_id = f"{name}.t.{part}"
            aggregate.lanes[lane_id] = Lane(
                *(lane_id, name, "t"),
                state=LaneState.DONE,
                chunks=4,
                rows=1_000,
                bytes=100_000,
                retries=1,
                start_time=start,
            )
            aggregate.lanes[lane_id].end_time = over
            aggregate.tasks[f"copy.{lane_id}"] = Task(
                f"copy.{lane_id}", TaskKind.COPY, name, 1, ("t",), "w", "shared", lane_id, state=TaskState.DONE
            )
            lane = f"{run.name}/lanes/{lane_id}"
            steps += [("lane.running", lane, None), ("lane.stalled", lane, AWAY)]
            steps += [("lane.running", lane, None), ("lane.done", lane, None)]
        steps += [(f"phase.{state}", where, None) for state in ("verifying", "publishing", "published")]
    steps.append((f"run.{run.state}", run.name, None))
    run.events = len(steps)
    events = [
        RunEvent(sequence, start + timedelta(seconds=sequence), kind, subject, "", kind.split(".")[1], "engine", why)
        for sequence, (kind, subject, why) in enumerate(steps, 1)
    ]
    return aggregate, events


async def started(plans: int, rounds: int) -> tuple[list[Start], list[Start]]:
    """Starts from what was kept and from the beginning, taking turns. Raises AssertionError where they tell different figures."""
    kept: list[Start] = []
    scratch: list[Start] = []
    async with restarts(plans) as scene:
        figures = scene.figures()
        for _ in range(rounds):
            await scene.keep(figures)
            kept.append(await scene.start())
            await scene.keep(replace(each, format=0) for each in figures)  # nobody counts so
            scratch.append(await scene.start())
    for each in (*kept, *scratch):
        if each.told != scratch[0].told:
            raise AssertionError(f"the figures differ: {each.told} and {scratch[0].told}")
    return kept, scratch
