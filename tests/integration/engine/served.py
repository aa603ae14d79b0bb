"""An engine that serves on a real socket from a thread of this process: the store in memory, the hosts by script."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey, fresh_pem
from pymigrate.engine.application.access.bindings import Bindings
from pymigrate.engine.application.access.role_binding_writes import RoleBindingWrites
from pymigrate.engine.application.access.service_tokens import ServiceTokens
from pymigrate.engine.application.audit.exporting import AuditExport
from pymigrate.engine.application.audit.listing import AuditListing
from pymigrate.engine.application.audit.noting import Noting
from pymigrate.engine.application.audit.proving import ProvedTrail
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.engine.application.caller import Surroundings, random_id
from pymigrate.engine.application.gitops.applying import Applying
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.application.kpi_watching import KpiWatching
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.short_tokens import TokenMaking
from pymigrate.engine.entrypoints.authorized import Door
from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.grpc.access import AccessCalls
from pymigrate.engine.entrypoints.grpc.audit import AuditCalls, AuditUses
from pymigrate.engine.entrypoints.grpc.connections import ConnectionCalls
from pymigrate.engine.entrypoints.grpc.declared import EnvironmentCalls
from pymigrate.engine.entrypoints.grpc.definitions import DefinitionCalls
from pymigrate.engine.entrypoints.grpc.git_sources import GitSourceCalls
from pymigrate.engine.entrypoints.grpc.impacts import ImpactCalls
from pymigrate.engine.entrypoints.grpc.kpis import KpiCalls
from pymigrate.engine.entrypoints.grpc.plans import PlanCalls
from pymigrate.engine.entrypoints.grpc.runs import RunCalls
from pymigrate.engine.entrypoints.grpc.secret_backends import SecretBackendCalls
from pymigrate.engine.entrypoints.grpc.server import Server, descriptors
from pymigrate.engine.entrypoints.grpc.tokens import TokenCalls
from pymigrate.engine.entrypoints.grpc.workers import WorkerCalls
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.noted_calls import noted
from pymigrate.engine.main.notifications import Notifications
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.settings import Settings
from pymigrate.engine.testing.hosts import Outcome, ScriptedHost, done
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.repositories import MemoryRepositories
from pymigrate.v1 import worker_pb2
from tests.unit.application.engines import Engine
from tests.unit.application.gitops.sourced import SourceParts

TOKEN = "a-token-of-the-test"
BEARERS = Bearers(TOKEN, SystemClock())
SECONDS_MAX = 60.0
AFFINITIES = ("shared@e", "file:/warehouse.duckdb@e")
Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=Message)


class ServedEngine:
    """Serves from its start to its end; `start` again is the same engine after a break, on the same port."""

    def __init__(self, home: Path, spans: CallSpans | None = None) -> None:
        self.home = home
        self._spans = spans
        self.audit_key = Ed25519SealingKey.from_pem(fresh_pem(), "a test")
        self.port = 0
        self.outcomes: dict[str, Outcome] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served-engine")
        self._thread.start()
        self.engine: Engine = self.do(self._make())
        surroundings, settings = Surroundings(SystemClock(), random_id), Settings(home=home)
        engine = self.engine
        self.host_tokens = HostTokens(TOKEN, SystemClock())
        self.service_tokens = ServiceTokens(engine.store, surroundings)
        self.bearers = Bearers(TOKEN, SystemClock(), (self.service_tokens, self.host_tokens))
        self.bearers.short_tokens = BEARERS.short_tokens  # other surfaces of the same engine know them too
        self.bindings = Bindings(engine.store, SystemClock())
        self.repositories = MemoryRepositories()
        self.git_sources = SourceParts(
            engine.store,
            engine.surroundings,
            engine.catalog,
            self.repositories,
            engine.runs,
            Redactor(),
            engine.board,
        )
        self.notifications = Notifications(
            settings,
            engine.store,
            surroundings,
            MemoryMetrics(),
            engine.board,
            engine.kpis,
            engine.limits,
            self.host_tokens,
        )

    @property
    def endpoint(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serves, with hosts at work."""
        self.do(self._start())
        (self.home / "endpoint").write_text(f"{self.endpoint}\n")
        (self.home / "token").write_text(f"{TOKEN}\n")

    def stop(self) -> None:
        """Ends every call."""
        self.do(self._stop())

    def close(self) -> None:
        """Ends the thread."""
        self.do(self.notifications.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    def client(self, side: str = "cli") -> Client:
        """A client that speaks for a side."""
        client = Client(self.endpoint, TOKEN)
        client.metadata = (("authorization", f"Bearer {TOKEN}"), ("pymigrate-managed-by", side))
        return client

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does something on the engine's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_MAX)

    def script(self, task: worker_pb2.Task) -> Outcome:
        """What a test put into `outcomes`, by kind of work and dataset, else that all went well."""
        kind = task.WhichOneof("work") or ""
        for key in (kind, f"{kind} {_dataset(task)}"):
            if key in self.outcomes:
                return self.outcomes[key]
        return done(task)

    async def _make(self) -> Engine:
        return Engine(real_clock=SystemClock())

    async def _start(self) -> None:
        engine = self.engine
        requests, surroundings = Requests(SystemClock()), Surroundings(SystemClock(), random_id)
        served = {
            "EnvironmentService": EnvironmentCalls(engine.store, engine.catalog, requests, self.bindings.grants_of),
            "ConnectionService": ConnectionCalls(engine.store, engine.catalog, requests, engine.inquiries),
            "SecretBackendService": SecretBackendCalls(engine.store, engine.catalog, requests, engine.inquiries),
            "DefinitionService": DefinitionCalls(
                engine.store,
                Applying(engine.catalog, surroundings),
                requests,
                self.notifications.trying,
                self.bindings.grants_of,
            ),
            "PlanService": PlanCalls(engine.store, engine.catalog, requests, engine.runs),
            "RunService": RunCalls(engine.runs),
            "ImpactService": ImpactCalls(engine.impacts, engine.forecasts, engine.learning),
            "KpiService": KpiCalls(engine.kpis, KpiWatching(engine.kpis, engine.topics, "start"), engine.dashboards),
            "AccessService": AccessCalls(
                self.service_tokens,
                RoleBindingWrites(engine.store, engine.catalog, requests, self.bindings),
                self.bindings.grants_of,
            ),
            "TokenService": TokenCalls(TokenMaking(engine.store, surroundings, BEARERS.short_tokens)),
            "GitSourceService": GitSourceCalls(
                engine.store, engine.catalog, requests, self.git_sources.sources, self.git_sources.bells
            ),
            "WorkerService": WorkerCalls(engine.hosts, self.host_tokens),
            "AuditService": AuditCalls(
                AuditUses(
                    AuditListing(engine.store, self.audit_key.public_key),
                    AuditExport(engine.store, SystemClock(), self.audit_key.public_key, "here"),
                    ProvedTrail(Verifying(engine.store, self.audit_key.is_signed)),
                )
            ),
            **self.notifications.servicers(engine.catalog, requests),
        }
        let_in = Door(self.bindings.grants_of).wrapped(served, descriptors(served))
        self.servicers = noted(let_in, descriptors(let_in), Noting(engine.store, SystemClock()))
        self.server = Server(self.servicers, self.bearers, spans=self._spans)
        self.port = await self.server.start(f"127.0.0.1:{self.port}")
        await self.server.tell_ready()
        hosts = [
            ScriptedHost(engine.hosts, f"workerHosts/h{at}", pid=at, affinity=affinity, script=self.script)
            for at, affinity in enumerate(AFFINITIES, 1)
        ]
        self._working = [asyncio.create_task(host.serve()) for host in hosts]
        self._working.append(asyncio.create_task(self.git_sources.loop.run()))
        self._working.append(asyncio.create_task(self.git_sources.reversing.run_loop()))

    async def _stop(self) -> None:
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await self.server.stop(0)


def _dataset(task: worker_pb2.Task) -> str:
    match task.WhichOneof("work"):
        case "copy":
            return task.copy.dataset.dataset_id
        case "inspect":
            return task.inspect.dataset.dataset_id
        case "verify":
            return task.verify.dataset.dataset_id
        case _:
            return ""


def ask(client: Client, call: Callable[..., Answer], request: Message) -> Answer:
    """Calls as the client's side, with a deadline."""
    return call(request, metadata=client.metadata, timeout=SECONDS_MAX)
