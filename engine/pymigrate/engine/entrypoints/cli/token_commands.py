"""The command that makes a token for somebody else."""

from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import OWN_TOKEN, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, Home
from pymigrate.v1 import token_pb2

LIFETIME_DEFAULT_SECONDS = 900.0


def add_to(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command()(token)


def token(
    home: Home = HOME_DEFAULT,
    lifetime_seconds: Annotated[
        float, typer.Option(help="How long it holds, 60 to 86,400 seconds.")
    ] = LIFETIME_DEFAULT_SECONDS,
    purpose: Annotated[str, typer.Option(help="Whom or what it is for; the audit trail tells it.")] = "",
) -> None:
    """Make a token that ends by itself, and tell it this once, with the name that policies and the audit trail have for its holder."""
    request = token_pb2.CreateTokenRequest(lifetime_seconds=lifetime_seconds, purpose=purpose)
    with connected(home) as client:
        made = client.tokens.CreateToken(request, **client.options)
    typer.echo(made.token)
    until = made.expire_time.ToJsonString()
    typer.echo(f"of local/{made.id} until {until}; it is shown by the variable {OWN_TOKEN}", err=True)
