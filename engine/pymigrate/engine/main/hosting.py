"""What runs worker hosts: built of the settings, with what differs between processes and Jobs.

A cluster's client is imported only where hosts are Jobs.
"""

import random
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE
from pymigrate.engine.entrypoints.loops.idle_hosts import Idling
from pymigrate.engine.main.kubernetes_settings import GRACE_FACTOR, KubernetesSettings, owner_reference
from pymigrate.engine.ports.executor import Executor
from pymigrate.engine.settings import Settings

IDLE_SECONDS_OF_JOBS = 300.0


@dataclass(frozen=True, slots=True)
class Hosting:
    """An executor, what it must have running, and the terms under which its hosts live."""

    executor: Executor
    idling: Idling
    host_bytes_max: int = 0
    work: tuple[Any, ...] = field(default=())

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What the executor does on its own, each until it is cancelled."""
        yield from (run() for run in self.work)


def build_hosting(settings: Settings, clock: SystemClock, tokens: HostTokens) -> Hosting:
    """The executor that the settings name. Raises PyMigrateError for settings that contradict each other or what must hold."""
    if settings.executor == "kubernetes":
        return _jobs(settings, KubernetesSettings(), clock)
    environment = settings.host_environment | settings.client_environment
    idling = Idling(settings.hosts_idle_seconds, settings.hosts_shared_min)

    def own(host: str, affinity: str) -> Mapping[str, str]:
        return {HOST_TOKEN_VARIABLE: tokens.for_host(host, affinity)}

    executor = LocalExecutor(settings.home, settings.drain_seconds, environment, own, settings.withheld_variables)
    return Hosting(executor, idling)


def _jobs(settings: Settings, given: KubernetesSettings, clock: SystemClock) -> Hosting:
    from pymigrate.engine.adapters.executors.kubernetes import KubernetesExecutor
    from pymigrate.engine.adapters.executors.kubernetes_jobs import JobTerms
    from pymigrate.engine.adapters.executors.kubernetes_template import (
        PodTerms,
        memory_limit_bytes,
        pod_template,
        read_template,
    )
    from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster

    template = read_template(given.pod_template)
    memory_bytes = memory_limit_bytes(template) or given.memory_bytes
    grace_seconds = int(settings.drain_seconds * GRACE_FACTOR) + 5
    pod = pod_template(template, PodTerms(given.image, given.engine_secret, memory_bytes, grace_seconds))
    cluster = KubernetesCluster.open(given.kubeconfig, clock=clock)
    terms = JobTerms(
        settings.instance,
        given.namespace or cluster.namespace,
        pod,
        settings.drain_seconds,
        given.ttl_seconds,
        given.deadline_seconds,
        owner_reference(given.owner),
        settings.host_environment,
    )
    executor = KubernetesExecutor(cluster, terms, clock, random.Random(), given.start_seconds)

    async def run() -> None:
        try:
            await executor.run()
        finally:
            await cluster.close()

    seconds = IDLE_SECONDS_OF_JOBS if settings.hosts_idle_seconds is None else settings.hosts_idle_seconds
    return Hosting(executor, Idling(seconds, settings.hosts_shared_min), memory_bytes, (run,))
