"""The commands of secret backends: which there are, and whether one lets in who reads from it."""

from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.v1 import secret_backend_pb2

EnvironmentName = Annotated[str, typer.Argument(help="environments/<environment>")]
BackendName = Annotated[str, typer.Argument(help="environments/<environment>/secretBackends/<scheme>")]
PAGE_SIZE = 1_000

secret_backends = typer.Typer(help="Tell where secrets are kept, and try it.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application, below one word."""
    app.add_typer(secret_backends, name="secret-backends")


@secret_backends.command(name="list")
def list_backends(environment: EnvironmentName, home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell an environment's secret backends."""
    request = secret_backend_pb2.ListSecretBackendsRequest(parent=environment, page_size=PAGE_SIZE)
    with connected(home) as client:
        answer = client.secret_backends.ListSecretBackends(request, **client.options)
    if as_json:
        print_json(answer)
        return
    for backend in answer.secret_backends:
        console().print(f"{backend.name}  {backend.WhichOneof('backend')}", highlight=False, soft_wrap=True)


@secret_backends.command()
def get(name: BackendName, home: Home = HOME_DEFAULT) -> None:
    """Tell how a secret backend is declared, as JSON."""
    with connected(home) as client:
        request = secret_backend_pb2.GetSecretBackendRequest(name=name)
        print_json(client.secret_backends.GetSecretBackend(request, **client.options))


@secret_backends.command(name="test")
def try_backend(
    name: BackendName,
    reference: Annotated[str, typer.Argument(help="A reference to read, as vault://kv/legacy#password.")] = "",
    home: Home = HOME_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Log in to a secret backend on a worker host, and read a secret where one is named; its value is told to nobody."""
    request = secret_backend_pb2.TestSecretBackendRequest(name=name, reference=reference)
    with connected(home) as client:
        answer = client.secret_backends.TestSecretBackend(request, **client.options)
    if as_json:
        print_json(answer)
        return
    read = f", {reference} was read" if reference else ""
    version = f" at version {answer.secret_version}" if answer.secret_version else ""
    who = answer.version or "it"
    console().print(f"{who} lets in{read}{version} ({answer.duration_seconds:.2f} s)", highlight=False, soft_wrap=True)
