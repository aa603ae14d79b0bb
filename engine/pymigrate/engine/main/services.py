"""The use cases of one engine, wired to each other and to its store: what its surfaces serve, and what it does on its own."""

import asyncio
import random
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.drawing import Drawers
from pymigrate.engine.adapters.patterns import Re2Patterns
from pymigrate.engine.application.access.bindings import Bindings
from pymigrate.engine.application.access.role_binding_writes import RoleBindingWrites
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.dashboards import Dashboards
from pymigrate.engine.application.followups import Followups
from pymigrate.engine.application.forecasts import Forecasts
from pymigrate.engine.application.gitops.applying import Applying
from pymigrate.engine.application.gitops.staged_templates import TemplateRendering
from pymigrate.engine.application.gitops.suspension import is_suspended
from pymigrate.engine.application.gitops.webhooks import Webhooks
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.housekeeping import Housekeeping
from pymigrate.engine.application.impacts import Bounds, Impacts
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.known_hosts import LeaseTerms
from pymigrate.engine.application.kpi_keeping import KpiKeeping
from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.measuring import Measuring
from pymigrate.engine.application.outlooks import Outlooks
from pymigrate.engine.application.probing import Probing
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.run_estimates import RunEstimates
from pymigrate.engine.application.run_traces import RunTraces
from pymigrate.engine.application.run_views import RunViews
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.application.short_tokens import TokenMaking
from pymigrate.engine.application.watching import Topics
from pymigrate.engine.domain.access import Grant
from pymigrate.engine.domain.schedule import Scheduler
from pymigrate.engine.entrypoints.authorized import Door, Guard
from pymigrate.engine.entrypoints.call_limits import CallLimits, Limiting, LimitTerms
from pymigrate.engine.entrypoints.call_stamps import Stamping
from pymigrate.engine.entrypoints.grpc.access import AccessCalls
from pymigrate.engine.entrypoints.grpc.connections import ConnectionCalls
from pymigrate.engine.entrypoints.grpc.declared import EnvironmentCalls
from pymigrate.engine.entrypoints.grpc.definitions import DefinitionCalls
from pymigrate.engine.entrypoints.grpc.impacts import ImpactCalls
from pymigrate.engine.entrypoints.grpc.kpis import KpiCalls
from pymigrate.engine.entrypoints.grpc.plans import PlanCalls
from pymigrate.engine.entrypoints.grpc.runs import RunCalls
from pymigrate.engine.entrypoints.grpc.secret_backends import SecretBackendCalls
from pymigrate.engine.entrypoints.grpc.server import descriptors
from pymigrate.engine.entrypoints.grpc.tokens import TokenCalls
from pymigrate.engine.entrypoints.grpc.workers import WorkerCalls
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.loops.supervisor import Supervisor
from pymigrate.engine.main.audit import AuditTrail
from pymigrate.engine.main.git_hooks import GitHooks
from pymigrate.engine.main.git_sources import GitSources
from pymigrate.engine.main.hosting import build_hosting
from pymigrate.engine.main.identity import WaysIn
from pymigrate.engine.main.instruments import measure_fleet, measure_hosts
from pymigrate.engine.main.notifications import Notifications
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings


