"""What the engine measures itself with: metrics on prometheus-client, and what is read of the engine's own parts at each scrape."""

from collections.abc import Iterator
from importlib.metadata import version

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics, machine_registry
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.fleet_counters import FleetCounters
from pymigrate.engine.application.fleet_metrics import FleetMetrics
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.ports.metric_families import BUILD_INFO, HOSTS
from pymigrate.engine.ports.metrics import Metrics, Reading
from pymigrate.engine.ports.tracing import Tracing


def build_instruments(clock: SystemClock, tracing: Tracing) -> Instruments:
    """The instruments of one engine."""
    metrics = PrometheusMetrics(clock, machine_registry())
    metrics.collect("build", lambda: [Reading(BUILD_INFO, [((version("pymigrate"),), 1.0)])])
    return Instruments(metrics, metrics, clock, tracing)


def measure_fleet(metrics: Metrics, board: Board, kpis: FleetKpis) -> None:
    """Counts what happens in runs, and tells where the fleet stands."""
    counters = FleetCounters(metrics)
    board.changes.follow(counters.observe)
    FleetMetrics(kpis, counters).tell(metrics)


def measure_hosts(metrics: Metrics, hosts: Hosts) -> None:
    """Tells the worker hosts: those that have work, those that have none, and those that an earlier engine started and that have not
    registered with this one yet."""

    def read() -> Iterator[Reading]:
        known = hosts.hosts()
        absent = sum(not host.is_registered for host in known)
        working = sum(host.is_registered and bool(host.tasks) for host in known)
        counts = {"absent": absent, "working": working, "idle": len(known) - absent - working}
        yield Reading(HOSTS, [((state,), count) for state, count in counts.items()])

    metrics.collect("hosts", read)
