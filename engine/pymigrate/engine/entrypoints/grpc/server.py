"""The gRPC server: the contract's services behind one interceptor, with health and reflection."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.call_spans import CallSpans
from pymigrate.engine.entrypoints.grpc.channel import MESSAGE_BYTES_MAX
from pymigrate.engine.entrypoints.grpc.interceptors import CallInterceptor
from pymigrate.engine.entrypoints.grpc.latency import LatencyInterceptor
from pymigrate.engine.entrypoints.grpc.tracing import TraceInterceptor
from pymigrate.engine.entrypoints.identity import Identifies
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from pymigrate.v1 import (
    access_pb2,
    access_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    connection_pb2,
    connection_pb2_grpc,
    definition_pb2,
    definition_pb2_grpc,
    environment_pb2,
    environment_pb2_grpc,
    git_source_pb2,
    git_source_pb2_grpc,
    impact_pb2,
    impact_pb2_grpc,
    kpi_pb2,
    kpi_pb2_grpc,
    notification_pb2,
    notification_pb2_grpc,
    plan_pb2,
    plan_pb2_grpc,
    run_pb2,
    run_pb2_grpc,
    secret_backend_pb2,
    secret_backend_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
    worker_pb2,
    worker_pb2_grpc,
)

CALLS_AT_ONCE_MAX = 2_000
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
    # A token of the size that is looked at, with all else that comes with a call; beyond the first, calls are refused at random.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
)
# Who is on another machine may go without a word, and its streams would stay for a quarter of an hour.
REMOTE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
ADDERS: Mapping[str, tuple[Any, Any]] = {
    "EnvironmentService": (environment_pb2, environment_pb2_grpc.add_EnvironmentServiceServicer_to_server),
    "ConnectionService": (connection_pb2, connection_pb2_grpc.add_ConnectionServiceServicer_to_server),
    "SecretBackendService": (
        secret_backend_pb2,
        secret_backend_pb2_grpc.add_SecretBackendServiceServicer_to_server,
    ),
    "DefinitionService": (definition_pb2, definition_pb2_grpc.add_DefinitionServiceServicer_to_server),
    "PlanService": (plan_pb2, plan_pb2_grpc.add_PlanServiceServicer_to_server),
    "RunService": (run_pb2, run_pb2_grpc.add_RunServiceServicer_to_server),
    "ImpactService": (impact_pb2, impact_pb2_grpc.add_ImpactServiceServicer_to_server),
    "KpiService": (kpi_pb2, kpi_pb2_grpc.add_KpiServiceServicer_to_server),
    "TokenService": (token_pb2, token_pb2_grpc.add_TokenServiceServicer_to_server),
    "NotificationService": (notification_pb2, notification_pb2_grpc.add_NotificationServiceServicer_to_server),
    "DispatchService": (notification_pb2, notification_pb2_grpc.add_DispatchServiceServicer_to_server),
    "GitSourceService": (git_source_pb2, git_source_pb2_grpc.add_GitSourceServiceServicer_to_server),
    "AccessService": (access_pb2, access_pb2_grpc.add_AccessServiceServicer_to_server),
    "AuditService": (audit_pb2, audit_pb2_grpc.add_AuditServiceServicer_to_server),
    "WorkerService": (worker_pb2, worker_pb2_grpc.add_WorkerServiceServicer_to_server),
}


def descriptors(names: Iterable[str]) -> dict[str, ServiceDescriptor]:
    """What the contract says of services, by their names."""
    return {name: ADDERS[name][0].DESCRIPTOR.services_by_name[name] for name in names}


class Server:
    """A server for the given servicers, by the service's name; over TLS where there is a certificate."""

    def __init__(
        self,
        servicers: Mapping[str, Any],
        bearers: Identifies,
        instruments: Instruments | None = None,
        spans: CallSpans | None = None,
        certificate: ServerCertificate | None = None,
    ) -> None:
        self._certificate = certificate
        self.client_port = 0
        self._latency = LatencyInterceptor(instruments.metrics, instruments.clock) if instruments is not None else None
        timing = () if self._latency is None else (self._latency,)
        tracing = () if spans is None else (TraceInterceptor(spans),)
        self._server = grpc.aio.server(
            interceptors=(
                *tracing,
                *timing,
                CallInterceptor(bearers, str if instruments is None else instruments.clean),
            ),
            options=OPTIONS if certificate is None else (*OPTIONS, *REMOTE_OPTIONS),
            maximum_concurrent_rpcs=CALLS_AT_ONCE_MAX,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [reflection.SERVICE_NAME, health.SERVICE_NAME]
        for name, servicer in servicers.items():
            module, add = ADDERS[name]
            add(servicer, self._server)
            self._names.append(module.DESCRIPTOR.services_by_name[name].full_name)
        reflection.enable_server_reflection(self._names, self._server)

    @property
    def open_streams(self) -> int:
        """How many streams of the contract are open, where they are counted."""
        return self._latency.open_streams if self._latency is not None else 0

    async def start(self, listen: str, client_listen: str = "") -> int:
        """Binds and serves; the port that was bound. `client_listen`: another address, where each client shows a certificate; its port is
        `client_port` then. Raises PermanentError when an address is taken."""
        certificate = self._certificate
        port = self._bind(listen, None if certificate is None else certificate.credentials, "PYMIGRATE_LISTEN")
        if client_listen and certificate is not None:
            given = certificate.client_credentials
            self.client_port = self._bind(client_listen, given, "PYMIGRATE_TLS_CLIENT_LISTEN")
        await self._server.start()
        return port

    def _bind(self, listen: str, credentials: grpc.ServerCredentials | None, setting: str) -> int:
        try:
            if credentials is None:
                return self._server.add_insecure_port(listen)
            return self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise PermanentError(
                f"can't listen on {listen}: another process has it; stop that one, or set {setting} to another port"
            ) from error

    async def tell_ready(self) -> None:
        """Health becomes SERVING."""
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def tell_draining(self) -> None:
        """Health becomes NOT_SERVING, for good."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more calls, lets those under way end within the grace, and stops."""
        await self._server.stop(grace_seconds)
