"""An impact, what-ifs, a forecast and an estimate beside what happened, as tables for a terminal."""

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from pymigrate.engine.entrypoints.cli.spelling import spell_amount, spell_bytes, spell_moment, spell_span
from pymigrate.v1 import impact_pb2, plan_pb2
from pymigrate.v1.shape import enum_word

DIFFERENCES_MIN_SHARE = 0.005
TOLD = (
    "makespan_seconds",
    "downtime_seconds",
    "write_downtime_seconds",
    "costs.",
    "breaches",
    "rating",
    "phases_in_window",
    "window.fits",
)

UNKNOWNS_SHOWN_MAX = 20  # as many as reasons: of a plan of hundreds of datasets the figures would be out of sight


def summary_lines(impact: impact_pb2.Impact) -> Iterator[str]:
    """What a plan comes down to."""
    found = impact.summary
    yield f"{impact.plan}: {enum_word(impact_pb2.ImpactRating.DESCRIPTOR, found.rating)}"
    yield from (f"  {reason}" for reason in found.reasons)
    yield f"makespan   {_both(found.makespan_seconds)}, end {spell_moment(found.end_time.p50)} ({spell_moment(found.end_time.p90)})"
    yield f"downtime   {_both(found.downtime_seconds)}"
    yield f"cost       {_costs(found.costs)}"
    yield f"people     {found.users:,}; volume {spell_amount(found.rows)} rows, {spell_bytes(found.bytes)}"
    yield f"windows    {found.phases_in_window} of {found.phases} phases fit; best start {spell_moment(found.best_start_time)}"
    needed = impact.resources
    yield (
        f"resources  {needed.lanes_peak} lanes, memory {spell_bytes(needed.memory_bytes)}, storage {spell_bytes(needed.storage_bytes)}, "
        f"network {spell_bytes(needed.network_bytes)}"
    )
    yield f"critical   {' → '.join(impact.critical_path)}"
    yield from (f"not known: {told}" for told in impact.unknowns[:UNKNOWNS_SHOWN_MAX])
    if (left := len(impact.unknowns) - UNKNOWNS_SHOWN_MAX) > 0:
        yield f"not known: {left:,} more; --json tells all"


def phases_table(impact: impact_pb2.Impact) -> Table:
    """A phase a line, the first to start first."""
    grid = _grid(
        f"phases, P50 (P90) of {impact.draws} rehearsals",
        (
            "phase",
            "department",
            "policy",
            "start",
            "duration",
            "downtime",
            "no writes",
            "cost",
            "slack",
            "fits",
            "rating",
            "found by",
        ),
    )
    for name, phase in sorted(
        impact.phases.items(), key=lambda each: (each[1].start_time.p50.ToNanoseconds(), each[0])
    ):
        grid.add_row(
            name,
            phase.department,
            enum_word(plan_pb2.DowntimePolicy.DESCRIPTOR, phase.downtime_policy),
            spell_moment(phase.start_time.p50),
            _both(phase.duration_seconds),
            _both(phase.downtime_seconds),
            _both(phase.write_downtime_seconds),
            _costs(phase.costs),
            spell_span(phase.slack_seconds),
            "yes" if phase.window.fits else "no",
            enum_word(impact_pb2.ImpactRating.DESCRIPTOR, phase.rating),
            ", ".join(sorted({dataset.basis for dataset in phase.datasets.values()})),
        )
    return grid


def departments_table(impact: impact_pb2.Impact) -> Table:
    """A department a line."""
    grid = _grid(
        "departments", ("department", "because of", "downtime", "no writes", "cost", "people", "systems", "rating")
    )
    for name, department in sorted(impact.departments.items()):
        grid.add_row(
            name,
            ", ".join(department.because_of) or "-",
            _both(department.downtime_seconds),
            _both(department.write_downtime_seconds),
            _costs(department.costs),
            f"{department.users:,}",
            ", ".join(f"{system.system} ({system.effect})" for system in department.systems) or "-",
            enum_word(impact_pb2.ImpactRating.DESCRIPTOR, department.rating),
        )
    return grid


