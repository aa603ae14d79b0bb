"""The engine's metrics on prometheus-client, and their page, written by a writer of its own.

The writer keeps each series' name and labels as text and writes only values, in slices between which everything else in the loop goes
on. The same series stand in `registry`, for whatever else prometheus-client feeds.
"""

import asyncio
import gzip
from collections.abc import Iterable, Iterator

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector as RegistryCollector

from pymigrate.engine.adapters.metrics.negotiation import accepts_gzip, prefers_openmetrics
from pymigrate.engine.adapters.metrics.tables import CollectedTable, CountedTable, check_labels
from pymigrate.engine.adapters.metrics.text import (
    OPENMETRICS,
    OPENMETRICS_END,
    TEXT,
    base_name,
    head,
    number,
    openmetrics_head,
    unit_of,
)
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metric_families import COLLECTOR_DURATION, COLLECTOR_FAILURES, METRICS_OVERFLOW
from pymigrate.engine.ports.metrics import Collector, Family, Kind, Labels, Page, Reading

log = structlog.get_logger(__name__)
GZIP_LEVEL = 1

Table = CountedTable | CollectedTable
Block = tuple[Family, str]


def machine_registry() -> CollectorRegistry:
    """What prometheus-client knows of the process, the interpreter and its garbage collector."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class PrometheusMetrics:
    """Metrics and Exposition. `machine` is what of the page prometheus-client writes itself."""

    def __init__(self, clock: Clock, machine: CollectorRegistry | None = None) -> None:
        self._clock = clock
        self._machine = machine
        self._tables: dict[Family, Table] = {}
        self._families: dict[str, Family] = {}
        self._collectors: dict[str, Collector] = {}
        self._durations: dict[str, float] = {}
        self._failing: set[str] = set()
        self._pages = 0
        self._writing: asyncio.Task[list[Block]] | None = None
        self.registry = CollectorRegistry()
        self.registry.register(_Tables(self._tables))

    def add(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """As the port says."""
        self._counted(family).add(labels, amount)

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """As the port says."""
        self._counted(family).observe(labels, value)

    def forget(self, family: Family, label: str, value: str) -> None:
        """As the port says."""
        self._counted(family).forget(label, value)

    def collect(self, name: str, collector: Collector) -> None:
        """As the port says; a later one takes the place of an earlier one of its name."""
        self._collectors[name] = collector
        self.add(COLLECTOR_FAILURES, (name,), 0)

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        """As the port says."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        blocks = await asyncio.shield(self._writing)
        is_openmetrics = prefers_openmetrics(accept)
        body = self._whole(blocks, is_openmetrics)
        kind = OPENMETRICS if is_openmetrics else TEXT
        if not accepts_gzip(accept_encoding):
            return Page(body, kind)
        return Page(await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL, mtime=0), kind, "gzip")

    def _whole(self, blocks: Iterable[Block], is_openmetrics: bool) -> bytes:
        heading = openmetrics_head if is_openmetrics else head
        text = "".join([part for family, lines in blocks for part in (heading(family), lines)]).encode()
        if self._machine is None:
            return text + OPENMETRICS_END.encode() if is_openmetrics else text
        if is_openmetrics:
            own: bytes = generate_openmetrics(self._machine)  # type: ignore[no-untyped-call]  # it takes a registry
            return text + own
        return text + generate_latest(self._machine)

    async def _write(self) -> list[Block]:
        """The samples of every family that has any."""
        self._pages += 1
        for table in list(self._tables.values()):  # another thread may count into a new one meanwhile
            if isinstance(table, CollectedTable):
                table.begin(self._pages)
        for name, collector in list(self._collectors.items()):
            began = self._clock.monotonic()
            await self._read(name, collector)
            self._durations[name] = self._clock.monotonic() - began
        await self._take(Reading(COLLECTOR_DURATION, [((name,), took) for name, took in self._durations.items()]))
        blocks: list[Block] = []
        for table in list(self._tables.values()):
            if lines := table.text():
                blocks.append((table.family, lines))
                await self._clock.sleep(0)
        return blocks

    async def _read(self, name: str, collector: Collector) -> None:
        try:
            for reading in collector():
                await self._take(reading)
        except Exception as error:
            self.add(COLLECTOR_FAILURES, (name,))
            if name not in self._failing:
                self._failing.add(name)
                log.exception("collector.failed", collector=name, error=type(error).__name__)
        else:
            self._failing.discard(name)

    async def _take(self, reading: Reading) -> None:
        for _ in self._collected(reading.family).take(reading.values):
            await self._clock.sleep(0)
        await self._clock.sleep(0)

    def _counted(self, family: Family) -> CountedTable:
        table = self._tables.get(family)
        if table is None:
            self._admit(family)
            # What is beyond the budget of this one family is told by it already.
            on_overflow = _nothing if family is METRICS_OVERFLOW else self._on_overflow(family)
            table = self._tables.setdefault(family, CountedTable(family, on_overflow))
        if not isinstance(table, CountedTable):
            raise ValueError(f"{family.name} is collected: it can't be counted too")
        return table

    def _collected(self, family: Family) -> CollectedTable:
        table = self._tables.get(family)
        if table is None:
            self._admit(family)
            made = CollectedTable(family, self._on_overflow(family))
            made.begin(self._pages)
            table = self._tables.setdefault(family, made)
        if not isinstance(table, CollectedTable):
            raise ValueError(f"{family.name} is counted: it can't be collected too")
        return table

    def _admit(self, family: Family) -> None:
        check_labels(family)
        if self._families.setdefault(family.name, family) is not family:
            raise ValueError(f"there are two families named {family.name}")

    def _on_overflow(self, family: Family) -> "_Overflow":
        return _Overflow(self, family.name)


class _Overflow:
    """Counts what is beyond a family's budget."""

    def __init__(self, metrics: PrometheusMetrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def __call__(self, values: int) -> None:
        """So many values more."""
        self._metrics.add(METRICS_OVERFLOW, (self._name,), values)


def _nothing(_: int) -> None:
    pass


class _Tables(RegistryCollector):
    """The series in prometheus-client's own classes; collected ones as the last page told them."""

    def __init__(self, tables: dict[Family, Table]) -> None:
        self._tables = tables

    def collect(self) -> Iterator[Metric]:
        """Every family that has series."""
        for table in list(self._tables.values()):
            found = _metric(table)
            if found.samples:
                yield found


def _metric(table: Table) -> Metric:
    family, unit = table.family, unit_of(table.family)
    name, about, labels = base_name(family), family.about, family.labels
    match family.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(name, about, labels=labels, unit=unit)
            bounds = [*map(number, family.buckets), "+Inf"]
            for values, counts, total in table.distributions() if isinstance(table, CountedTable) else ():
                histogram.add_metric(values, list(zip(bounds, map(float, counts), strict=True)), total)
            return histogram
        case Kind.COUNTER:
            counter = CounterMetricFamily(name, about, labels=labels, unit=unit)
            for values, value in table.values():
                counter.add_metric(values, value)
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(name, about, labels=labels, unit=unit)
            for values, value in table.values():
                gauge.add_metric(values, value)
            return gauge
