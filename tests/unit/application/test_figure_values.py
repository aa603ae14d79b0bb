"""The value of a figure in KPIs, and why one has none."""

from datetime import UTC, datetime, timedelta

import pytest

from pymigrate.engine.application.figure_values import Copying, value_of
from pymigrate.engine.domain.crossing import Unknown
from pymigrate.engine.domain.watched_figures import FIGURES
from pymigrate.v1 import kpi_pb2

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "environments/e/plans/p/runs/r"


def copying_for(seconds: float, **lanes: int) -> tuple[kpi_pb2.Kpis, Copying]:
    """KPIs of a run whose lanes stand so, and have for so long."""
    kpis = kpi_pb2.Kpis(name=RUN, lanes=lanes)
    kpis.throughput.window.rows_per_second = 7.0
    kpis.throughput.now.rows_per_second = 8.0
    copying = Copying()
    copying.observe(kpis, NOW - timedelta(seconds=seconds))
    return kpis, copying


def test_values_are_found_by_their_path() -> None:
    kpis = kpi_pb2.Kpis(name=RUN, completion=0.5, quarantined_rows=3, lanes={"stalled": 2})
    kpis.errors.rate = 0.1
    kpis.errors.by_reason["SOURCE_UNAVAILABLE"] = 4
    found = {
        path: value_of(kpis, path, Copying(), NOW)
        for path in (
            *("completion", "quarantined_rows", "lanes.stalled", "errors.rate", "errors.by_reason.SOURCE_UNAVAILABLE"),
            *("lanes.running", "errors.by_reason.OTHER"),
        )
    }
    assert list(found.values()) == [0.5, 3.0, 2.0, 0.1, 4.0, 0.0, 0.0]


@pytest.mark.parametrize("path", [*FIGURES, "errors.by_reason.OTHER"])
def test_every_figure_can_be_asked_for_of_kpis_that_say_nothing(path: str) -> None:
    assert isinstance(value_of(kpi_pb2.Kpis(), path, Copying(), NOW), float | Unknown)


@pytest.mark.parametrize(
    "path", ["remaining_seconds.p50", "drift.drift", "downtime.expected_seconds.p90", "sla_risk.level"]
)
def test_what_was_not_forecast_yet_is_still_to_be_found(path: str) -> None:
    assert value_of(kpi_pb2.Kpis(), path, Copying(), NOW) is Unknown.YET


def test_rows_that_are_not_known_beforehand_are_still_to_be_found() -> None:
    assert value_of(kpi_pb2.Kpis(rows_expected=-1), "rows_expected", Copying(), NOW) is Unknown.YET


def test_there_is_no_lag_where_nothing_catches_up() -> None:
    assert value_of(kpi_pb2.Kpis(lag_seconds=-1), "lag_seconds", Copying(), NOW) is Unknown.MOOT
    assert value_of(kpi_pb2.Kpis(lag_seconds=0), "lag_seconds", Copying(), NOW) == 0.0


def test_a_drift_may_be_below_zero() -> None:
    kpis = kpi_pb2.Kpis()
    kpis.drift.drift = -0.2
    assert value_of(kpis, "drift.drift", Copying(), NOW) == -0.2


def test_a_rate_says_nothing_before_copying_has_gone_on_for_as_long_as_it_looks_back() -> None:
    kpis, copying = copying_for(59, running=1)
    assert value_of(kpis, "throughput.window.rows_per_second", copying, NOW) is Unknown.YET
    assert value_of(kpis, "throughput.now.rows_per_second", copying, NOW) == 8.0
    kpis, copying = copying_for(60, stalled=1)
    assert value_of(kpis, "throughput.window.rows_per_second", copying, NOW) == 7.0


def test_there_is_no_rate_where_nothing_is_copied() -> None:
    kpis, copying = copying_for(60, pending=1, done=3)
    assert value_of(kpis, "throughput.window.rows_per_second", copying, NOW) is Unknown.MOOT
    kpis, copying = copying_for(60, running=1)
    copying.observe(kpi_pb2.Kpis(name=RUN), NOW)
    assert value_of(kpis, "throughput.now.rows_per_second", copying, NOW) is Unknown.MOOT


def test_subjects_that_are_gone_are_forgotten() -> None:
    kpis, copying = copying_for(60, running=1)
    copying.keep({RUN})
    assert value_of(kpis, "throughput.window.rows_per_second", copying, NOW) == 7.0
    copying.keep(set())
    assert value_of(kpis, "throughput.window.rows_per_second", copying, NOW) is Unknown.MOOT
