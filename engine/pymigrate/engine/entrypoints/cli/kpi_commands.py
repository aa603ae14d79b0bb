"""The command that tells KPIs."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import TIMEOUT_SECONDS, Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.kpi_tables import details, kpis_line, kpis_table
from pymigrate.engine.entrypoints.cli.resuming import resumed
from pymigrate.v1 import kpi_pb2

SubjectName = Annotated[
    str,
    typer.Argument(help="An environment, department, plan, run, or a phase or lane of one, as environments/e/plans/p."),
]


def add_to(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command()(kpis)


def kpis(
    name: SubjectName,
    home: Home = HOME_DEFAULT,
    parts: Annotated[bool, typer.Option("--parts", help="Its parts too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again at each change, a line each.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell in figures where something stands: rows, throughput, errors, lanes, downtime, end and risk."""
    with connected(home) as client:
        if watch:
            for answer in resumed(client, partial(_watched, client, name, parts)):
                if as_json:
                    print_json(answer.kpis, is_line=True)
                else:
                    for told in (answer.kpis, *answer.kpis.parts):
                        typer.echo(kpis_line(told))
            return
        request = kpi_pb2.GetKpisRequest(name=name, includes_parts=parts)
        found = client.kpis.GetKpis(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
            return
        console().print(kpis_table(found))
        for line in details(found):
            typer.echo(line)


def _watched(client: Client, name: str, parts: bool, token: str) -> Iterator[kpi_pb2.WatchKpisResponse]:
    request = kpi_pb2.WatchKpisRequest(name=name, includes_parts=parts, resume_token=token)
    return iter(client.kpis.WatchKpis(request, metadata=client.metadata))
