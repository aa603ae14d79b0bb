"""The commands of services' tokens. A token is told once, on stdout alone, so that a pipeline can keep it without anybody reading it."""

from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.entrypoints.cli.client import connected, fail
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.v1 import access_pb2

TokenId = Annotated[str, typer.Argument(help="What the token is for: its holder is `service/<id>`.")]
Expires = Annotated[
    str, typer.Option(help="When it ends, such as 2027-01-31T00:00:00Z; empty: it holds until it is deleted.")
]
PAGE_SIZE = 1_000

service_tokens = typer.Typer(help="Make, rotate and end tokens of services.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application, below one word."""
    app.add_typer(service_tokens, name="service-tokens")


@service_tokens.command()
def create(
    token_id: TokenId,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    expires: Expires = "",
    home: Home = HOME_DEFAULT,
) -> None:
    """Make a token for a service, and tell it this once."""
    request = access_pb2.CreateServiceTokenRequest(service_token_id=token_id)
    request.service_token.description = description
    _put_end(request.service_token.expire_time, expires)
    with connected(home) as client:
        _tell(client.access.CreateServiceToken(request, **client.options))


@service_tokens.command(name="list")
def list_tokens(home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell which services have tokens, and until when."""
    request = access_pb2.ListServiceTokensRequest(page_size=PAGE_SIZE)
    with connected(home) as client:
        answer = client.access.ListServiceTokens(request, **client.options)
    if as_json:
        print_json(answer)
        return
    for token in answer.service_tokens:
        made = token.rotate_time.ToJsonString()
        console().print(f"{token.name}  made {made}, {_until(token)}", highlight=False, soft_wrap=True)


@service_tokens.command()
def rotate(
    token_id: TokenId,
    overlap_seconds: Annotated[
        float, typer.Option(help="How long the one before holds on, at most a week; 0: it ends at once.")
    ] = 0.0,
    expires: Expires = "",
    home: Home = HOME_DEFAULT,
) -> None:
    """Make another token for the same service, and tell it this once."""
    request = access_pb2.RotateServiceTokenRequest(name=_name(token_id), overlap_seconds=overlap_seconds)
    _put_end(request.expire_time, expires)
    with connected(home) as client:
        _tell(client.access.RotateServiceToken(request, **client.options))


@service_tokens.command()
def delete(token_id: TokenId, home: Home = HOME_DEFAULT) -> None:
    """End a service's token at once."""
    with connected(home) as client:
        client.access.DeleteServiceToken(access_pb2.DeleteServiceTokenRequest(name=_name(token_id)), **client.options)
    typer.echo(f"{_name(token_id)} is refused from now on", err=True)


def _tell(made: access_pb2.CreateServiceTokenResponse) -> None:
    typer.echo(made.token)
    typer.echo(f"of service/{_id(made.service_token.name)}, {_until(made.service_token)}", err=True)


def _until(token: access_pb2.ServiceToken) -> str:
    said = f"until {token.expire_time.ToJsonString()}" if token.HasField("expire_time") else "until it is deleted"
    if token.HasField("previous_expire_time"):
        said += f", the one before until {token.previous_expire_time.ToJsonString()}"
    return said


def _name(token_id: str) -> str:
    return token_id if "/" in token_id else f"serviceTokens/{token_id}"


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _put_end(end: Timestamp, text: str) -> None:
    if not text:
        return
    try:
        end.FromJsonString(text)
    except ValueError:
        fail(f"{text} is no time: write it as 2027-01-31T00:00:00Z")
