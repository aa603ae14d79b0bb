"""The commands of runs: start and steer them, and show where they stand; and what deletes an object."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.message import Message
from rich.console import Console

from pymigrate.engine.entrypoints.cli import declared, progress
from pymigrate.engine.entrypoints.cli.client import TIMEOUT_SECONDS, Client, connected, fail
from pymigrate.v1 import environment_pb2, plan_pb2, run_pb2
from pymigrate.v1.shape import enum_word, to_json_data

Home = Annotated[Path, typer.Option(help="Folder of the engine's token and endpoint.", envvar="PYMIGRATE_HOME")]
RunName = Annotated[str, typer.Argument(help="environments/<environment>/plans/<plan>/runs/<run>")]
PlanName = Annotated[str, typer.Argument(help="environments/<environment>/plans/<plan>")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON, in the shape of the contract.")]
HOME_DEFAULT = Path.home() / ".local" / "share" / "pymigrate"
_WIDTH_PLAIN = 160


def add_to(app: typer.Typer) -> None:
    """Adds every command to the application."""
    for command in (
        *(delete, start, watch, report, status),
        *(pause, resume, scale, cancel, retry, approve, rollback, seal),
    ):
        app.command()(command)


def console() -> Console:
    """Where results go: wide enough for a table where there is no terminal to measure."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_WIDTH_PLAIN)


def print_json(message: Message, *, is_line: bool = False) -> None:
    """A message in the shape of the contract; on one line where others follow."""
    typer.echo(json.dumps(to_json_data(message), indent=None if is_line else 2, ensure_ascii=False))


def delete(
    names: Annotated[list[str], typer.Argument(help="Resource names, as environments/prod/stakeholders/ann.")],
    home: Home = HOME_DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Delete a plan with its phases.")] = False,
) -> None:
    """Delete objects that were applied, one after the other, by their names."""
    with connected(home) as client:
        for name in names:
            declared.delete(client, name, is_forced=force)
            typer.echo(f"{name} deleted")


