"""The command that tells the whole picture: plans, risks and milestones, as tables or as JSON."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from pymigrate.engine.entrypoints.cli.client import TIMEOUT_SECONDS, Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.engine.entrypoints.cli.resuming import resumed
from pymigrate.engine.entrypoints.cli.spelling import spell_moment
from pymigrate.v1 import kpi_pb2, run_pb2
from pymigrate.v1.shape import enum_word

EnvironmentName = Annotated[str, typer.Argument(help="environments/<environment>; without it, all of them.")]


def add_to(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command()(dashboard)


def dashboard(
    environment: EnvironmentName = "",
    home: Home = HOME_DEFAULT,
    watch: Annotated[bool, typer.Option("--watch", help="Then what changes, at most once a second.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell where every plan stands, what is at risk or waits for a person, and what comes next."""
    with connected(home) as client:
        if watch:
            for answer in resumed(client, partial(_watched, client, environment)):
                if as_json:
                    print_json(answer, is_line=True)
                    continue
                for line in (*(f"{plan}: gone" for plan in answer.deleted_plans), *_lines(answer.dashboard)):
                    typer.echo(line)
            return
        request = kpi_pb2.GetDashboardRequest(environment=environment)
        found = client.kpis.GetDashboard(request, metadata=client.metadata, timeout=TIMEOUT_SECONDS)
        if as_json:
            print_json(found)
            return
        for grid in _tables(found):
            console().print(grid)


def _watched(client: Client, environment: str, token: str) -> Iterator[kpi_pb2.WatchDashboardResponse]:
    request = kpi_pb2.WatchDashboardRequest(environment=environment, resume_token=token)
    return iter(client.kpis.WatchDashboard(request, metadata=client.metadata))


def state_word(kpis: kpi_pb2.Kpis) -> str:
    """How a plan's newest run stands, and whether that is still being read."""
    known = enum_word(run_pb2.RunState.DESCRIPTOR, kpis.state) if kpis.state else ""
    if kpis.is_partial:
        return f"{known}, being read" if known else "being read"
    return known or "never run"


def _tables(found: kpi_pb2.Dashboard) -> Iterator[Table]:
    plans = _table("plan", "state", "done", "end", "risk")
    for plan in found.plans:
        plans.add_row(
            plan.plan, state_word(plan.kpis), f"{plan.kpis.completion:.1%}", _end(plan.kpis), _level(plan.kpis)
        )
    yield plans
    if found.risks:
        risks = _table("severity", "reason", "what, and what next")
        for risk in found.risks:
            risks.add_row(_severity(risk), risk.reason, risk.message)
        yield risks
    if found.milestones:
        milestones = _table("when", "at the latest", "what", "of")
        for each in found.milestones:
            milestones.add_row(spell_moment(each.time.p50), spell_moment(each.time.p90), each.kind, each.subject)
        yield milestones


def _lines(found: kpi_pb2.Dashboard) -> Iterator[str]:
    """A plan, a risk or a milestone on one line each."""
    for plan in found.plans:
        yield f"{plan.plan}: {state_word(plan.kpis)}, {plan.kpis.completion:.1%} done, end {_end(plan.kpis)}"
    yield from (f"{_severity(risk)} {risk.reason}: {risk.message}" for risk in found.risks)
    yield from (f"{each.kind} {spell_moment(each.time.p50)}: {each.subject}" for each in found.milestones)


def _table(*columns: str) -> Table:
    grid = Table()
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def _end(kpis: kpi_pb2.Kpis) -> str:
    return spell_moment(kpis.end_time.p50) if kpis.HasField("end_time") else "none"


def _level(kpis: kpi_pb2.Kpis) -> str:
    level = kpis.sla_risk.level
    return enum_word(kpi_pb2.SlaRiskLevel.DESCRIPTOR, level) if level else "none"


def _severity(risk: kpi_pb2.Risk) -> str:
    return enum_word(kpi_pb2.RiskSeverity.DESCRIPTOR, risk.severity) if risk.severity else ""
