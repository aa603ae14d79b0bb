"""The command that tells what holds in an environment."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pymigrate.engine.entrypoints.cli.client import TIMEOUT_SECONDS, Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.v1 import environment_pb2

PAGE_SIZE = 1_000
EnvironmentName = Annotated[str, typer.Argument(help="environments/<environment>")]
ObjectName = Annotated[str, typer.Option("--object", help="Only this one and what is below it, as connections/legacy.")]


def add_to(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command()(resolve)


def resolve(name: EnvironmentName, home: Home = HOME_DEFAULT, part: ObjectName = "", as_json: AsJson = False) -> None:
    """Tell what holds in an environment after inheritance, overrides and parameters, and which layer says so."""
    with connected(home) as client:
        found = _whole(client, name, part)
    if as_json:
        print_json(found)
        return
    typer.echo(f"layers: {' → '.join(found.layers)}")
    if not part:
        _print("parameters", found.parameters)
        _print("policy", found.policy)
    for each in found.objects:
        _print(f"{each.name.split('/', 2)[2]}  (declared in {each.layer})", each.fields)


def _whole(client: Client, name: str, part: str) -> environment_pb2.ResolveEnvironmentResponse:
    """The answer with the objects of every page."""
    whole = environment_pb2.ResolveEnvironmentResponse()
    token = ""
    while True:
        request = environment_pb2.ResolveEnvironmentRequest(
            name=name, object=part, page_size=PAGE_SIZE, page_token=token
        )
        page = client.environments.ResolveEnvironment(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        token = page.next_page_token
        page.ClearField("next_page_token")
        objects = [*whole.objects, *page.objects]
        whole.CopyFrom(page)
        del whole.objects[:]
        whole.objects.extend(objects)
        if not token:
            return whole


def _print(title: str, values: Mapping[str, environment_pb2.ResolvedValue]) -> None:
    if not values:
        return
    table = Table("field", "value", "layer", "parameters", title=Text(title), title_justify="left")
    for path, value in sorted(values.items()):
        said = f"{value.layer} (override)" if value.is_override else value.layer or "(default)"
        told = [path, value.value, said, ", ".join(value.parameters)]
        table.add_row(*(Text(each) for each in told))
    console().print(table)