def validate(plan: str, home: Path, *, ddl: bool) -> None:
    """Checks a plan with its sources and targets; exit code 1 when a run could not start. `ddl`: prints what a run would declare."""
    with connected(home) as client:
        request = plan_pb2.ValidatePlanRequest(name=plan, check_systems=True)
        answer = client.plans.ValidatePlan(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if answer.problems:
            fail("\n".join(f"{problem.field}: {problem.description}" for problem in answer.problems))
        if ddl:
            typer.echo("\n\n".join(_spelled(place, answer.ddl[place]) for place in sorted(answer.ddl)))
        else:
            typer.echo("\n".join(f"{at}. {', '.join(level.phases)}" for at, level in enumerate(answer.levels, 1)))


def start(
    plan: PlanName,
    home: Home = HOME_DEFAULT,
    trigger: Annotated[list[str], typer.Option(help="name=value; another value is another run.")] = [],  # noqa: B006 (typer)
    follow: Annotated[bool, typer.Option(help="Show it until it has ended.")] = True,
    paused: Annotated[
        bool, typer.Option("--paused", help="Hold it from the beginning; `resume` lets it go on.")
    ] = False,
) -> None:
    """Start a run of a plan, or adopt the one that is the same."""
    if any("=" not in item for item in trigger):
        fail("write a trigger as name=value")
    with connected(home) as client:
        desired = run_pb2.DESIRED_STATE_PAUSED if paused else run_pb2.DESIRED_STATE_UNSPECIFIED
        wanted = run_pb2.Run(triggers=dict(item.split("=", 1) for item in trigger), desired_state=desired)
        request = run_pb2.StartRunRequest(parent=plan, run=wanted)
        run = client.runs.StartRun(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        typer.echo(run.name)
        if follow and not paused:
            _follow(client, run.name)


def watch(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """Show a run until it has ended; exit code 1 when it did not succeed."""
    with connected(home) as client:
        _follow(client, run)


def report(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """Show a run's datasets: rows, checksums on both sides, duration and speed."""
    with connected(home) as client:
        found = client.runs.GetRun(run_pb2.GetRunRequest(name=run), metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        console().print(progress.table(found))


def pause(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """Drain a run's lanes to their checkpoints and hold it."""
    _steer("PauseRun", run_pb2.PauseRunRequest(name=run), home)


def resume(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """Go on with a paused run."""
    _steer("ResumeRun", run_pb2.ResumeRunRequest(name=run), home)


def scale(
    run: RunName,
    lanes: Annotated[int, typer.Argument(help="The most lanes at once, 1 to 1,000; 0: no limit of its own.")],
    home: Home = HOME_DEFAULT,
) -> None:
    """Limit how many lanes of a run are under way at once, from now on; those beyond drain to their checkpoints and wait."""
    with connected(home) as client:
        request = run_pb2.ScaleRunRequest(name=run, lanes_max=lanes)
        found = client.runs.ScaleRun(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        limit = f"at most {found.lanes_max:,} lanes at once" if found.lanes_max else "no limit of its own"
        typer.echo(f"{found.name} {enum_word(run_pb2.RunState.DESCRIPTOR, found.state)}, {limit}")


def cancel(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """End a run for good; what is published stays."""
    _steer("CancelRun", run_pb2.CancelRunRequest(name=run), home)


def retry(run: RunName, home: Home = HOME_DEFAULT) -> None:
    """Do again what failed in a run."""
    _steer("RetryRun", run_pb2.RetryRunRequest(name=run), home)


def approve(
    run: RunName,
    phase: Annotated[
        str, typer.Argument(help="The phase's name; without one, what the policy of the environment asks for.")
    ] = "",
    gate: Annotated[str, typer.Argument(help="The gate's name.")] = "environment",
    home: Home = HOME_DEFAULT,
) -> None:
    """Approve a gate at which a phase waits, or a run that waits for the approvals of its environment."""
    _steer("ApproveGate", run_pb2.ApproveGateRequest(name=run, phase=phase, gate=gate), home)


def rollback(
    run: RunName,
    home: Home = HOME_DEFAULT,
    phase: Annotated[str, typer.Option(help="Only this phase and what depends on it; without it the whole run.")] = "",
    follow: Annotated[bool, typer.Option(help="Show it until it has ended.")] = True,
) -> None:
    """Undo what a run published; exit code 1 when something can't be undone."""
    with connected(home) as client:
        if phase:
            one = run_pb2.RollbackPhaseRequest(name=run, phase=phase)
            found = client.runs.RollbackPhase(one, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        else:
            whole = run_pb2.RollbackRunRequest(name=run)
            found = client.runs.RollbackRun(whole, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if follow:
            found = progress.follow(client, run, console())
            console().print(progress.table(found))
        typer.echo(f"{found.name} {enum_word(run_pb2.RunState.DESCRIPTOR, found.state)}")
        if found.state == run_pb2.RUN_STATE_ROLLBACK_BLOCKED:
            fail(found.failure.message)


def seal(
    run: RunName,
    home: Home = HOME_DEFAULT,
    phase: Annotated[list[str], typer.Option(help="Only this phase; may be given again.")] = [],  # noqa: B006 (typer)
) -> None:
    """Drop what is kept for the way back of published phases: they can't be rolled back any more."""
    _steer("SealRun", run_pb2.SealRunRequest(name=run, phases=phase), home)


def status(home: Home = HOME_DEFAULT, environment: Annotated[str, typer.Option(help="Only this one.")] = "") -> None:
    """List the newest runs of each environment, at most a hundred."""
    with connected(home) as client:
        for name in [f"environments/{environment}"] if environment else _environments(client):
            request = run_pb2.ListRunsRequest(parent=f"{name}/plans/-")
            answer = client.runs.ListRuns(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
            for run in answer.runs:
                typer.echo(f"{run.name} {enum_word(run_pb2.RunState.DESCRIPTOR, run.state)} {run.rows:,} rows")


def _spelled(place: str, ddl: plan_pb2.TargetDdl) -> str:
    """The statements of a dataset, with everything else as comments."""
    notes = ["-- " + note.replace("\n", " ") for note in ddl.notes]
    return "\n".join([f"-- {place}", *ddl.statements, *notes])


def _environments(client: Client) -> Iterator[str]:
    token = ""
    while True:
        request = environment_pb2.ListEnvironmentsRequest(page_token=token)
        page = client.environments.ListEnvironments(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        yield from (found.name for found in page.environments)
        token = page.next_page_token
        if not token:
            return


def _steer(method: str, request: Any, home: Path) -> None:
    with connected(home) as client:
        call = getattr(client.runs, method)
        run = call(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        typer.echo(f"{run.name} {enum_word(run_pb2.RunState.DESCRIPTOR, run.state)}")


def _follow(client: Client, name: str) -> None:
    run = progress.follow(client, name, console())
    console().print(progress.table(run))
    if run.state != run_pb2.RUN_STATE_SUCCEEDED:
        fail(run.failure.message or f"{run.name} ended as {enum_word(run_pb2.RunState.DESCRIPTOR, run.state)}")
