"""How the command line reaches the engine of its home, and how an error is told at a prompt."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import grpc
import typer
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress
from pymigrate.engine.entrypoints.grpc.channel import MESSAGE_BYTES_MAX
from pymigrate.engine.ports.tracing import TRACEPARENT, read_traceparent
from pymigrate.v1 import (
    access_pb2_grpc,
    audit_pb2_grpc,
    connection_pb2_grpc,
    definition_pb2_grpc,
    environment_pb2_grpc,
    git_source_pb2_grpc,
    impact_pb2_grpc,
    kpi_pb2_grpc,
    notification_pb2_grpc,
    plan_pb2_grpc,
    run_pb2_grpc,
    secret_backend_pb2_grpc,
    token_pb2_grpc,
    worker_pb2_grpc,
)

TIMEOUT_SECONDS = 150.0
READY_SECONDS_MAX = 1.0
LIMITS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
OWN_TOKEN = "PYMIGRATE_TOKEN"  # noqa: S105 (the name of a variable)
"""The variable with the token to show in place of the engine's own, by which the audit trail and policies tell people apart."""


class Client:
    """The stubs of one engine. Every call carries the token and says that the command line makes it. `channel`: one that is there; `where`
    tells at which address the engine is now, since one that is started again may take another port, or show another certificate."""

    def __init__(
        self,
        endpoint: str | EngineAddress,
        token: str,
        channel: grpc.Channel | None = None,
        where: Callable[[], EngineAddress] | None = None,
    ) -> None:
        shown = (("authorization", f"Bearer {token}"),) if token else ()  # a certificate may stand for it
        self.metadata = (*shown, ("pymigrate-managed-by", "cli"), *_trace())
        self._where = where
        self._connect(EngineAddress(endpoint) if isinstance(endpoint, str) else endpoint, channel)

    def _connect(self, address: EngineAddress, channel: grpc.Channel | None = None) -> None:
        self._address = address
        self.channel = channel or address.open(LIMITS)
        self.environments = environment_pb2_grpc.EnvironmentServiceStub(self.channel)
        self.connections = connection_pb2_grpc.ConnectionServiceStub(self.channel)
        self.secret_backends = secret_backend_pb2_grpc.SecretBackendServiceStub(self.channel)
        self.definitions = definition_pb2_grpc.DefinitionServiceStub(self.channel)
        self.git_sources = git_source_pb2_grpc.GitSourceServiceStub(self.channel)
        self.plans = plan_pb2_grpc.PlanServiceStub(self.channel)
        self.runs = run_pb2_grpc.RunServiceStub(self.channel)
        self.impacts = impact_pb2_grpc.ImpactServiceStub(self.channel)
        self.kpis = kpi_pb2_grpc.KpiServiceStub(self.channel)
        self.notifications = notification_pb2_grpc.NotificationServiceStub(self.channel)
        self.access = access_pb2_grpc.AccessServiceStub(self.channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(self.channel)
        self.tokens = token_pb2_grpc.TokenServiceStub(self.channel)
        self.workers = worker_pb2_grpc.WorkerServiceStub(self.channel)

    @property
    def options(self) -> dict[str, Any]:
        """What every call of the command line is made with."""
        return {"metadata": self.metadata, "timeout": TIMEOUT_SECONDS}

    def wait_until_ready(self) -> None:
        """Waits for the engine, READY_SECONDS_MAX at most, wherever it is now; whether it is ready shows at the next call."""
        if self._where is not None and (address := self._where()) != self._address:
            self.channel.close()
            self._connect(address)
        with contextlib.suppress(grpc.FutureTimeoutError):
            grpc.channel_ready_future(self.channel).result(timeout=READY_SECONDS_MAX)


def _trace() -> tuple[tuple[str, str], ...]:
    """What the pipeline that runs the command says of its trace, as OpenTelemetry carries it in environment variables."""
    context = read_traceparent(os.environ.get("TRACEPARENT", ""))
    return () if context is None else ((TRACEPARENT, str(context)),)


@contextlib.contextmanager
def connected(home: Path) -> Iterator[Client]:
    """A client of the engine that serves from this home. Ends the command with what is wrong and what to do next."""
    access = EngineAccess.of(home, os.environ)
    try:
        address = access.address()
        token = os.environ.get(OWN_TOKEN, "").strip() or access.token_beside(address)
    except EngineUnavailable as error:
        fail(error.message)
    client = Client(address, token, where=lambda: _address(access, address))
    try:
        yield client
    except grpc.RpcError as error:
        fail(describe(error, home, address))
    finally:
        client.channel.close()


def _address(access: EngineAccess, last: EngineAddress) -> EngineAddress:
    """Where the engine serves; where it did last while there is none."""
    try:
        return access.address()
    except EngineUnavailable:
        return last


def describe(error: grpc.RpcError, home: Path, address: EngineAddress | None = None) -> str:
    """An error of the engine as a person reads it: every field that is wrong on a line of its own."""
    code, details = error.code(), error.details() or ""
    status = rpc_status.from_call(cast(grpc.Call, error))  # every error of a stub is a call too
    if code is grpc.StatusCode.UNAVAILABLE and status is None:  # the engine itself always sends a status
        if address is not None and (problem := address.handshake_problem(details)):
            return problem
        if address is not None and not address.is_local:
            return f"the engine at {address.endpoint} does not answer: see whether it runs, and whether it is reached from here"
        return f"the engine of {home} does not answer: start it with `pymigrate serve --home {home}`"
    bad = error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        if detail.Unpack(bad):
            return "\n".join(f"{violation.field}: {violation.description}" for violation in bad.field_violations)
    return details or code.name


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1 and a message on stderr."""
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
