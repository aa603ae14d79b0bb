"""The process of the Kubernetes operator: `pymigrate operator`. It opens no store: it is a client of the engine and of the cluster.

Of several one leads, by a Lease. One that leads no longer ends at once with EXIT_LOST, so that nothing of it goes on; whoever runs it
starts it again, and it waits for its turn.
"""

import pymigrate.engine.main.plain_logging  # noqa: F401  (before anything imports structlog)

# isort: split
import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable

import structlog

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.adapters.metrics.prometheus import PrometheusMetrics, machine_registry
from pymigrate.engine.application.caller import random_id
from pymigrate.engine.application.clusters.election import Election, LeadershipLost
from pymigrate.engine.application.clusters.leading import LedCluster
from pymigrate.engine.entrypoints.engine_access import EngineAccess
from pymigrate.engine.entrypoints.operator.engine import EngineCalls
from pymigrate.engine.entrypoints.operator.figures import OperatorFigures
from pymigrate.engine.entrypoints.operator.operator import Operator, OperatorOptions
from pymigrate.engine.entrypoints.operator.probes import ProbeServer
from pymigrate.engine.entrypoints.operator.runs import Runs
from pymigrate.engine.main.collecting import collect_seldom
from pymigrate.engine.main.operator_admission import OperatorAdmission
from pymigrate.engine.main.operator_settings import OperatorSettings
from pymigrate.engine.main.process import begin
from pymigrate.engine.main.told_addresses import reached_at, tell, tell_no_more
from pymigrate.engine.settings import Settings

log = structlog.get_logger(__name__)
EXIT_LOST = 75
ENDPOINT = "operator-endpoint"


async def serve(settings: Settings, given: OperatorSettings) -> None:
    """Works until SIGTERM or SIGINT. Raises ClusterMisconfigured, and PermanentError where the address is taken."""
    ending, clock = asyncio.Event(), SystemClock()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    metrics = PrometheusMetrics(clock, machine_registry())
    figures = OperatorFigures(metrics)
    cluster = KubernetesCluster.open(given.kubeconfig, clock=clock, on_call=figures.cluster_called)
    election = Election(
        cluster,
        clock,
        random.Random(),
        namespace=given.lease_namespace or cluster.namespace,
        name=given.lease,
        identity=f"{socket.gethostname()}_{random_id()}",
        lost=_end_hard,
    )

    def require_leading() -> None:
        if not election.is_leading():
            _end_hard()
            raise LeadershipLost("another operator leads")

    engine = EngineCalls(EngineAccess.of(settings.home, os.environ), require_leading, figures.engine_called)
    options = OperatorOptions(rule=given.environments, namespace=given.namespace, workers=given.workers)
    led = LedCluster(cluster, require_leading)
    operator = Operator(led, engine, clock, random.Random(), options, Runs, on_worked=figures.worked)
    metrics.collect("operator", lambda: figures.read(operator, is_leading=election.is_leading()))
    probes = ProbeServer(lambda: "", _readiness(operator, election), metrics)
    admission = OperatorAdmission(settings, given, engine)
    told = ""
    try:
        told = await _tell_probes(probes, settings, given)
        await admission.start()
        collect_seldom()
        await _lead(election, operator, ending)
    finally:
        await admission.stop()
        await probes.stop()
        await engine.close()
        await cluster.close()
        tell_no_more(settings.home / ENDPOINT, told)
    log.info("operator.stopped")


async def _tell_probes(probes: ProbeServer, settings: Settings, given: OperatorSettings) -> str:
    """Where they are reached, as the home tells it; empty: they are not served."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    told = ""
    if given.listen:
        told = reached_at(given.listen, await probes.start(given.listen))
        tell(settings.home / ENDPOINT, told)
    log.info("operator.started", namespace=given.namespace or "all", listen=given.listen)
    return told


async def _lead(election: Election, operator: Operator, ending: asyncio.Event) -> None:
    """Waits for its turn and works, until the end."""
    leading = asyncio.ensure_future(election.run(lambda: operator.run(ending)))
    ended = asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait((leading, ended), return_when=asyncio.FIRST_COMPLETED)
        if not leading.done() and not election.is_leading():
            return  # it never was its turn
        await leading
    finally:
        for each in (leading, ended):
            each.cancel()
        await asyncio.gather(leading, ended, return_exceptions=True)


def _readiness(operator: Operator, election: Election) -> Callable[[], str]:
    """One that waits for its turn is ready, and so is one that leads as soon as it knows what there is. A kind that the cluster does not
    have keeps it from nothing."""

    def trouble() -> str:
        if not election.is_leading():
            return ""
        unknown = [
            word
            for word, mirror in operator.mirrors.items()
            if not mirror.is_synced and (mirror.trouble is None or mirror.trouble.is_temporary)
        ]
        return f"not listed yet: {', '.join(unknown)}" if unknown else ""

    return trouble


def _end_hard() -> None:
    """At once, with nothing that is still to be done."""
    log.error("leadership.lost", exit_code=EXIT_LOST)
    os._exit(EXIT_LOST)


def run(settings: Settings, given: OperatorSettings) -> None:
    """Works in this process, on uvloop."""
    import uvloop

    begin(settings.log_level, settings.token_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, given))