class Services:
    """Built once for each engine. `restore` takes over what an earlier engine left before anything is served."""

    def __init__(
        self,
        settings: Settings,
        clock: SystemClock,
        store: Store,
        instruments: Instruments,
        ways_in: WaysIn,
        redactor: Redactor,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._surroundings = Surroundings(clock, random_id, Re2Patterns())
        self._tokens = TokenMaking(store, self._surroundings, ways_in.bearers.short_tokens)
        self._service_tokens = ways_in.service_tokens
        self._audit = AuditTrail(settings, store, clock)
        self._host_tokens, self._credentials = ways_in.host_tokens, ways_in.lane_credentials
        self._board = Board(store, clock, random.Random())
        self._kpis = FleetKpis(store, self._board, clock)
        if instruments.tracing.is_on:
            self._board.changes.follow(RunTraces(instruments.tracing).observe)
        self._board.on_work(self._tell_work)
        self._inquiries = Inquiries(random_id, self._tell_work)
        self._limits = LaneLimits(store, self._board, settings.lanes_max, clock)
        self._scheduler = Scheduler(random.Random())
        self._hosting = build_hosting(settings, clock, ways_in.host_tokens)
        self._executor = self._hosting.executor
        self._hosts = self._make_hosts()
        self._catalog, self._requests = Catalog(self._surroundings, is_suspended), Requests(clock)
        self._topics = Topics(clock)
        self._views = RunViews(self._board, self._scheduler, clock)
        self._runs = self._make_runs()
        self._drawers = Drawers()
        self._learning = Learning(store, clock)
        self._forecasts = Forecasts(store, self._board, self._limits, clock, self._drawers.draw)
        self._dashboards = Dashboards(store, self._kpis, self._limits, self._topics, clock, random_id())
        self._notifications = Notifications(
            settings,
            store,
            self._surroundings,
            instruments.metrics,
            self._board,
            self._kpis,
            self._limits,
            ways_in.host_tokens,
        )
        measuring = Measuring(store, Inspections(self._inquiries), Probing(self._inquiries, clock))
        bounds = Bounds(settings.lanes_max, settings.memory_bytes_max)
        draw = self._drawers.draw
        self._impacts = Impacts(store, self._catalog, measuring, self._surroundings, bounds, draw)
        self._git_sources = GitSources(
            settings, store, self._surroundings, self._catalog, self._board, self._runs, instruments.metrics, redactor
        )
        self._git_sources.passes.render_by(TemplateRendering(store, self._notifications.trying))
        self._git_hooks = GitHooks(settings, store, clock, self._git_sources, self._impacts, redactor)
        self._bindings = Bindings(store, clock)
        self._plugins = measure_fleet(instruments, self._board, self._kpis)
        measure_hosts(instruments.metrics, self._hosts, self._executor)

    def servicers(self) -> Mapping[str, Any]:
        """What is served, by the service's name, all of it behind the door."""
        servicers, settings, grants_of = self._servicers(), self._settings, self._bindings.grants_of
        terms = LimitTerms(
            settings.principal_calls_max, settings.principal_streams_max, settings.principal_calls_per_second_max
        )
        guards: list[Guard] = [Limiting(CallLimits(terms, self._clock), grants_of), Stamping()]
        return Door(grants_of, guards).wrapped(servicers, descriptors(servicers))

    def _servicers(self) -> Mapping[str, Any]:
        store, catalog, requests, bindings = self._store, self._catalog, self._requests, self._bindings
        runs = self._runs
        applying = Applying(catalog, self._surroundings)
        watching = KpiWatching(self._kpis, self._topics, random_id())
        return {
            "EnvironmentService": EnvironmentCalls(store, catalog, requests, bindings.grants_of),
            "ConnectionService": ConnectionCalls(store, catalog, requests, self._inquiries),
            "SecretBackendService": SecretBackendCalls(store, catalog, requests, self._inquiries),
            "DefinitionService": DefinitionCalls(
                store, applying, requests, self._notifications.trying, bindings.grants_of
            ),
            "PlanService": PlanCalls(store, catalog, requests, runs),
            "RunService": RunCalls(runs),
            "ImpactService": ImpactCalls(self._impacts, self._forecasts, self._learning),
            "KpiService": KpiCalls(self._kpis, watching, self._dashboards),
            "TokenService": TokenCalls(self._tokens),
            "AccessService": AccessCalls(
                self._service_tokens, RoleBindingWrites(store, catalog, requests, bindings), bindings.grants_of
            ),
            "WorkerService": WorkerCalls(self._hosts, self._host_tokens),
            "AuditService": self._audit.calls(),
            **self._notifications.servicers(catalog, requests),
            **self._git_sources.servicers(requests),
        }

    def grants_of(self, caller: Caller) -> Sequence[Grant]:
        """What a caller may do."""
        return self._bindings.grants_of(caller)

    def webhooks(self) -> Webhooks:
        """What hosts of repositories post to."""
        return self._git_hooks.webhooks

    async def restore(self) -> None:
        """Takes over what an earlier engine left."""
        await self._bindings.refresh()
        await self._tokens.restore()
        await self._board.restore()
        await self._hosts.restore()
        await self._kpis.restore()
        await self._git_sources.restore()
        await self._git_hooks.restore()

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What the engine does on its own, each until it is cancelled."""
        store, clock, settings = self._store, self._clock, self._settings
        estimates = RunEstimates(store, self._board, self._learning, settings.lanes_max, self._drawers.draw)
        followups = Followups(store, self._board, self._learning, estimates, clock)
        housekeeping = Housekeeping(store, self._requests, clock, settings.deliveries_kept_days, self._audit.retention)
        supervisor = Supervisor(
            self._hosts,
            followups,
            self._executor,
            housekeeping,
            clock,
            settings.hosts_shared_max,
            self._views,
            self._hosting.idling,
        )
        yield self._bindings.run_loop()
        yield from self._hosting.loops()
        yield supervisor.run()
        yield self._kpis.run_loop()
        yield KpiKeeping(store, self._kpis, clock).run_loop()
        yield Outlooks(store, self._kpis, self._forecasts, clock).run_loop()
        yield self._dashboards.run_loop()
        yield from (plugin.run() for plugin in self._plugins)
        yield from self._notifications.loops()
        yield from self._git_sources.loops()
        yield from self._git_hooks.loops()
        yield from self._audit.loops()

    async def drain(self) -> None:
        """Lets every host that does not outlive the engine reach a checkpoint, those too that an engine which was killed has left.
        Dispatchers end with what they have in hand."""
        hosts = self._executor.close([host.record for host in self._hosts.hosts()])
        await asyncio.gather(self._notifications.close(), self._git_sources.close(), self._git_hooks.close(), hosts)
        await self._audit.close()

    def close(self) -> None:
        """Gives up the processes and the watchers."""
        self._drawers.close()
        self._topics.close()

    def _make_hosts(self) -> Hosts:
        settings = self._settings
        terms = LeaseTerms(
            settings.lease_seconds,
            settings.heartbeat_seconds,
            settings.host_tasks_max,
            settings.memory_bytes_max,
            self._hosting.host_bytes_max,
        )
        return Hosts(
            self._store,
            self._board,
            self._inquiries,
            self._limits,
            self._surroundings,
            terms,
            self._scheduler,
            self._credentials,
        )

    def _make_runs(self) -> Runs:
        board, inquiries, catalog = self._board, self._inquiries, self._catalog
        return Runs(self._store, board, inquiries, catalog, self._surroundings, self._topics, self._views)

    def _tell_work(self) -> None:
        self._hosts.tell_work()
