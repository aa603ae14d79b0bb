"""What is warned of when two impacts are compared: windows that are missed, downtimes that rise, and in which words."""

import math

import pytest

from pymigrate.provider.downtime import duration, warnings
from pymigrate.v1 import impact_pb2

SHARE = 0.2


def impact(**phases: impact_pb2.PhaseImpact) -> impact_pb2.Impact:
    """An impact of these phases."""
    return impact_pb2.Impact(phases=phases)


def down(p50: float, p90: float = 0.0) -> impact_pb2.PhaseImpact:
    """A phase whose sources are down so long."""
    return impact_pb2.PhaseImpact(downtime_seconds=impact_pb2.Quantiles(p50=p50, p90=p90 or p50))


def blocked(p50: float) -> impact_pb2.PhaseImpact:
    """A phase to whose sources nobody can write so long."""
    return impact_pb2.PhaseImpact(write_downtime_seconds=impact_pb2.Quantiles(p50=p50, p90=p50))


def scheduled(*, fits: bool, share: float, close: str = "", best: str = "") -> impact_pb2.PhaseImpact:
    """A phase with windows."""
    phase = impact_pb2.PhaseImpact(duration_seconds=impact_pb2.Quantiles(p50=60, p90=90))
    phase.window.is_scheduled = True
    phase.window.fits = fits
    phase.window.fit_share = share
    if close:
        phase.window.close_time.FromJsonString(close)
    if best:
        phase.window.best_start_time.FromJsonString(best)
    return phase


def test_a_downtime_that_rises_is_told_with_both_figures() -> None:
    (told,) = warnings(impact(sales=down(12, 14)), impact(sales=down(95, 120)), "sales", SHARE)
    assert told.summary == "Downtime of phase sales rises from 12 s to 95 s (P50)"
    assert "P90: from 14 s to 2 min." in told.detail
    assert "20% of `downtime_increase_share_max`" in told.detail


@pytest.mark.parametrize(("before", "after"), [(100, 120), (0, 0.5), (0.1, 0.6), (100, 50), (0, math.nan)])
def test_a_rise_up_to_the_share_or_too_small_to_be_told_apart_is_no_warning(before: float, after: float) -> None:
    assert not warnings(impact(sales=down(before)), impact(sales=down(after)), "sales", SHARE)


def test_a_downtime_where_there_was_none_is_a_rise() -> None:
    (told,) = warnings(impact(sales=down(0)), impact(sales=down(3)), "sales", SHARE)
    assert told.summary == "Downtime of phase sales rises from 0 s to 3 s (P50)"


def test_writes_that_are_blocked_for_longer_are_told_as_such() -> None:
    (told,) = warnings(impact(sales=blocked(1)), impact(sales=blocked(30)), "sales", SHARE)
    assert told.summary == "Write downtime of phase sales rises from 1 s to 30 s (P50)"


def test_a_phase_that_is_not_there_before_or_after_is_not_compared() -> None:
    assert not warnings(impact(sales=down(1)), impact(finance=down(99)), "sales", SHARE)


def test_other_phases_that_the_change_slows_down_are_told_after_its_own_heaviest_first() -> None:
    base = impact(a=down(1), b=down(1), c=down(1))
    (told,) = warnings(base, impact(a=down(9), b=down(5), c=down(20)), "b", SHARE)
    assert told.summary == "Downtime of phase b rises from 1 s to 5 s (P50), and 2 phases more"
    assert told.detail.index("phase c") < told.detail.index("phase a")


def test_of_many_phases_the_first_are_told_and_the_others_counted() -> None:
    names = [f"p{number}" for number in range(8)]
    base = impact(**{name: down(1) for name in names})
    (told,) = warnings(base, impact(**{name: down(9) for name in names}), "", SHARE)
    assert told.detail.count("rises") == 4
    assert "So it is for 3 phases more." in told.detail


def test_a_window_that_no_longer_holds_a_phase_is_told_with_when_it_closes_and_what_would() -> None:
    before = scheduled(fits=True, share=1)
    after = scheduled(fits=False, share=0.04, close="2026-01-01T05:00:00Z", best="2026-01-02T22:00:00Z")
    (told,) = warnings(impact(sales=before), impact(sales=after), "sales", SHARE)
    assert told.summary == "Phase sales no longer fits its window"
    for part in ("In 4% of the rehearsals", "closes at 2026-01-01T05:00:00Z", "from 2026-01-02T22:00:00Z on"):
        assert part in told.detail


def test_windows_where_there_were_none_are_told_when_they_do_not_hold_the_phase() -> None:
    (told,) = warnings(impact(sales=down(0)), impact(sales=scheduled(fits=False, share=0)), "sales", SHARE)
    assert "No opening of the next 14 days would hold it." in told.detail


def test_a_window_that_was_missed_before_or_is_held_now_is_no_warning() -> None:
    missed, held = scheduled(fits=False, share=0), scheduled(fits=True, share=1)
    assert not warnings(impact(sales=missed), impact(sales=missed), "sales", SHARE)
    assert not warnings(impact(sales=missed), impact(sales=held), "sales", SHARE)
    assert not warnings(impact(sales=missed), impact(sales=down(0)), "sales", SHARE)


def test_what_the_estimate_of_the_phase_does_not_know_is_said() -> None:
    changed = impact(sales=down(99), other=down(1))
    changed.phases["sales"].datasets["people"].unknowns.extend([f"its rows {number}" for number in range(5)])
    changed.phases["other"].datasets["shops"].unknowns.append("its size")
    (told,) = warnings(impact(sales=down(1), other=down(1)), changed, "sales", SHARE)
    assert "Not known of people: its rows 0." in told.detail
    assert "its rows 3" not in told.detail
    assert "shops" not in told.detail


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (0.04, "0.04 s"),
        (9, "9 s"),
        (9.46, "9.5 s"),
        (9.99, "10 s"),
        (95.4, "95 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (845, "14 min 5 s"),
        (11_520, "3 h 12 min"),
        (180_000, "2 d 2 h"),
        (math.nan, "an unknown time"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
