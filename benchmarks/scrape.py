"""The page of metrics: what a scrape costs of a large fleet, beside prometheus-client on the same series, under made-up names, and what
it costs whoever shares the loop with it.

Reference: prometheus-client's `generate_latest`, on its own counters, gauges and histograms of the same values.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog
import uvloop
from _figures import Report, arguments, percentile
from _scraped import Fleet, Sides, Size
from prometheus_client import CollectorRegistry, Counter, generate_latest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics
from pymigrate.engine.ports.metrics import Family, Kind, Reading

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the engine that tests play hosts of

from tests.unit.application.engines import Engine, PlayedHost, phase  # noqa: E402 (the path comes first)
from tests.unit.application.test_board import start  # noqa: E402

FLEET_SECONDS_MAX = 0.020
SERIES_SECONDS_MAX = 0.050
ATTACK_SECONDS_MAX = 0.100
ATTACK_BYTES_MAX = 20_000_000
HELD_SECONDS_MAX = 0.010
MILLISECONDS = 1e3
PAGE_BYTES = 4_096
GZIP = "gzip"


FULL = Size(1_000, 10, 50, 10_000, 1_000_000, 100_000, 61)
QUICK = Size(1_000, 10, 50, 10_000, 1_000_000, 50_000, 21)
TINY = Size(20, 2, 5, 200, 5_000, 1_000, 3)


async def measure_fleet(report: Report, size: Size) -> None:
    """The processor's time of a scrape, as Prometheus makes it."""
    fleet = Fleet(size)
    ours, packed, theirs = [], [], []
    page = await fleet.metrics.page()
    for _ in range(size.rounds):
        fleet.go_on()
        packed.append(await processor_seconds(lambda: fleet.metrics.page("", GZIP)))
        fleet.go_on()
        ours.append(await processor_seconds(fleet.metrics.page))
        theirs.append(await processor_seconds(lambda: in_loop(lambda: generate_latest(fleet.metrics.registry))))
    lines = sum(not line.startswith(b"#") for line in page.body.splitlines())
    what = f"{size.plans:,} plans, {size.environments} environments, {size.lanes} lanes: {lines:,} series"
    for name, seconds in (("", ours), (", compressed", packed)):
        found = statistics.median(seconds)
        report.add(
            f"processor's time of a scrape{name}, {what}, median",
            found * MILLISECONDS,
            "ms",
            reference="generate_latest",
            reference_value=statistics.median(theirs) * MILLISECONDS,
            goal=f"below {FLEET_SECONDS_MAX * MILLISECONDS:g} ms",
            met=found < FLEET_SECONDS_MAX,
        )


async def measure_series(report: Report, size: Size) -> None:
    """Everything changed since the last scrape, both sides by turns; and how long the loop is held by each."""
    sides = Sides(size.series)
    ours, theirs, held, held_theirs = [], [], [], []

    async def theirs_now() -> None:
        await in_loop(lambda: generate_latest(sides.registry))

    for _ in range(size.rounds):
        sides.change()
        ours.append(await wall_seconds(sides.metrics.page))
        theirs.append(await wall_seconds(theirs_now))
        sides.change()
        held.append(await longest_hold_seconds(sides.metrics.page))
        held_theirs.append(await longest_hold_seconds(theirs_now))
    value, reference = statistics.median(ours), statistics.median(theirs)
    report.add(
        f"{size.series:,} series, all changed, to the page",
        value * MILLISECONDS,
        "ms",
        reference="generate_latest",
        reference_value=reference * MILLISECONDS,
        goal=f"below {SERIES_SECONDS_MAX * MILLISECONDS:g} ms and at most half of generate_latest",
        met=value < SERIES_SECONDS_MAX and value <= reference / 2,
    )
    value, reference = statistics.median(held), statistics.median(held_theirs)
    report.add(
        f"longest that others in the loop wait while {size.series:,} series are written",
        value * MILLISECONDS,
        "ms",
        reference="generate_latest in the loop",
        reference_value=reference * MILLISECONDS,
        goal=f"below {HELD_SECONDS_MAX * MILLISECONDS:g} ms",
        met=value < HELD_SECONDS_MAX,
    )


# Made-up names -----------------------------------------------------------------------------------------------------------------------


