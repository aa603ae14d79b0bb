"""What the engine measures itself with: metrics on prometheus-client, and what is read of the engine's own parts at each scrape."""

from collections import Counter
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
from pymigrate.engine.application.known_hosts import HOST_STATES
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.ports.business_metrics import ENTRY_POINTS
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.ports.metric_families import BUILD_INFO, HOST_TROUBLES, HOSTS
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


def measure_hosts(metrics: Metrics, hosts: Hosts, executor: Executor) -> None:
    """Tells the worker hosts of each environment that has any, by their state, and why hosts do not come."""

    def read() -> Iterator[Reading]:
        counts = Counter((host.environment, host.state) for host in hosts.hosts())
        environments = sorted({environment for environment, _ in counts})
        yield Reading(HOSTS, [((each, state), counts[each, state]) for each in environments for state in HOST_STATES])

        troubles = Counter(
            (affinity.rpartition("@")[2], failure.reason)
            for affinity, found in executor.troubles().items()
            for failure in found
        )
        yield Reading(HOST_TROUBLES, sorted(troubles.items()))

    metrics.collect("hosts", read)
