"""The commands of Git sources: which there are, where each stands, what a commit would change, and what came of those before.

`diff` ends as diff(1) does: 0: nothing would change; 1: something would; 2: it could not be told, or the commit can't be applied.
"""

from collections.abc import Iterator
from typing import Annotated

import typer

from pymigrate.engine.entrypoints.cli.client import Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.definition_commands import ending_with
from pymigrate.engine.entrypoints.cli.git_source_lines import revision_line, revision_lines, sources_table, status_lines
from pymigrate.v1 import git_source_pb2

SourceName = Annotated[str, typer.Argument(help="The source: prod, or gitSources/prod.")]
PAGE_SIZE = 1_000
COLLECTION = "gitSources/"

git_sources = typer.Typer(help="Tell where the sources of definitions stand, and steer them.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application, below one word."""
    app.add_typer(git_sources, name="git-sources")


def source_name(given: str) -> str:
    """The resource name of what was given, which may be its last segment alone."""
    return given if given.startswith(COLLECTION) else f"{COLLECTION}{given}"


@git_sources.command(name="list")
def list_sources(home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell every source, and whether it is ready."""
    with connected(home) as client:
        found = list(_all(client))
    if as_json:
        print_json(git_source_pb2.ListGitSourcesResponse(git_sources=found))
        return
    console().print(sources_table(found))


@git_sources.command()
def get(name: SourceName, home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell where a source stands; exit code 1 where it is not ready."""
    request = git_source_pb2.GetGitSourceRequest(name=source_name(name))
    with connected(home) as client:
        source = client.git_sources.GetGitSource(request, **client.options)
    _tell_source(source, as_json=as_json)
    if any(each.type == "Ready" and not each.is_met for each in source.status.conditions):
        raise typer.Exit(1)


@git_sources.command()
def sync(
    name: SourceName,
    home: Home = HOME_DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing; tell what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch and apply now, and wait for it; exit code 1 where the commit was refused."""
    request = git_source_pb2.SyncGitSourceRequest(name=source_name(name), validate_only=dry_run)
    with connected(home) as client:
        revision = client.git_sources.SyncGitSource(request, **client.options)
    _tell_revision(revision, as_json=as_json)
    if revision.problems:
        raise typer.Exit(1)


@git_sources.command()
def diff(
    name: SourceName,
    reference: Annotated[
        str, typer.Argument(help="A branch, a tag, a commit, or a full name such as refs/pull/7/head.")
    ] = "",
    home: Home = HOME_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Tell what a commit would change and undo. Exit code 0: nothing, 1: something, 2: it can't be told, or can't be applied."""
    request = git_source_pb2.DiffGitSourceRequest(name=source_name(name), reference=reference)
    with ending_with(2), connected(home) as client:
        revision = client.git_sources.DiffGitSource(request, **client.options)
    _tell_revision(revision, as_json=as_json)
    if revision.problems:
        raise typer.Exit(2)
    if revision.change_count or revision.HasField("reversal"):
        raise typer.Exit(1)


@git_sources.command()
def suspend(
    name: SourceName,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at it later.")] = "",
    home: Home = HOME_DEFAULT,
) -> None:
    """Apply nothing more until it is resumed; its objects may be changed by hand meanwhile."""
    request = git_source_pb2.SuspendGitSourceRequest(name=source_name(name), reason=reason)
    with connected(home) as client:
        source = client.git_sources.SuspendGitSource(request, **client.options)
    typer.echo(f"{source.name} is suspended")


@git_sources.command()
def resume(name: SourceName, home: Home = HOME_DEFAULT) -> None:
    """Go on: what was changed by hand is corrected or told, as the source says."""
    with connected(home) as client:
        request = git_source_pb2.ResumeGitSourceRequest(name=source_name(name))
        source = client.git_sources.ResumeGitSource(request, **client.options)
    typer.echo(f"{source.name} goes on")


@git_sources.command()
def history(
    name: SourceName,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_SIZE, help="How many commits to tell, the newest first.")] = 20,
    home: Home = HOME_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Tell what came of each commit, the newest first."""
    request = git_source_pb2.ListGitRevisionsRequest(parent=source_name(name), page_size=limit)
    with connected(home) as client:
        answer = client.git_sources.ListGitRevisions(request, **client.options)
    if as_json:
        print_json(answer)
        return
    for revision in answer.revisions:
        typer.echo(revision_line(revision))
    if not answer.revisions:
        typer.echo("nothing came of any commit so far")


def _all(client: Client) -> Iterator[git_source_pb2.GitSource]:
    token, is_more = "", True
    while is_more:
        request = git_source_pb2.ListGitSourcesRequest(page_size=PAGE_SIZE, page_token=token)
        page = client.git_sources.ListGitSources(request, **client.options)
        yield from page.git_sources
        token = page.next_page_token
        is_more = bool(token)


def _tell_source(source: git_source_pb2.GitSource, *, as_json: bool) -> None:
    if as_json:
        print_json(source)
        return
    for line in status_lines(source):
        typer.echo(line)


def _tell_revision(revision: git_source_pb2.GitRevision, *, as_json: bool) -> None:
    if as_json:
        print_json(revision)
        return
    for line in revision_lines(revision):
        typer.echo(line)
