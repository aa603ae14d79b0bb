"""Rehearsals: whole plans through the real core and scheduler in virtual time; in the large ones every chunk is told.

Reference: a bare heap of as many moments, pushed and popped, which no discrete simulation can do without.
"""

import heapq
import os
import random
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context

from _figures import Report, arguments, seconds

from pymigrate.engine.domain.drawing import Drawing, Draws, Twins, gather
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsal import Rehearsal, Rehearsed
from pymigrate.engine.domain.run import DatasetRun, PhaseRun, Run, RunAggregate, Task
from pymigrate.engine.domain.run_states import RunState
from pymigrate.engine.domain.schedule import Limits, Place, Scheduler
from pymigrate.engine.domain.sharing import CopyShape

START = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK_BYTES = 20_000_000
CHUNK_SECONDS = 0.2
CHUNK_ROWS = 100_000
LANES_MAX = 50
SOURCES = 20
FULL_SPEED_LANES = 4
MEGABYTES_MAX = 500
SECONDS_MAX = 60.0
TERABYTE = 1e12
PHASES = 1_000
CHUNKS = 10
DRAWS = 200
ONCE_MS_MAX = 50.0
DRAWS_SECONDS_MAX = 5.0
DRAWS_MEGABYTES_MAX = 300.0


class Modelled:
    """A source serves four lanes at full speed; everything that is no copy takes five seconds."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def drawn(self, rng: random.Random) -> "Drawn":
        """The same with other durations."""
        return Drawn(self.chunks, rng)

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """As many chunks for every lane."""
        return CopyShape(self.chunks, self.chunks * CHUNK_ROWS, self.chunks * CHUNK_BYTES, CHUNK_SECONDS)

    def seconds(self, core: RunCore, task: Task) -> float:
        """The same for everything."""
        return 5.0

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        """More lanes than the source serves share it."""
        return max(1.0, source_lanes / FULL_SPEED_LANES)


class Drawn(Modelled):
    """Everything takes up to a fifth longer or shorter, by chance."""

    def __init__(self, chunks: int, rng: random.Random) -> None:
        super().__init__(chunks)
        self.rng = rng

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """Chunks of another duration."""
        return replace(super().copy(core, task), chunk_seconds=CHUNK_SECONDS * self.rng.uniform(0.8, 1.2))

    def seconds(self, core: RunCore, task: Task) -> float:
        """Another duration."""
        return super().seconds(core, task) * self.rng.uniform(0.8, 1.2)


def plan(departments: int, datasets: int) -> RunAggregate:
    """Departments of so many datasets each, of which two in three need others."""
    rng = random.Random(1)
    aggregate = RunAggregate(Run("environments/e/plans/p/runs/r", "environments/e/plans/p", "k", "h", START, "api"))
    names = [f"department-{number}" for number in range(departments)]
    for at, name in enumerate(names):
        needs = tuple(sorted(rng.sample(names[:at], min(at, 2)))) if at % 3 else ()
        aggregate.phases[name] = PhaseRun(name, name, needs)
        for number in range(datasets):
            table = f"table-{number}"
            source = f"source-{at % SOURCES}"
            aggregate.datasets[name, table] = DatasetRun(
                name, table, source, table, "warehouse", f"{name}_{table}", "shared", rows_expected=CHUNK_ROWS
            )
    return aggregate


def rehearsed(departments: int, datasets: int, chunks: int) -> Rehearsed:
    """A plan to its end, every chunk a report."""
    core = RunCore(plan(departments, datasets), random.Random(1))
    found = Rehearsal([core], Limits(LANES_MAX), Modelled(chunks), Scheduler(random.Random(2)), START, 0.0).run()
    if core.run.state is not RunState.SUCCEEDED:
        raise AssertionError(f"the rehearsal ended as {core.run.state}")
    return found


def rehearsed_once(core: RunCore) -> Rehearsed:
    """A plan to its end, a lane told when it ends."""
    twin = core.twin(random.Random(1))
    found = Rehearsal([twin], Limits(LANES_MAX), Modelled(CHUNKS), Scheduler(random.Random(2)), START).run()
    if twin.run.state is not RunState.SUCCEEDED:
        raise AssertionError(f"the rehearsal ended as {twin.run.state}")
    return found


def drawn(core: RunCore, draws: int) -> Draws:
    """So many rehearsals with other durations, in as many processes as there are cores."""
    drawing = Drawing(Twins([core]), Limits(LANES_MAX), Modelled(CHUNKS).drawn, START)
    processes = os.cpu_count() or 1
    parts = [range(first, draws, processes) for first in range(processes)]
    with ProcessPoolExecutor(processes - 1 or 1, get_context("spawn")) as pool:
        others = [pool.submit(drawing.part, part) for part in parts[1:]]
        found = drawing.part(parts[0])
        for other in others:
            found.extend(other.result())
    return gather(found, core.aggregate, START)


def bare_heap(moments: int) -> None:
    """As many moments, fifty at a time."""
    rng = random.Random(1)
    heap = [(rng.random(), number) for number in range(LANES_MAX)]
    heapq.heapify(heap)
    for number in range(moments):
        moment, _ = heapq.heappop(heap)
        heapq.heappush(heap, (moment + rng.random(), number))


def measure_draws(report: Report, phases: int, draws: int) -> None:
    """Many phases: once, and again and again."""
    core = RunCore(plan(phases, 1), random.Random(1))
    moments = 3 * phases
    once = min(seconds(lambda: rehearsed_once(core)) for _ in range(10))
    heap = min(seconds(lambda: bare_heap(moments)) for _ in range(10))
    report.add(
        f"{phases:,} phases, one rehearsal",
        once * 1e3,
        "ms",
        reference="a bare heap of as many moments",
        reference_value=heap * 1e3,
        goal=f"below {ONCE_MS_MAX:g} ms",
        met=once * 1e3 < ONCE_MS_MAX,
    )
    many = seconds(lambda: drawn(core, draws))
    report.add(
        f"{phases:,} phases, {draws} draws on {os.cpu_count()} cores",
        many,
        "s",
        reference="bare heaps of as many moments",
        reference_value=heap * draws,
        goal=f"below {DRAWS_SECONDS_MAX:g} s",
        met=many < DRAWS_SECONDS_MAX,
    )
    own, others = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    megabytes = own + others * max((os.cpu_count() or 1) - 1, 1)
    report.add(
        f"memory of {draws} draws, all processes together",
        megabytes,
        "MB",
        reference="the bound",
        reference_value=DRAWS_MEGABYTES_MAX,
        goal=f"below {DRAWS_MEGABYTES_MAX:g} MB",
        met=megabytes < DRAWS_MEGABYTES_MAX,
    )


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    report = Report("rehearsal", ["networkx"])
    ten = min(seconds(lambda: rehearsed(10, 4, 50)) for _ in range(5))
    heap = min(seconds(lambda: bare_heap(2_000)) for _ in range(5))
    report.add(
        "ten departments of 40 datasets and 2,000 chunks",
        ten * 1e3,
        "ms",
        reference="a bare heap of as many moments",
        reference_value=heap * 1e3,
        goal="in milliseconds: below 100",
        met=ten < 0.1,
    )
    measure_draws(report, 20 if given.tiny else PHASES, 4 if given.tiny else DRAWS)
    datasets, chunks = (1, 10) if given.tiny else (50, 200) if given.quick else (50, 1_000)
    large = seconds(lambda: rehearsed(100, datasets, chunks))
    heap = seconds(lambda: bare_heap(100 * datasets * chunks))
    volume = 100 * datasets * chunks * CHUNK_BYTES / TERABYTE
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.add(
        f"{volume:g} TB in {100 * datasets * chunks:,} chunks",
        large,
        "s",
        reference="a bare heap of as many moments",
        reference_value=heap,
        goal=f"100 TB within {SECONDS_MAX:g} s",
        met=large * (100 / volume) <= SECONDS_MAX,
    )
    report.add(
        f"memory of the process that rehearsed {volume:g} TB",
        megabytes,
        "MB",
        reference="the bound",
        reference_value=MEGABYTES_MAX,
        goal=f"below {MEGABYTES_MAX} MB",
        met=megabytes < MEGABYTES_MAX,
    )
    report.write(given.results)


if __name__ == "__main__":
    main()