def differences_table(differences: Sequence[impact_pb2.ImpactDifference]) -> Table:
    """The figures that decide, those that differ by half a percent or more; the JSON has all of them."""
    grid = _grid("what differs", ("variant", "of", "figure", "as it stands", "with the variant", "difference"))
    left_out = set()
    for each in differences:
        if math.isnan(each.value) or math.isnan(each.base):
            if (each.variant, each.subject) not in left_out:
                left_out.add((each.variant, each.subject))
                states = ("there", "left out") if math.isnan(each.value) else ("not there", "added")
                grid.add_row(each.variant, each.subject, "", *states, "")
        elif each.measure.startswith(TOLD) and (each.base == 0 or abs(each.share) >= DIFFERENCES_MIN_SHARE):
            before, after = (_figure(each.measure, value) for value in (each.base, each.value))
            grid.add_row(
                each.variant, each.subject, each.measure, before, after, f"{each.share:+.0%}" if each.share else ""
            )
    return grid


def forecast_table(forecast: impact_pb2.RunForecast) -> Table:
    """The run and its phases, with when they end."""
    grid = _grid(f"{forecast.name}, P50 (P90)", ("of", "end", "left", "downtime", "no writes"))
    end = forecast.end_time
    grid.add_row("run", f"{spell_moment(end.p50)} ({spell_moment(end.p90)})", _both(forecast.remaining_seconds), "", "")
    for name, phase in sorted(forecast.phases.items()):
        grid.add_row(
            name,
            f"{spell_moment(phase.end_time.p50)} ({spell_moment(phase.end_time.p90)})",
            _both(phase.remaining_seconds),
            _both(phase.downtime_seconds),
            _both(phase.write_downtime_seconds),
        )
    return grid


def estimate_table(estimate: impact_pb2.RunEstimate) -> Table:
    """What was estimated beside what happened."""
    grid = _grid(f"{estimate.name}, estimated P50 (P90)", ("of", "figure", "estimated", "happened", "off by"))
    _add_outcomes(grid, "run", {"makespan": estimate.makespan})
    for name, phase in sorted(estimate.phases.items()):
        _add_outcomes(
            grid, name, {"duration": phase.duration, "downtime": phase.downtime, "no writes": phase.write_downtime}
        )
        for dataset, found in sorted(phase.datasets.items()):
            steps = {"copy": found.copy, "verify": found.verify, "publish": found.publish}
            _add_outcomes(grid, f"{name}/{dataset} ({found.basis})", steps)
    return grid


def _add_outcomes(grid: Table, subject: str, outcomes: Mapping[str, impact_pb2.Outcome]) -> None:
    for name, outcome in outcomes.items():
        has_happened = not math.isnan(outcome.actual_seconds)
        happened = spell_span(outcome.actual_seconds) if has_happened else "-"
        error = f"{outcome.error:.0%}" if has_happened and not math.isnan(outcome.error) else "-"
        grid.add_row(subject, name, _both(outcome.estimated_seconds), happened, error)


def _grid(title: str, columns: Sequence[str]) -> Table:
    grid = Table(title=title, title_justify="left")
    for column in columns:
        grid.add_column(column)
    return grid


def _both(found: impact_pb2.Quantiles) -> str:
    return f"{spell_span(found.p50)} ({spell_span(found.p90)})"


def _costs(costs: Mapping[str, impact_pb2.Quantiles]) -> str:
    return ", ".join(f"{found.p50:,.2f} ({found.p90:,.2f}) {name}" for name, found in sorted(costs.items())) or "-"


def _figure(measure: str, value: float) -> str:
    if measure == "rating":
        return enum_word(impact_pb2.ImpactRating.DESCRIPTOR, int(value))
    if measure == "window.fits":
        return "yes" if value else "no"
    return spell_span(value) if "_seconds" in measure else f"{value:,.4g}"
