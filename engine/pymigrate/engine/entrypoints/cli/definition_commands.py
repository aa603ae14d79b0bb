"""Commands over files of definitions: apply them, tell what would differ, check them, and print their schemas.

Exit codes: `apply` 0 or 1. `validate` 0: valid; 1: there are problems; 2: it could not be checked. `diff` as diff(1) has them, 0: nothing
differs; 1: something does; 2: it could not be told, or there are problems.
"""

import contextlib
import enum
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import grpc
import typer

from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.entrypoints.cli import commands, declared
from pymigrate.engine.entrypoints.cli.client import Client, connected, describe
from pymigrate.engine.entrypoints.cli.definition_files import FilesRefused, definition_files
from pymigrate.engine.entrypoints.cli.definition_reports import (
    FORMATS,
    Report,
    checked_lines,
    difference_lines,
    outcome_lines,
    problem_line,
)
from pymigrate.v1 import definition_pb2
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse, DefinitionFile

Check = Callable[[Sequence[DefinitionFile], str], ApplyDefinitionsResponse]
"""Checks files alone, as an engine that stores nothing would."""
OF_OTHERS = frozenset({"invalid", "refused"})
"""Rules of which problems may be no more than that something is stored alone."""


class Format(enum.StrEnum):
    """How a command tells what it found."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "-f", "--file", help="YAML or JSON documents; a folder of them; `-`: standard input. May be given again."
    ),
]
EnvironmentName = Annotated[
    str, typer.Option(help="The environment of documents that name none; those of others are skipped.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete what the command line declared in that environment and no file does.")
]
TakenOver = Annotated[
    list[str] | None,
    typer.Option("--take-over", help="Take over objects of this side, such as api. May be given again."),
]
Output = Annotated[Format, typer.Option("-o", "--output", help="How to tell what was found.")]
OutputFile = Annotated[
    Path | None, typer.Option("--output-file", help="Write that to a file, and text to the console.", dir_okay=False)
]
Home = commands.Home
HOME_DEFAULT = commands.HOME_DEFAULT


def add_to(app: typer.Typer, check: Check | None = None) -> None:
    """Adds the commands. `check` is what `validate` checks files with where no engine is asked."""
    app.command()(apply)
    app.command()(diff)
    app.command()(_validate(check))
    app.command()(schema)
    app.command()(crds)


def apply(
    file: Files = None,
    home: Home = HOME_DEFAULT,
    environment: EnvironmentName = "",
    prune: Prune = False,
    take_over: TakenOver = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing; tell what would change.")] = False,
    output: Output = Format.TEXT,
    output_file: OutputFile = None,
) -> None:
    """Create what is missing and update what differs, as files declare it: everything, or with any problem nothing."""
    told = _Told("apply", output, output_file, problems_code=1)
    files = told.files(file)
    request = _request(files, environment, prune=prune, take_over=take_over)
    with connected(home) as client:
        answer = _dry(client, request) if dry_run else _applied(client, request, home)
    told.tell(answer, files, environment, difference_lines if dry_run else outcome_lines)


def diff(
    file: Files = None,
    home: Home = HOME_DEFAULT,
    environment: EnvironmentName = "",
    prune: Prune = False,
    take_over: TakenOver = None,
    output: Output = Format.TEXT,
    output_file: OutputFile = None,
) -> None:
    """Tell what applying files would change. Exit code 0: nothing, 1: something, 2: it can't be told, or can't be applied."""
    told = _Told("diff", output, output_file, problems_code=2)
    with ending_with(2):
        files = told.files(file)
        with connected(home) as client:
            answer = _dry(client, _request(files, environment, prune=prune, take_over=take_over))
        report = told.tell(answer, files, environment, difference_lines)
    if report.differs:
        raise typer.Exit(1)


def _validate(check: Check | None) -> Callable[..., None]:
    def validate(
        plan: Annotated[str, typer.Argument(help="environments/<environment>/plans/<plan>, as it is stored.")] = "",
        file: Files = None,
        home: Home = HOME_DEFAULT,
        environment: EnvironmentName = "",
        engine: Annotated[
            bool, typer.Option("--engine", help="Check files against what the engine of the home stores.")
        ] = False,
        output: Output = Format.TEXT,
        output_file: OutputFile = None,
        ddl: Annotated[
            bool, typer.Option("--ddl", help="Print what a run of the plan would declare in the targets.")
        ] = False,
    ) -> None:
        """Check a stored plan with its sources and targets, or files of definitions by themselves, without an engine.

        Exit code 1: a run could not start, or there are problems in the files; 2: files can't be checked. Nothing is written.
        """
        if plan and file:
            raise typer.BadParameter("name a stored plan or files, not both")
        if plan:
            commands.validate(plan, home, ddl=ddl)
            return
        told = _Told("validate", output, output_file, problems_code=1)
        with ending_with(2):
            files = told.files(file)
            if engine:
                with connected(home) as client:
                    answer = _dry(client, _request(files, environment))
            elif check is not None:
                answer = check(files, environment)
            else:
                _refuse("nothing checks files here: ask an engine by --engine")
        if not engine and any(problem.rule in OF_OTHERS for problem in answer.problems):
            typer.echo(
                "checked by the files alone, to which what is only stored is missing: --engine checks against it",
                err=True,
            )
        told.tell(answer, files, environment, checked_lines)

    return validate


def schema(
    kind: Annotated[str, typer.Argument(help="A kind, such as Plan; without one, the schema for all of them.")] = "",
) -> None:
    """Print the JSON Schema of a kind of definitions, as editors take it."""
    from pymigrate.engine.entrypoints.definition_schemas import ALL, definition_schemas

    found = definition_schemas()
    if (kind or ALL) not in found:
        _refuse(f"`{kind}` is not one of {', '.join(found)}")
    typer.echo(json.dumps(found[kind or ALL], indent=1, ensure_ascii=False))


def crds() -> None:
    """Print the CustomResourceDefinitions of this version, as kubectl takes them."""
    from pymigrate.engine.entrypoints.custom_resources import as_yaml, custom_resource_definitions

    typer.echo(as_yaml(*custom_resource_definitions().values()), nl=False)


class _Told:
    """How a command tells what it found."""

    def __init__(self, command: str, output: Format, output_file: Path | None, *, problems_code: int) -> None:
        self._command = command
        self._output = output
        self._output_file = output_file
        self._problems_code = problems_code

    def files(self, paths: Sequence[Path] | None) -> list[DefinitionFile]:
        """The files of a command. Ends it where there is none, or one can't be read."""
        if not paths:
            raise typer.BadParameter("name files or folders of definitions by -f")
        try:
            return definition_files(paths)
        except FilesRefused as error:
            _refuse(str(error))

    def tell(
        self,
        answer: ApplyDefinitionsResponse,
        files: Sequence[DefinitionFile],
        environment: str,
        lines: Callable[[Report], Iterator[str]],
    ) -> Report:
        """Tells what was found. Ends the command where there are problems."""
        read = read_definitions(files, environment)
        report = Report(self._command, answer, read.definitions, [file.path for file in files])
        if self._output is not Format.TEXT:
            text = FORMATS[self._output](report)
            if self._output_file is None:
                typer.echo(text)
            else:
                self._output_file.write_text(f"{text}\n")
        if self._output is Format.TEXT or self._output_file is not None:
            self._tell_lines(report, lines)
        if answer.problems:
            raise typer.Exit(self._problems_code)
        return report

    def _tell_lines(self, report: Report, lines: Callable[[Report], Iterator[str]]) -> None:
        if report.answer.problems:
            for problem in report.answer.problems:
                typer.secho(problem_line(problem), fg=typer.colors.RED, err=True)
            return
        told = "\n".join(lines(report))
        if self._output is Format.TEXT and self._output_file is not None:
            self._output_file.write_text(f"{told}\n")
        typer.echo(told)


