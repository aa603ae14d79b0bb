"""The commands that move commits on and let them go back: `promote`, and `approve-reversal`."""

from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.git_source_commands import SourceName, source_name
from pymigrate.v1 import git_source_pb2
from pymigrate.v1.shape import enum_word


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command()(promote)
    app.command(name="approve-reversal")(approve_reversal)


def promote(
    source: SourceName,
    commit: Annotated[
        str, typer.Option(help="The commit that must have succeeded before; without it the one that is applied there.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and push nothing.")] = False,
    home: Home = HOME_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Pin a Git source to what succeeded and was verified in the one before, by a branch or commit that is pushed."""
    request = git_source_pb2.PromoteGitSourceRequest(name=source_name(source), commit=commit, validate_only=dry_run)
    with connected(home) as client:
        answer = client.git_sources.PromoteGitSource(request, **client.options)
    if as_json:
        print_json(answer)
        return
    for plan in answer.plans:
        console().print(f"{plan.plan}  declared {plan.declared_hash}", highlight=False, soft_wrap=True)
    for run in answer.runs:
        console().print(f"{run} succeeded", highlight=False, soft_wrap=True)
    if answer.is_unchanged:
        typer.echo(f"{request.name} is at {answer.promoted_commit} already")
    elif dry_run:
        typer.echo(f"{answer.promoted_commit} would be pushed to `{answer.branch}`")
    else:
        typer.echo(f"{answer.promoted_commit} was pushed to `{answer.branch}` as {answer.pushed_commit}")


def approve_reversal(
    source: SourceName,
    commit: Annotated[str, typer.Argument(help="The commit that goes back, so that nothing else is approved.")],
    home: Home = HOME_DEFAULT,
) -> None:
    """Approve that runs are undone for a commit that goes back behind them."""
    request = git_source_pb2.ApproveReversalRequest(name=source_name(source), commit=commit)
    with connected(home) as client:
        answer = client.git_sources.ApproveReversal(request, **client.options)
    reversal = answer.status.reversal
    state = enum_word(git_source_pb2.ReversalState.DESCRIPTOR, reversal.state)
    typer.echo(f"{answer.name} {state}, approved by {', '.join(reversal.approved_by)}")
    for run in reversal.runs:
        typer.echo(f"{run.run} {run.state}, {run.rows:,} rows in {', '.join(run.phases)}")
