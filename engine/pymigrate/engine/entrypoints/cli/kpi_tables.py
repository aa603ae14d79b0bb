"""KPIs as a table for a terminal: a subject a line, its parts below it."""

from collections.abc import Iterator, Mapping

from rich.table import Table

from pymigrate.engine.entrypoints.cli.spelling import spell_bytes, spell_moment, spell_span
from pymigrate.v1 import kpi_pb2, run_pb2
from pymigrate.v1.shape import enum_word

COLUMNS = (
    "subject",
    "state",
    "done",
    "rows",
    "bytes",
    "rows/s",
    "errors",
    "retries",
    "lanes",
    "downtime",
    "end",
    "risk",
    "drift",
)


def kpis_table(found: kpi_pb2.Kpis) -> Table:
    """A subject and its parts."""
    grid = Table(title=found.name, title_justify="left")
    for column in COLUMNS:
        grid.add_column(column, justify="left" if column in {"subject", "state", "lanes", "end", "risk"} else "right")
    grid.add_row(*_cells(found))
    for part in found.parts:
        grid.add_row(*_cells(part))
    return grid


def kpis_line(found: kpi_pb2.Kpis) -> str:
    """A subject on one line, as it goes."""
    parts = [
        f"{found.completion:.1%} done",
        f"{_rows(found)} rows",
        f"{found.throughput.now.rows_per_second:,.0f} rows/s",
        f"{found.errors.total:,} errors",
    ]
    if found.HasField("end_time"):
        parts.append(f"ends {spell_moment(found.end_time.p50)} ({spell_moment(found.end_time.p90)})")
    return f"{found.name}: {_state(found)}, {', '.join(parts)}"


def details(found: kpi_pb2.Kpis) -> Iterator[str]:
    """What a table has no room for."""
    for title, counts in (
        ("phases", found.phases),
        ("runs", found.runs),
        ("verification", found.verifications),
        ("errors", found.errors.by_reason),
    ):
        if counts:
            yield f"{title}: {_counts(counts)}"
    now, window, average = found.throughput.now, found.throughput.window, found.throughput.average
    yield (
        f"rows a second: {now.rows_per_second:,.0f} now, {window.rows_per_second:,.0f} in the last minute, "
        f"{average.rows_per_second:,.0f} on average ({spell_bytes(round(average.bytes_per_second))})"
    )
    for rows, what in (
        (found.quarantined_rows, "in quarantine"),
        (found.conflicts, "in conflict"),
        (found.repaired_rows, "repaired"),
    ):
        if rows:
            yield f"rows {what}: {rows:,}"
    if found.lag_seconds >= 0:
        yield f"behind the source: {spell_span(found.lag_seconds)}"
    yield from (f"risk: {reason}" for reason in found.sla_risk.reasons)


def _cells(found: kpi_pb2.Kpis) -> list[str]:
    downtime = spell_span(found.downtime.used_seconds)
    if found.downtime.budget_seconds >= 0:
        downtime += f" of {spell_span(found.downtime.budget_seconds)}"
    level = found.sla_risk.level
    return [
        found.name.rpartition("/")[2],
        _state(found),
        f"{found.completion:.1%}",
        _rows(found),
        spell_bytes(found.bytes),
        f"{found.throughput.now.rows_per_second:,.0f}",
        f"{found.errors.total:,}",
        f"{found.errors.retries:,}",
        _counts(found.lanes) or "-",
        downtime,
        spell_moment(found.end_time.p50) if found.HasField("end_time") else "-",
        enum_word(kpi_pb2.SlaRiskLevel.DESCRIPTOR, level) if level else "-",
        f"{found.drift.drift:+.0%}" if found.HasField("drift") else "-",
    ]


def _state(found: kpi_pb2.Kpis) -> str:
    """A phase's or lane's own, not that of its run."""
    if "/phases/" in found.name and found.phases:
        return ", ".join(sorted(found.phases))
    if "/lanes/" in found.name and found.lanes:
        return ", ".join(sorted(found.lanes))
    if found.state:
        return enum_word(run_pb2.RunState.DESCRIPTOR, found.state)
    return _counts(found.runs) or "not run"


def _rows(found: kpi_pb2.Kpis) -> str:
    return f"{found.rows:,}" if found.rows_expected < 0 else f"{found.rows:,} of {found.rows_expected:,}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[word]:,} {word}" for word in sorted(counts))
