"""How impacts, what-ifs, forecasts and estimates read in a terminal."""

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from pymigrate.engine.entrypoints.cli import impact_tables as tables
from pymigrate.v1 import impact_pb2, plan_pb2

PLAN = "environments/e/plans/p"
START = datetime(2026, 3, 2, 22, tzinfo=UTC)
Quantiles, Outcome, Difference = impact_pb2.Quantiles, impact_pb2.Outcome, impact_pb2.ImpactDifference


def shown(table: Table) -> list[list[str]]:
    """The table's title, head and rows, cell by cell."""
    output = io.StringIO()
    Console(file=output, width=400).print(table)
    lines = [line.replace("┃", "│") for line in output.getvalue().splitlines()]
    title = [[lines[0].strip()]]
    return title + [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]


def rows(table: Table) -> list[list[str]]:
    return shown(table)[2:]


def at(seconds: float) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(START + timedelta(seconds=seconds))
    return found


def moments(p50: float, p90: float) -> impact_pb2.Moments:
    return impact_pb2.Moments(p50=at(p50), p90=at(p90))


def an_impact() -> impact_pb2.Impact:
    """Two phases, of which the one that starts first comes second by name."""
    found = impact_pb2.Impact(plan=PLAN, draws=200, critical_path=["orders", "archive"], unknowns=["the moon's weight"])
    found.summary.rating = impact_pb2.IMPACT_RATING_HIGH
    found.summary.reasons.append("sales/crm is down.")
    found.summary.makespan_seconds.CopyFrom(Quantiles(p50=90, p90=4_000))
    found.summary.end_time.CopyFrom(moments(90, 4_000))
    found.summary.downtime_seconds.CopyFrom(Quantiles(p50=59.94, p90=90_000))
    found.summary.costs["EUR"].CopyFrom(Quantiles(p50=1234.5, p90=2000))
    found.summary.users, found.summary.rows, found.summary.bytes = 1_200, 5_000_000, 2_500_000
    found.summary.phases, found.summary.phases_in_window = 2, 1
    found.resources.lanes_peak = 4
    found.resources.storage_bytes = -1
    archive, orders = found.phases["archive"], found.phases["orders"]
    archive.start_time.CopyFrom(moments(60, 70))
    orders.start_time.CopyFrom(moments(0, 0))
    orders.department = "sales"
    orders.downtime_policy = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    orders.duration_seconds.CopyFrom(Quantiles(p50=30, p90=40))
    orders.window.fits = True
    orders.rating = impact_pb2.IMPACT_RATING_LOW
    orders.datasets["a"].basis = orders.datasets["b"].basis = "measured"
    orders.datasets["c"].basis = "assumed"
    return found


def test_a_summary_says_what_it_comes_down_to_and_what_is_not_known() -> None:
    assert list(tables.summary_lines(an_impact())) == [
        f"{PLAN}: high",
        "  sales/crm is down.",
        "makespan   1 min 30 s (1 h 06 min), end 2026-03-02 22:01:30Z (2026-03-02 23:06:40Z)",
        "downtime   59.9 s (1 d 01 h)",
        "cost       1,234.50 (2,000.00) EUR",
        "people     1,200; volume 5,000,000 rows, 2.5 MB",
        "windows    1 of 2 phases fit; best start none",
        "resources  4 lanes, memory 0.0 MB, storage unknown, network 0.0 MB",
        "critical   orders → archive",
        "not known: the moon's weight",
    ]


def test_of_much_that_is_not_known_the_first_are_told_and_how_many_more_there_are() -> None:
    found = [
        line for line in tables.summary_lines(impact_pb2.Impact(unknowns=map(str, range(22)))) if "not known" in line
    ]
    assert found[-2:] == ["not known: 19", "not known: 2 more; --json tells all"]


def test_what_is_not_known_is_no_number() -> None:
    found = an_impact()
    found.summary.rows = found.summary.bytes = -1
    assert "people     1,200; volume unknown rows, unknown" in list(tables.summary_lines(found))


def test_phases_are_told_the_first_to_start_first() -> None:
    table = shown(tables.phases_table(an_impact()))
    assert table[0] == ["phases, P50 (P90) of 200 rehearsals"]
    told = dict(zip(table[1], table[2], strict=True))
    assert told == {
        "phase": "orders",
        "department": "sales",
        "policy": "read_only",
        "start": "2026-03-02 22:00:00Z",
        "duration": "30.0 s (40.0 s)",
        "downtime": "0.0 s (0.0 s)",
        "no writes": "0.0 s (0.0 s)",
        "cost": "-",
        "slack": "0.0 s",
        "fits": "yes",
        "rating": "low",
        "found by": "assumed, measured",
    }
    assert table[3][0] == "archive"
    assert table[3][table[1].index("fits")] == "no"


