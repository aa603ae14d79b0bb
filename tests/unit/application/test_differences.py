"""What differs between impacts, figure by figure."""

import math

from pymigrate.engine.application.differences import differences
from pymigrate.v1 import impact_pb2, plan_pb2

Impact = impact_pb2.Impact


def impact(makespan: float = 100.0) -> impact_pb2.Impact:
    """An impact of a phase and a department."""
    found = Impact()
    found.summary.makespan_seconds.p50 = makespan
    found.summary.rating = impact_pb2.IMPACT_RATING_LOW
    found.summary.rows = found.summary.bytes = 1_000
    phase = found.phases["orders"]
    phase.start_time.p50.FromSeconds(1_000)
    phase.downtime_seconds.p50 = 60.0
    phase.costs["EUR"].p50 = 10.0
    phase.resources.connections_peak["crm"] = 2
    phase.resources.staging_bytes = 500
    phase.downtime_policy = plan_pb2.DOWNTIME_POLICY_OFFLINE
    found.departments["sales"].users = 5
    found.resources.lanes_peak = 4
    return found


def told(base: impact_pb2.Impact, **variants: impact_pb2.Impact) -> dict[tuple[str, str, str], tuple[float, float]]:
    """What differs: both sides by variant, subject and measure."""
    found = differences(base, variants)
    return {(row.variant, row.subject, row.measure): (row.base, row.value) for row in found}


def test_the_same_impact_differs_in_nothing() -> None:
    assert differences(impact(), {"v": impact()}) == []
    assert differences(impact(100.0), {"v": impact(100.0 + 1e-9)}) == []


def test_a_figure_that_differs_is_told_with_its_difference_and_share() -> None:
    (row,) = differences(impact(100.0), {"v": impact(75.0)})
    assert (row.variant, row.subject, row.measure) == ("v", "plan", "makespan_seconds.p50")
    assert (row.base, row.value, row.difference, row.share) == (100.0, 75.0, -25.0, -0.25)


def test_from_nothing_there_is_no_share() -> None:
    (row,) = differences(impact(0.0), {"v": impact(75.0)})
    assert (row.difference, row.share) == (75.0, 0.0)


def test_every_kind_of_figure_is_compared() -> None:
    other = impact()
    other.summary.rating = impact_pb2.IMPACT_RATING_HIGH
    other.resources.lanes_peak = 8
    phase = other.phases["orders"]
    phase.start_time.p50.FromMilliseconds(2_500)
    phase.breaches.add(level="rto")
    phase.costs["EUR"].p50, phase.costs["USD"].p50 = 5.0, 1.0
    phase.resources.connections_peak["crm"] = 3
    phase.window.fits = True
    phase.slack_seconds = 7.0
    phase.downtime_policy = plan_pb2.DOWNTIME_POLICY_READ_ONLY
    other.departments["sales"].users = 6
    assert told(impact(), v=other) == {
        ("v", "departments/sales", "users"): (5.0, 6.0),
        ("v", "phases/orders", "breaches"): (0.0, 1.0),
        ("v", "phases/orders", "costs.EUR.p50"): (10.0, 5.0),
        ("v", "phases/orders", "costs.USD.p50"): (0.0, 1.0),
        ("v", "phases/orders", "resources.connections_peak.crm"): (2.0, 3.0),
        ("v", "phases/orders", "slack_seconds"): (0.0, 7.0),
        ("v", "phases/orders", "start_time.p50"): (1_000.0, 2.5),
        ("v", "phases/orders", "window.fits"): (0.0, 1.0),
        ("v", "plan", "rating"): (1.0, 3.0),
        ("v", "plan", "resources.lanes_peak"): (4.0, 8.0),
    }


def test_what_is_not_there_on_one_side_is_no_number() -> None:
    other = impact()
    del other.phases["orders"]
    rows = differences(impact(), {"v": other})
    assert {row.subject for row in rows} == {"phases/orders"}
    assert all(math.isnan(each) for row in rows for each in (row.value, row.difference, row.share) if row.base)
    assert all(math.isnan(row.value) for row in rows)


def test_a_size_that_is_not_known_is_no_number() -> None:
    other = impact()
    other.summary.rows = other.phases["orders"].resources.staging_bytes = -1
    found = told(impact(), v=other)
    assert math.isnan(found["v", "plan", "rows"][1])
    assert math.isnan(found["v", "phases/orders", "resources.staging_bytes"][1])


def test_rows_are_ordered_by_variant_subject_and_measure() -> None:
    other = impact(1.0)
    other.departments["sales"].users = other.phases["orders"].users = 9
    other.phases["orders"].rows = 3
    rows = differences(impact(), {"b": other, "a": other})
    keys = [(row.variant, row.subject, row.measure) for row in rows]
    assert keys == sorted(keys)
    assert len(keys) == 8
