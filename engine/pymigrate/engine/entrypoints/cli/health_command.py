"""The command that probes ask every few seconds, such as those of a kubelet that can't speak TLS over gRPC: it imports next to nothing."""

import os
from pathlib import Path
from typing import Annotated, NoReturn

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.engine_access import EngineAccess, EngineAddress

HOME_DEFAULT = Path.home() / ".local" / "share" / "pymigrate"
SECONDS_MAX = 5.0


def add_to(app: typer.Typer) -> None:
    """Adds it to the application."""
    app.command()(health)


def health(
    home: Annotated[
        Path, typer.Option(help="Folder of the engine's endpoint.", envvar="PYMIGRATE_HOME")
    ] = HOME_DEFAULT,
    ready: Annotated[bool, typer.Option("--ready", help="It must take calls, and not be draining.")] = False,
) -> None:
    """Tell whether the engine answers; exit code 1 where it does not. No token is shown."""
    try:
        address = EngineAccess.of(home, os.environ).address()
    except EngineUnavailable as error:
        _fail(error.message)
    channel = address.open([("grpc.enable_http_proxy", 0)])
    try:
        status = _asked(channel)
    except grpc.RpcError as error:
        _fail(_said(error, address))
    finally:
        channel.close()
    word = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
    if ready and status != health_pb2.HealthCheckResponse.SERVING:
        _fail(f"the engine at {address.endpoint} answers, and takes no calls: {word}")
    typer.echo(word)


def _asked(channel: grpc.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    answer: health_pb2.HealthCheckResponse = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS_MAX)  # type: ignore[attr-defined]
    return int(answer.status)


def _said(error: grpc.RpcError, address: EngineAddress) -> str:
    details = error.details() or ""
    return address.handshake_problem(details) or f"the engine at {address.endpoint} does not answer: {details}"


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
