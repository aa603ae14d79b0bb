"""Rehearsals: whole plans through the real core and scheduler in virtual time, every chunk told.

Reference: a bare heap of as many moments, pushed and popped, which no discrete simulation can do without.
"""

import heapq
import random
import resource
from datetime import UTC, datetime

from _figures import Report, arguments, seconds

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


class Modelled:
    """A source serves four lanes at full speed; everything that is no copy takes five seconds."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """As many chunks for every lane."""
        return CopyShape(self.chunks, self.chunks * CHUNK_ROWS, self.chunks * CHUNK_BYTES, CHUNK_SECONDS)

    def seconds(self, core: RunCore, task: Task) -> float:
        """The same for everything."""
        return 5.0

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        """More lanes than the source serves share it."""
        return max(1.0, source_lanes / FULL_SPEED_LANES)


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


def bare_heap(moments: int) -> None:
    """As many moments, fifty at a time."""
    rng = random.Random(1)
    heap = [(rng.random(), number) for number in range(LANES_MAX)]
    heapq.heapify(heap)
    for number in range(moments):
        moment, _ = heapq.heappop(heap)
        heapq.heappush(heap, (moment + rng.random(), number))


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
