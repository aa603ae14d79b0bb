"""What an analysis found as the contract tells it: bounded lists, moments and what is left unset."""

import math
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import pytest

from pymigrate.engine.application.analyses import TOLD_MAX
from pymigrate.engine.application.impact_messages import (
    LANE_USES_MAX,
    impact_message,
    moments,
    record_message,
    varying,
)
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.assessment import assess
from pymigrate.engine.domain.calibration import TrackRecord
from pymigrate.engine.domain.drawing import Draws
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.v1 import impact_pb2
from tests.unit.application.analyzed import AWAY, Analyzed
from tests.unit.application.engines import phase
from tests.unit.domain.businesses import landscape, sales

START = datetime(2026, 3, 2, tzinfo=UTC)


def message(changes: int, best_start: datetime | None = None) -> impact_pb2.Impact:
    """A plan without phases, in which lanes came and went so often."""
    draws = Draws(START, [1.0], lane_changes=[(float(number), number % 5) for number in range(changes)])
    return impact_message(assess({}, {}, landscape(sales=sales()), START), draws, best_start)


@pytest.mark.parametrize("changes", [0, 1, LANE_USES_MAX, LANE_USES_MAX + 1, 10 * LANE_USES_MAX])
def test_lanes_over_time_are_told_in_so_many_steps_at_most(changes: int) -> None:
    uses = message(changes).lane_uses
    assert min(changes, LANE_USES_MAX // 2) <= len(uses) <= LANE_USES_MAX
    assert [use.seconds for use in uses] == sorted(use.seconds for use in uses)
    assert not changes or uses[0].seconds == 0


def test_a_best_start_that_was_not_found_is_not_set() -> None:
    assert not message(1).summary.HasField("best_start_time")
    assert message(1, START).summary.best_start_time.ToDatetime(UTC) == START
    assert timestamp(None) is None


def test_a_moment_that_varies_lies_so_many_seconds_after_the_start() -> None:
    found = moments(START, Quantiles(60.0, 90.5))
    assert found.p50.ToDatetime(UTC) == START + timedelta(seconds=60)
    assert found.p90.ToDatetime(UTC) == START + timedelta(seconds=90.5)


def test_nine_of_ten_outcomes_of_a_duration_lie_below_its_ninth_decile() -> None:
    found = varying(10.0, 0.4)
    assert found.p50 == 10.0
    assert NormalDist().cdf(math.log(found.p90 / found.p50) / 0.4) == pytest.approx(0.9)
    assert varying(10.0, 0.0) == impact_pb2.Quantiles(p50=10.0, p90=10.0)


def test_a_record_is_told_where_there_is_one() -> None:
    assert record_message(None) is None
    assert record_message(TrackRecord(3, 0.25, 0.5)) == impact_pb2.EstimateRecord(runs=3, error=0.25, p90_share=0.5)


async def test_of_many_unknowns_the_first_are_told() -> None:
    analyzed = Analyzed()
    names = [f"d{number}" for number in range(TOLD_MAX)]
    await analyzed.declare({"a": phase(*names)})
    analyzed.failing = dict.fromkeys(names, AWAY)
    found = await analyzed.analyze(draws=1)
    assert len(found.unknowns) == TOLD_MAX
    assert len(found.phases["a"].datasets) == TOLD_MAX
