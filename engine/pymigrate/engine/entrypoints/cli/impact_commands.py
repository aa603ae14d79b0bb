"""The commands of impact analysis: what a plan costs, what-ifs, when a run ends, and how good its estimate was."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pymigrate.engine.entrypoints.cli import declared
from pymigrate.engine.entrypoints.cli import impact_tables as tables
from pymigrate.engine.entrypoints.cli.client import connected, fail
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, PlanName, RunName, console, print_json
from pymigrate.v1 import impact_pb2
from pymigrate.v1.shape import ShapeError, from_data

TIMEOUT_SECONDS = 900.0
Draws = Annotated[int, typer.Option(help="Rehearsals, 1 to 1,000.")]
Seed = Annotated[int, typer.Option(help="Makes the rehearsals the same again.")]


def add_to(app: typer.Typer) -> None:
    """Adds every command to the application."""
    for command in (impact, forecast, estimate):
        app.command()(command)


def impact(
    plan: PlanName,
    home: Home = HOME_DEFAULT,
    draws: Draws = 200,
    seed: Seed = 0,
    start: Annotated[
        str, typer.Option(help="When the run would start, as 2026-12-24T22:00:00+01:00; empty: now.")
    ] = "",
    probe_seconds: Annotated[
        float, typer.Option(help="How long sources and targets may be probed, 1 to 600; -1: not at all.")
    ] = 30.0,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Probe again what was measured before.")] = False,
    what_if: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="YAML or JSON with variants by name; what differs is shown."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a plan costs the business before it runs: downtime, cost, systems hit, windows, and how that was found."""
    asked: dict[str, Any] = {"plan": plan, "draws": draws, "seed": seed, "probe_seconds_max": probe_seconds}
    if start:
        asked["start_time"] = _moment(start)
    variants = _variants(what_if) if what_if is not None else {}
    with connected(home) as client:
        if variants:
            request = impact_pb2.CompareImpactRequest(variants=variants, **asked)
            compared = client.impacts.CompareImpact(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
            if as_json:
                print_json(compared)
            else:
                _tell(compared.base)
                console().print(tables.differences_table(compared.differences))
            return
        analyzed = impact_pb2.AnalyzeImpactRequest(remeasures=remeasure, **asked)
        found = client.impacts.AnalyzeImpact(analyzed, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
        else:
            _tell(found)


def forecast(
    run: RunName, home: Home = HOME_DEFAULT, draws: Draws = 50, seed: Seed = 0, as_json: AsJson = False
) -> None:
    """Tell when a run and its phases will end, from where it stands now."""
    with connected(home) as client:
        request = impact_pb2.ForecastRunRequest(name=run, draws=draws, seed=seed)
        found = client.impacts.ForecastRun(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
        else:
            console().print(tables.forecast_table(found))
            for told in found.unknowns:
                typer.echo(f"not known: {told}")


def estimate(run: RunName, home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Show what was estimated for a run when it started beside what happened."""
    with connected(home) as client:
        request = impact_pb2.GetRunEstimateRequest(name=run)
        found = client.impacts.GetRunEstimate(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
        else:
            console().print(tables.estimate_table(found))


def _tell(found: impact_pb2.Impact) -> None:
    for line in tables.summary_lines(found):
        typer.echo(line)
    console().print(tables.phases_table(found))
    console().print(tables.departments_table(found))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        fail(f"`{text}` is no moment: write it as 2026-12-24T22:00:00+01:00")


def _variants(file: Path) -> dict[str, impact_pb2.ImpactVariant]:
    """The variants of a file, in the shape of the contract, under `variants` or at the top."""
    documents = declared.read_documents(file)
    data = documents[0] if len(documents) == 1 else None
    given = data.get("variants", data) if isinstance(data, dict) else None
    if not isinstance(given, dict) or not given:
        fail(f"{file} holds no variants: write them by name, each with what it changes")
    request = impact_pb2.CompareImpactRequest()
    try:
        from_data({"variants": given}, request)
    except ShapeError as error:
        fail(f"{file}: {error}")
    return dict(request.variants)
