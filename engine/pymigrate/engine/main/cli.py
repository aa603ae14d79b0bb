"""The console script `pymigrate`: the engine's own commands, and those of other packages by entry point (`pymigrate.commands`)."""

import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer

COMMANDS = "pymigrate.commands"


def main() -> None:
    """Runs one command."""
    build()()


def build() -> typer.Typer:
    """The application. A package's commands are imported only when they are asked for, or help is."""
    from pymigrate.engine.entrypoints.cli import commands, impact_commands, kpi_commands

    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.callback(invoke_without_command=True)(_top)
    app.command()(serve)
    commands.add_to(app)
    impact_commands.add_to(app)
    kpi_commands.add_to(app)
    asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
    for entry in entry_points(group=COMMANDS):
        if asked in {entry.name, "--help"}:
            app.add_typer(entry.load(), name=entry.name)
    return app


def serve(
    home: Annotated[Path | None, typer.Option(help="Folder of the store, the token and the logs.")] = None,
    listen: Annotated[str | None, typer.Option(help="Loopback address and port; port 0 takes a free one.")] = None,
    rest_listen: Annotated[str | None, typer.Option(help="The same for REST; empty for none.")] = None,
    metrics_listen: Annotated[str | None, typer.Option(help="The same for metrics alone; empty for none.")] = None,
) -> None:
    """Serve until SIGTERM; takes over what an earlier engine left unfinished."""
    from pydantic import ValidationError

    from pymigrate.engine.domain.errors import PyMigrateError
    from pymigrate.engine.main.serve import run
    from pymigrate.engine.settings import Settings

    given: dict[str, object] = {}
    if home is not None:
        given["home"] = home.absolute()
    if listen is not None:
        given["listen"] = listen
    if rest_listen is not None:
        given["rest_listen"] = rest_listen
    if metrics_listen is not None:
        given["metrics_listen"] = metrics_listen
    try:
        run(Settings(**given))  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        for problem in error.errors():
            typer.secho(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from error
    except PyMigrateError as error:
        typer.secho(error.message, fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error


def _top(
    context: typer.Context,
    is_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Data migrations as infrastructure."""
    if is_version:
        typer.echo(f"pymigrate {version('pymigrate')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


if __name__ == "__main__":
    main()