def _request(
    files: Sequence[DefinitionFile], environment: str, *, prune: bool = False, take_over: Sequence[str] | None = None
) -> ApplyDefinitionsRequest:
    if prune and not environment:
        raise typer.BadParameter("--prune needs --environment: what is deleted lies in one environment")
    policy = definition_pb2.PRUNE_POLICY_DELETE if prune else definition_pb2.PRUNE_POLICY_KEEP
    return ApplyDefinitionsRequest(
        files=files, environment=environment, prune_policy=policy, taken_over_sides=take_over or ()
    )


def _dry(client: Client, request: ApplyDefinitionsRequest) -> ApplyDefinitionsResponse:
    request.validate_only = True
    return declared.applied(client, request)


def _applied(client: Client, request: ApplyDefinitionsRequest, home: Path) -> ApplyDefinitionsResponse:
    """What became of it; where it is refused for problems, those, each with its place."""
    try:
        return declared.applied(client, request)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            raise
        answer = _dry(client, request)
        if not answer.problems:  # mended in between
            _refuse(describe(error, home))
        return answer


@contextlib.contextmanager
def ending_with(code: int) -> Iterator[None]:
    """Makes what ends a command with a failure end it with this code."""
    try:
        yield
    except typer.Exit as ended:
        raise typer.Exit(code if ended.exit_code else 0) from ended


def _refuse(message: str) -> NoReturn:
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