def test_departments_are_told_with_what_hits_them() -> None:
    found = an_impact()
    finance = found.departments["finance"]
    finance.because_of.append("sales")
    finance.users = 7
    finance.systems.add(department="finance", system="ledger", effect="downstream")
    finance.rating = impact_pb2.IMPACT_RATING_MODERATE
    found.departments["sales"].users = 3
    assert rows(tables.departments_table(found)) == [
        ["finance", "sales", "0.0 s (0.0 s)", "0.0 s (0.0 s)", "-", "7", "ledger (downstream)", "moderate"],
        ["sales", "-", "0.0 s (0.0 s)", "0.0 s (0.0 s)", "-", "3", "-", ""],
    ]


def differing(measure: str, base: float, value: float, subject: str = "plan") -> impact_pb2.ImpactDifference:
    difference = value - base
    return Difference(
        variant="v",
        subject=subject,
        measure=measure,
        base=base,
        value=value,
        difference=difference,
        share=difference / base if base else 0.0,
    )


@pytest.mark.parametrize(
    ("difference", "cells"),
    [
        (differing("makespan_seconds.p50", 100, 150), ["1 min 40 s", "2 min 30 s", "+50%"]),
        (differing("costs.EUR.p90", 2_000, 1_000), ["2,000", "1,000", "-50%"]),
        (differing("rating", 2, 4), ["moderate", "critical", "+100%"]),
        (differing("window.fits", 0, 1), ["no", "yes", ""]),
        (differing("breaches", 0, 2), ["0", "2", ""]),
    ],
)
def test_a_figure_that_decides_is_told_before_and_after(
    difference: impact_pb2.ImpactDifference, cells: Sequence[str]
) -> None:
    assert rows(tables.differences_table([difference])) == [["v", "plan", difference.measure, *cells]]


@pytest.mark.parametrize(
    "difference", [differing("makespan_seconds.p50", 1_000, 1_004), differing("resources.memory_bytes", 1, 2)]
)
def test_what_hardly_differs_and_what_does_not_decide_is_left_to_the_json(
    difference: impact_pb2.ImpactDifference,
) -> None:
    assert rows(tables.differences_table([difference])) == []


@pytest.mark.parametrize(
    ("base", "value", "states"), [(1, math.nan, ["there", "left out"]), (math.nan, 1, ["not there", "added"])]
)
def test_a_phase_that_one_side_does_not_have_is_told_once(base: float, value: float, states: Sequence[str]) -> None:
    found = [
        Difference(variant="v", subject="phases/a", measure=measure, base=base, value=value)
        for measure in ("downtime_seconds.p50", "rows")
    ]
    assert rows(tables.differences_table(found)) == [["v", "phases/a", "", *states, ""]]


def test_a_forecast_tells_the_run_and_its_phases() -> None:
    found = impact_pb2.RunForecast(name=f"{PLAN}/runs/r", end_time=moments(60, 120))
    found.remaining_seconds.CopyFrom(Quantiles(p50=60, p90=120))
    for name in ("b", "a"):
        found.phases[name].end_time.CopyFrom(moments(30, 60))
        found.phases[name].downtime_seconds.CopyFrom(Quantiles(p50=45, p90=75))
    table = shown(tables.forecast_table(found))
    assert table[0] == [f"{PLAN}/runs/r, P50 (P90)"]
    assert table[2] == ["run", "2026-03-02 22:01:00Z (2026-03-02 22:02:00Z)", "1 min 00 s (2 min 00 s)", "", ""]
    assert [row[0] for row in table[3:]] == ["a", "b"]
    assert table[3][3] == "45.0 s (1 min 15 s)"


def outcome(p50: float, actual: float = math.nan, error: float = math.nan) -> impact_pb2.Outcome:
    return Outcome(estimated_seconds=Quantiles(p50=p50, p90=2 * p50), actual_seconds=actual, error=error)


def test_an_estimate_stands_beside_what_happened_and_what_has_not_yet() -> None:
    found = impact_pb2.RunEstimate(name=f"{PLAN}/runs/r", makespan=outcome(100))
    phase = found.phases["a"]
    for each in (phase.duration, phase.downtime, phase.write_downtime):
        each.CopyFrom(outcome(50, 40, 0.25))
    dataset = phase.datasets["orders"]
    dataset.basis = "history"
    dataset.copy.CopyFrom(outcome(30, 0.0, math.nan))
    for each in (dataset.verify, dataset.publish):
        each.CopyFrom(outcome(1))
    assert rows(tables.estimate_table(found)) == [
        ["run", "makespan", "1 min 40 s (3 min 20 s)", "-", "-"],
        ["a", "duration", "50.0 s (1 min 40 s)", "40.0 s", "25%"],
        ["a", "downtime", "50.0 s (1 min 40 s)", "40.0 s", "25%"],
        ["a", "no writes", "50.0 s (1 min 40 s)", "40.0 s", "25%"],
        ["a/orders (history)", "copy", "30.0 s (1 min 00 s)", "0.0 s", "-"],
        ["a/orders (history)", "verify", "1.0 s (2.0 s)", "-", "-"],
        ["a/orders (history)", "publish", "1.0 s (2.0 s)", "-", "-"],
    ]
