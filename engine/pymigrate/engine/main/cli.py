"""The console script `pymigrate`: the engine's own commands, and those of other packages by entry point (`pymigrate.commands`)."""

import os
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymigrate.engine.settings import Settings
    from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse, DefinitionFile

COMMANDS = "pymigrate.commands"
HEALTH = "health"


def main() -> None:
    """Runs one command."""
    _keep_forks_apart()
    build()()


def build() -> typer.Typer:
    """The application. A package's commands are imported only when they are asked for, or help is."""
    from pymigrate.engine.entrypoints.cli import health_command

    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.callback(invoke_without_command=True)(_top)
    health_command.add_to(app)
    asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if asked == HEALTH:  # probes ask every few seconds, and everything else takes most of a second
        return app
    _add_commands(app)
    for entry in entry_points(group=COMMANDS):
        if asked in {entry.name, "--help"}:
            app.add_typer(entry.load(), name=entry.name)
    return app


def _add_commands(app: typer.Typer) -> None:
    from pymigrate.engine.entrypoints.cli import (
        access_commands,
        audit_commands,
        commands,
        connection_commands,
        dashboard_commands,
        definition_commands,
        environment_commands,
        git_source_commands,
        impact_commands,
        kpi_commands,
        notification_commands,
        promotion_commands,
        secret_backend_commands,
        service_token_commands,
        token_commands,
    )

    app.command()(serve)
    app.command()(rest)
    app.command()(dispatcher)
    app.command()(operator)
    commands.add_to(app)
    definition_commands.add_to(app, _check_files)
    connection_commands.add_to(app)
    impact_commands.add_to(app)
    kpi_commands.add_to(app)
    dashboard_commands.add_to(app)
    notification_commands.add_to(app)
    secret_backend_commands.add_to(app)
    environment_commands.add_to(app)
    git_source_commands.add_to(app)
    token_commands.add_to(app)
    service_token_commands.add_to(app)
    promotion_commands.add_to(app)
    audit_commands.add_to(app, _read_keys)
    access_commands.add_to(app)


def serve(
    home: Annotated[Path | None, typer.Option(help="Folder of the store, the token and the logs.")] = None,
    listen: Annotated[
        str | None, typer.Option(help="Address and port, loopback only without TLS; port 0 takes a free one.")
    ] = None,
    rest_listen: Annotated[str | None, typer.Option(help="The same for REST; empty for none.")] = None,
    metrics_listen: Annotated[str | None, typer.Option(help="The same for metrics alone; empty for none.")] = None,
) -> None:
    """Serve until SIGTERM; takes over what an earlier engine left unfinished."""
    from pymigrate.engine.main.serve import run

    _run(run, home=home, listen=listen, rest_listen=rest_listen, metrics_listen=metrics_listen)


def rest(
    home: Annotated[Path | None, typer.Option(help="Folder of the engine's token and endpoint.")] = None,
    listen: Annotated[
        str | None, typer.Option(help="Address and port, loopback only without TLS; port 0 takes a free one.")
    ] = None,
) -> None:
    """Serve REST in a process of its own, as a gRPC client of the engine of this home, until SIGTERM."""
    from pymigrate.engine.main.rest import run

    _run(run, home=home, rest_listen=listen)


def dispatcher(
    home: Annotated[Path | None, typer.Option(help="Folder of the engine's token and endpoint.")] = None,
) -> None:
    """Send notifications in a process of its own, as a client of the engine of this home, until SIGTERM; any number may run."""
    from pymigrate.engine.main.dispatcher import run

    def told(settings: "Settings") -> None:
        if code := run(settings):
            raise typer.Exit(code)

    _run(told, home=home)


def operator(
    home: Annotated[Path | None, typer.Option(help="Folder of the engine's token and endpoint.")] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="File that says how the cluster is reached; without: as the pod's service account."),
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="The only namespace to look at; without: all.")] = None,
    listen: Annotated[str | None, typer.Option(help="Address and port of probes and metrics; empty for none.")] = None,
) -> None:
    """Make the engine what Kubernetes custom resources say, as its client, until SIGTERM; of several one leads."""
    from pymigrate.engine.main.operator import run
    from pymigrate.engine.main.operator_settings import OperatorSettings

    told = {"kubeconfig": kubeconfig, "namespace": namespace, "listen": listen}
    given: dict[str, object] = {name: value for name, value in told.items() if value is not None}

    def with_own(settings: "Settings") -> None:
        run(settings, OperatorSettings(**given))  # type: ignore[arg-type]  # pydantic checks them

    _run(with_own, home=home)


def _check_files(files: "Sequence[DefinitionFile]", environment: str) -> "ApplyDefinitionsResponse":
    """Checks files of definitions as an engine that stores nothing would."""
    from pymigrate.engine.main.checking import check_files

    return check_files(files, environment)


def _read_keys(text: bytes, where: str) -> "Callable[[bytes, bytes, bytes], bool]":
    """Public keys of seals of the audit trail, as PEM: tells whether the one of an id signed a message."""
    from pymigrate.engine.adapters.sealing_keys import PublicKeys

    return PublicKeys.read(text, where).is_signed


def _keep_forks_apart() -> None:
    """Before gRPC is loaded: it would stop and start its own threads around every program that is started beside calls, such as git, and
    both sides have died of it. Nothing here goes on with gRPC in a forked process."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def _run(run: "Callable[[Settings], None]", *, home: Path | None, **listens: str | None) -> None:
    """Runs with the settings of the environment and those that were given. Ends the command with what is wrong."""
    from pydantic import ValidationError

    from pymigrate.engine.domain.errors import PyMigrateError
    from pymigrate.engine.settings import Settings

    given: dict[str, object] = {name: value for name, value in listens.items() if value is not None}
    if home is not None:
        given["home"] = home.absolute()
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
