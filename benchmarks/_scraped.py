"""Scenes of the page of metrics: a fleet that goes on, and the same series here and in prometheus-client's own classes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics, machine_registry
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.fleet_counters import FleetCounters
from pymigrate.engine.application.fleet_metrics import FleetMetrics
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.domain.kpi_outlook import End, Outlook, RiskLevel, RunOutlook
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.ports.metric_families import WORK_BUCKETS
from pymigrate.engine.ports.metrics import Family, Kind, Labels, Reading
from pymigrate.engine.testing.store import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
PHASES = 5
ROWS = 10_000_000
SECONDS = Quantiles(3_600.0, 4_000.0)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    plans: int
    environments: int
    lanes: int
    series: int
    names: int
    reference_names: int
    rounds: int


class Fleet:
    """Plans of which so many are under way with a lane each, told as the stream of changes tells them."""

    def __init__(self, size: Size) -> None:
        self.metrics = PrometheusMetrics(SystemClock(), machine_registry())
        self._board = Board(MemoryStore(), SystemClock(), random.Random(1))
        self._kpis = kpis = FleetKpis(MemoryStore(), self._board, SystemClock())
        counters = FleetCounters(self.metrics)
        self._board.changes.follow(counters.observe)
        FleetMetrics(kpis, counters).tell(self.metrics)
        self._time = datetime.now(UTC)
        self._lanes: list[tuple[str, Lane]] = []
        for at in range(size.plans):
            self._begin(f"environments/env-{at % size.environments}/plans/plan-{at:04d}", is_active=at < size.lanes)

    def go_on(self) -> None:
        """Every lane gets further."""
        self._time += timedelta(seconds=1)
        for run, lane in self._lanes:
            lane.rows += 1_000
            lane.bytes += 100_000
            lane.chunks += 1
            lane.version += 1
            self._board.changes.tell(Change(run, self._time, (lane,)))

    def _begin(self, plan: str, *, is_active: bool) -> None:
        name = f"{plan}/runs/first"
        state = RunState.RUNNING if is_active else RunState.SUCCEEDED
        run = Run(name, plan, "k", "h", START, "api", state=state, version=1)
        run.end_time = None if is_active else START + timedelta(hours=1)
        entities: list[Entity] = [run]
        for number in range(PHASES):
            phase_state = PhaseState.PUBLISHED
            if is_active:
                phase_state = PhaseState.STAGING if number == 0 else PhaseState.PENDING
            phase = PhaseRun(f"phase-{number}", f"department-{number}", state=phase_state, start_time=START, version=1)
            dataset = DatasetRun(phase.id, "rows", "a", "rows", "b", "rows", "shared", rows_expected=ROWS, version=1)
            is_running = is_active and number == 0
            lane_state = LaneState.RUNNING if is_running else LaneState.PENDING if is_active else LaneState.DONE
            lane = Lane(f"{phase.id}.rows", phase.id, "rows", rows_expected=ROWS, state=lane_state, version=1)
            if is_running:
                self._lanes.append((name, lane))
            entities += [phase, dataset, lane]
        self._board.changes.tell(Change(name, self._time, tuple(entities), is_whole=True))
        expected = Outlook(3_600.0, RiskLevel.LOW, (), End(self._time, self._time), SECONDS, SECONDS, 3_700.0)
        phases = {f"phase-{number}": expected for number in range(PHASES)}
        self._kpis.put_outlook(name, RunOutlook(expected, phases, is_final=not is_active))


class Sides:
    """As many series here and in prometheus-client's own classes: half of them gauges, a fifth counters, the rest histograms."""

    def __init__(self, series: int) -> None:
        self.metrics = PrometheusMetrics(SystemClock())
        self.registry = CollectorRegistry()
        self._rng = random.Random(3)
        gauges, counters = series // 2 // 5, series // 5 // 2
        histograms = max(1, (series - 5 * gauges - 2 * counters) // (len(WORK_BUCKETS) + 3))
        plan, department = ("environment", "plan"), ("environment", "department")
        self._shown = [Family(f"pymigrate_shown_{at}_bytes", Kind.GAUGE, "Shown.", plan, series) for at in range(5)]
        self._counted = [
            Family(f"pymigrate_counted_{at}_total", Kind.COUNTER, "Counted.", department) for at in range(2)
        ]
        self._timed = Family(
            "pymigrate_timed_seconds", Kind.HISTOGRAM, "Timed.", ("method", "route"), buckets=WORK_BUCKETS
        )
        self._shown_theirs = [Gauge(each.name, each.about, plan, registry=self.registry) for each in self._shown]
        self._counted_theirs = [
            Counter(each.name, each.about, department, registry=self.registry) for each in self._counted
        ]
        timed = self._timed
        self._timed_theirs = Histogram(
            timed.name, timed.about, timed.labels, registry=self.registry, buckets=WORK_BUCKETS
        )
        self._plans = [(f"env-{at % 10}", f"plan-{at:04d}") for at in range(gauges)]
        self._departments = [(f"env-{at % 10}", f"department-{at:04d}") for at in range(counters)]
        self._routes = [("GET", f"/v1/route/{at:04d}") for at in range(histograms)]
        self._values: list[list[tuple[Labels, float]]] = [[] for _ in self._shown]
        self.metrics.collect("shown", self._read)

    def change(self) -> None:
        """Gives every series another value, on both sides."""
        for at, theirs in enumerate(self._shown_theirs):
            self._values[at] = [(labels, float(self._rng.randrange(10_000_000))) for labels in self._plans]
            for labels, value in self._values[at]:
                theirs.labels(*labels).set(value)
        for family, counter in zip(self._counted, self._counted_theirs, strict=True):
            for labels in self._departments:
                amount = self._rng.random() * 1_000
                self.metrics.add(family, labels, amount)
                counter.labels(*labels).inc(amount)
        for labels in self._routes:
            value = self._rng.random() * 1_000
            self.metrics.observe(self._timed, labels, value)
            self._timed_theirs.labels(*labels).observe(value)

    def _read(self) -> Iterator[Reading]:
        for family, values in zip(self._shown, self._values, strict=True):
            yield Reading(family, values)
