"""Learning from runs under chance: it does not matter when, how often or by how many engines they are settled."""

import asyncio
import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.calibrations import PlanCalibrations
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.domain.calibration import Calibration
from pymigrate.engine.domain.happenings import Begun, Failed, Leased, Succeeded
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Run, RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import RUN_ENDED, TaskKind
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import connection_pb2, impact_pb2, run_pb2
from tests.property.simulated_runs import PERMANENT, PLAN, aggregate_of

STEPS = ("copy", "verify", "publish")
REVISION = run_pb2.PlanRevision(
    connections={
        name: connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path=name)) for name in ("source", "target0")
    }
).SerializeToString()


@dataclass(frozen=True)
class Played:
    """How a run of two phases went: what each task took, and which of them failed for good, if one did."""

    seconds: tuple[float, ...]
    failing: int


def ended(number: int, played: Played, clock: ManualClock) -> tuple[RunAggregate, list[RunEvent]]:
    """The run when it had ended, and everything that it told."""
    aggregate = aggregate_of({"a": (), "b": ("a",)})
    aggregate.run = Run(f"{PLAN}/runs/r{number}", PLAN, f"k{number}", "hash", clock.now(), "api")
    core = RunCore(aggregate, random.Random(number))
    core.apply(Begun(), clock.now())
    events = core.take()[1]
    left, place = list(played.seconds), 0
    while tasks := core.claimable(clock.now()):
        task = tasks[0]
        core.apply(Leased(task.id, "workerHosts/h", clock.now()), clock.now())
        clock.advance(left.pop() if left else 1.0)
        is_failing = place == played.failing and task.kind is not TaskKind.ROLLBACK
        done = Failed(task.id, task.fence, PERMANENT) if is_failing else Succeeded(task.id, task.fence)
        core.apply(done, clock.now())
        events += core.take()[1]
        place += 1
    assert aggregate.run.state in RUN_ENDED
    return aggregate, events


def estimate() -> impact_pb2.RunEstimate:
    message = impact_pb2.RunEstimate()
    outcome = impact_pb2.Outcome(estimated_seconds=impact_pb2.Quantiles(p50=5, p90=9))
    for phase in ("a", "b"):
        found = message.phases[phase]
        found.write_downtime.CopyFrom(outcome)
        for step in STEPS:
            getattr(found.datasets["d0"], step).CopyFrom(outcome)
    return message


def learned(unit: Unit) -> list[Calibration | None]:
    steps = [
        PlanCalibrations(unit, PLAN).dataset(phase, dataset, step, "", "", "sqlite", "sqlite")
        for phase, dataset in (("a", "d0"), ("b", "d0"), ("new", "new"))
        for step in STEPS
    ]
    return [*steps, *(PlanCalibrations(unit, PLAN).downtime(phase, "offline") for phase in ("a", "b", "new"))]


async def told(
    runs: list[tuple[RunAggregate, list[RunEvent]]], order: list[int], again: list[bool], engines: int
) -> list[Calibration | None]:
    """What is learned when runs come into the store in this order, and are settled at once or all in the end."""
    store, clock = MemoryStore(), ManualClock()
    learning = [Learning(store, clock) for _ in range(engines)]

    def insert(unit: Unit, number: int) -> None:
        aggregate, events = runs[number]
        unit.runs.insert(aggregate, REVISION)
        unit.runs.append(aggregate.run.name, events)

    for number, is_settled in zip(order, again, strict=True):
        await store.transact(lambda unit, number=number: insert(unit, number))  # type: ignore[misc]  # bound
        await learning[0].keep(runs[number][0].run.name, estimate())
        if is_settled:
            await asyncio.gather(*(each.settle() for each in learning))
    for _ in range(2):
        await asyncio.gather(*(each.settle() for each in learning))
    return await store.read(learned)


plays = st.builds(Played, st.lists(st.floats(0.1, 60), max_size=6).map(tuple), st.integers(0, 12))


@given(st.lists(plays, min_size=1, max_size=6), st.data())
def test_runs_teach_the_same_in_whatever_order_and_however_often_they_are_settled(
    played: list[Played], data: st.DataObject
) -> None:
    clock = ManualClock()
    runs = [ended(number, each, clock) for number, each in enumerate(played)]
    order = data.draw(st.permutations(range(len(runs))))
    again = data.draw(st.lists(st.booleans(), min_size=len(runs), max_size=len(runs)))
    plain = asyncio.run(told(runs, list(range(len(runs))), [False] * len(runs), engines=1))
    mixed = asyncio.run(told(runs, order, again, engines=data.draw(st.integers(1, 3))))
    assert mixed == plain
    went_through = [aggregate for aggregate, _ in runs if aggregate.phases["a"].end_time and not _is_failed(aggregate)]
    assert (plain[0] is None) == (not went_through)


def _is_failed(aggregate: RunAggregate) -> bool:
    return not aggregate.phases["a"].state.startswith("published")