async def measure_attack(report: Report, size: Size) -> None:
    """So many distinct names counted and collected: the page afterwards, and what the process holds for them."""
    family = Family("pymigrate_attacked_total", Kind.COUNTER, "Attacked.", ("plan",))
    shown = Family("pymigrate_attacked", Kind.GAUGE, "Attacked.", ("plan",))
    metrics = PrometheusMetrics(SystemClock())
    told = 0

    def attack() -> Iterator[Reading]:
        yield Reading(shown, (((f"plan-{told + at}",), 1.0) for at in range(size.names)))

    metrics.collect("attack", attack)

    def count(first: int, names: int) -> None:
        for at in range(first, first + names):
            metrics.add(family, (f"plan-{at}",))

    count(0, 2 * family.series_max)
    await metrics.page()
    before = resident_bytes()
    started = time.perf_counter()
    count(2 * family.series_max, size.names)
    each = (time.perf_counter() - started) / size.names
    seconds = []
    for _ in range(size.rounds):
        told += size.names
        seconds.append(await wall_seconds(metrics.page))
    grown = max(0, resident_bytes() - before)
    registry = CollectorRegistry()
    counter = Counter(family.name, family.about, family.labels, registry=registry)
    before = resident_bytes()
    for at in range(size.reference_names):
        counter.labels(f"plan-{at}").inc()
    reference_grown = max(1, resident_bytes() - before)
    reference_page = await wall_seconds(lambda: in_loop(lambda: generate_latest(registry)))
    found = statistics.median(seconds)
    print(f"a made-up name costs {each * 1e6:.2f} µs")
    report.add(
        f"the page after {size.names:,} made-up names, as many more told at each scrape",
        found * MILLISECONDS,
        "ms",
        reference=f"generate_latest with {size.reference_names:,} of them",
        reference_value=reference_page * MILLISECONDS,
        goal=f"below {ATTACK_SECONDS_MAX * MILLISECONDS:g} ms",
        met=found < ATTACK_SECONDS_MAX,
    )
    report.add(
        f"memory that {size.names:,} made-up names take",
        grown / 1e6,
        "MB",
        reference=f"prometheus-client with {size.reference_names:,} of them",
        reference_value=reference_grown / 1e6,
        goal=f"flat: below {ATTACK_BYTES_MAX / 1e6:g} MB",
        met=grown < ATTACK_BYTES_MAX,
    )


# A lane ------------------------------------------------------------------------------------------------------------------------------


async def measure_lane(report: Report, size: Size) -> None:
    """How long a lane's report takes while the page is scraped without a pause, and while it is not, by turns."""
    engine = Engine(real_clock=SystemClock())
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
    task = await host.claim()
    if task is None:
        raise AssertionError("there is no lane")
    sides = Sides(size.series)
    sides.change()
    counts = {"chunks": 0}

    async def reports() -> list[float]:
        found = []
        for _ in range(20):
            counts["chunks"] += 1
            found.append(await wall_seconds(lambda: host.report(task, counts["chunks"], counts["chunks"] * 10)))
            await asyncio.sleep(0.001)
        return found

    async def scrape() -> None:
        while True:
            await sides.metrics.page("", GZIP)

    scraped, alone = [], []
    for _ in range(size.rounds):
        alone += await reports()
        scraping = asyncio.create_task(scrape())
        scraped += await reports()
        scraping.cancel()
        await asyncio.gather(scraping, return_exceptions=True)
    value = percentile(scraped, 99)
    report.add(
        f"a lane's report while {size.series:,} series are scraped without a pause, p99",
        value * MILLISECONDS,
        "ms",
        reference="nobody scrapes",
        reference_value=percentile(alone, 99) * MILLISECONDS,
        goal=f"below {2 * HELD_SECONDS_MAX * MILLISECONDS:g} ms",
        met=value < 2 * HELD_SECONDS_MAX,
    )


# Measuring ---------------------------------------------------------------------------------------------------------------------------


async def in_loop(work: Callable[[], object]) -> None:
    """Does it in the loop, which waits for it."""
    work()


async def wall_seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def processor_seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How much of the processor's time it takes, on all threads."""
    started = time.process_time()
    await work()
    return time.process_time() - started


async def longest_hold_seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long somebody else in the loop, who wants nothing but to go on, waits at most meanwhile."""
    gaps = [0.0]

    async def go_on() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    going = asyncio.create_task(go_on())
    await asyncio.sleep(0)
    await work()
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    return max(gaps)


def resident_bytes() -> int:
    """What this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


async def measured(report: Report, size: Size) -> None:
    await measure_attack(report, size)
    await measure_fleet(report, size)
    await measure_series(report, size)
    await measure_lane(report, size)


def main() -> None:
    """Measures and keeps the figures."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    given = arguments(__doc__ or "")
    report = Report("scrape", ["prometheus-client", "uvloop"])
    size = TINY if given.tiny else QUICK if given.quick else FULL
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measured(report, size))
    report.write(given.results)


if __name__ == "__main__":
    main()
