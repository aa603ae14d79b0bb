"""The commands about systems and the secrets that open them: does a connection work, and which versions do lanes use."""

from collections.abc import Iterator
from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import TIMEOUT_SECONDS, Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, Home, RunName
from pymigrate.v1 import connection_pb2, run_pb2
from pymigrate.v1.shape import enum_word

ConnectionName = Annotated[str, typer.Argument(help="environments/<environment>/connections/<connection>")]
VERSION_HELP = (
    "A version of its secrets, as their backend calls it, such as 7 or AWSPENDING; without it, the present one."
)


def add_to(app: typer.Typer) -> None:
    """Adds every command to the application."""
    app.command("test")(try_connection)
    app.command()(lanes)


def try_connection(
    connection: ConnectionName,
    secret_version: Annotated[str, typer.Option(help=VERSION_HELP)] = "",
    home: Home = HOME_DEFAULT,
) -> None:
    """Open a connection's system on a worker host, and tell its version: so a new secret is tried before the old one is revoked."""
    with connected(home) as client:
        request = connection_pb2.TestConnectionRequest(name=connection, secret_version=secret_version)
        found = client.connections.TestConnection(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        typer.echo(f"{connection} {found.version} in {found.duration_seconds:.2f} s")


def lanes(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """List a run's lanes: where each stands, why it waits, and which versions of secrets its host uses for it."""
    with connected(home) as client:
        for lane in _lanes(client, run):
            state = enum_word(run_pb2.LaneState.DESCRIPTOR, lane.state)
            typer.echo(f"{lane.name} {state} {lane.rows:,} rows")
            for reference, version in sorted(lane.secret_versions.items()):
                typer.echo(f"  {reference} {version}")
            if lane.failure.message:
                typer.echo(f"  {lane.failure.reason}: {lane.failure.message}")


def _lanes(client: Client, run: str) -> Iterator[run_pb2.Lane]:
    token = ""
    while True:
        request = run_pb2.ListLanesRequest(parent=run, page_token=token)
        page = client.runs.ListLanes(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        yield from page.lanes
        token = page.next_page_token
        if not token:
            return
