"""What the engine measures itself with: metrics on prometheus-client, and what is read of the engine's own parts at each scrape."""

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points, version

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.metrics.plugin_process import PluginProcess, command_of
from pymigrate.engine.adapters.metrics.plugins import PluginCollector
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics, machine_registry
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.fleet_counters import FleetCounters
from pymigrate.engine.application.fleet_metrics import FleetMetrics
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.ports.business_metrics import ENTRY_POINTS
from pymigrate.engine.ports.metric_families import BUILD_INFO, HOSTS
from pymigrate.engine.ports.metrics import Metrics, Reading
from pymigrate.engine.ports.tracing import Tracing


def build_instruments(clock: SystemClock, tracing: Tracing, clean: Callable[[str], str]) -> Instruments:
    """The instruments of one engine."""
    metrics = PrometheusMetrics(clock, machine_registry())
    metrics.collect("build", lambda: [Reading(BUILD_INFO, [((version("pymigrate"),), 1.0)])])
    return Instruments(metrics, metrics, clock, tracing, clean)


def measure_fleet(instruments: Instruments, board: Board, kpis: FleetKpis) -> list[PluginCollector]:
    """Counts what happens in runs, and tells where the fleet stands; the plugins that make business metrics of it, each to be run."""
    metrics, clock = instruments.metrics, instruments.clock
    counters = FleetCounters(metrics)
    board.changes.follow(counters.observe)
    fleet = FleetMetrics(kpis, counters)
    fleet.tell(metrics)
    names = sorted({point.name for point in entry_points(group=ENTRY_POINTS)})
    return [PluginCollector(name, PluginProcess(command_of(name)), metrics, clock, fleet.figures) for name in names]


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
