"""What follows from how far estimates have lain off: a factor and a spread that no single run decides."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.calibration import (
    FACTOR_MAX,
    FACTOR_MIN,
    FACTOR_SAMPLES_MAX,
    Calibration,
    Sample,
    calibrate,
    combined,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ABOUT = 0.002  # noise counts for so much at durations of a hundred seconds


def sample(
    actual: float,
    estimated: float = 100.0,
    p90: float = 150.0,
    uncalibrated: float = 100.0,
    run: int = 1,
    place: str = "sales/orders",
) -> Sample:
    return Sample(f"r{run}", place, START + timedelta(hours=run), estimated, p90, uncalibrated, actual)


def runs(*actuals: float, place: str = "sales/orders") -> list[Sample]:
    return [sample(actual, run=number, place=place) for number, actual in enumerate(actuals, start=1)]


def calibrated(*samples: Sample, towards: float = 1.0) -> Calibration:
    found = calibrate(samples, towards)
    assert found is not None
    return found


def test_without_samples_nothing_is_known() -> None:
    assert calibrate([]) is None


def test_after_one_run_the_factor_goes_half_of_the_way() -> None:
    assert calibrated(*runs(400)).factor == pytest.approx(2, rel=ABOUT)


def test_after_many_runs_that_agree_the_factor_is_theirs() -> None:
    assert calibrated(*runs(*[200] * 20)).factor == pytest.approx(2, rel=0.05)


def test_several_samples_of_one_run_count_as_one_run() -> None:
    of_one_run = [sample(400, place=f"sales/d{number}") for number in range(5)]
    assert calibrated(*of_one_run).factor == pytest.approx(2, rel=ABOUT)


def test_one_bad_day_does_not_decide() -> None:
    calm = calibrated(*runs(100, 100, 100, 100)).factor
    assert calibrated(*runs(100, 100, 900, 100)).factor == pytest.approx(calm, rel=ABOUT)


def test_too_long_and_too_short_by_the_same_ratio_cancel_out() -> None:
    assert calibrated(*runs(50, 200)).factor == pytest.approx(1, rel=ABOUT)


def test_what_is_learned_already_is_not_learned_again_from_what_it_mended() -> None:
    mended = [sample(200, estimated=200, uncalibrated=100, run=number) for number in range(20)]
    assert calibrated(*mended).factor == pytest.approx(2, rel=0.05)


def test_the_factor_follows_the_newest_samples_and_the_record_all() -> None:
    found = calibrated(*runs(*[100] * 30, *[200] * FACTOR_SAMPLES_MAX))
    assert found.factor == pytest.approx(2, rel=0.05)
    assert found.record.runs == 30 + FACTOR_SAMPLES_MAX
    assert found.record.error == 0


def test_durations_near_what_everything_varies_by_teach_hardly_anything() -> None:
    tiny = [sample(0.003, uncalibrated=0.001, run=number) for number in range(20)]
    assert calibrated(*tiny).factor < 1.15


@pytest.mark.parametrize(("actual", "bound"), [(1e9, FACTOR_MAX), (1e-6, FACTOR_MIN)])
def test_the_factor_is_bounded(actual: float, bound: float) -> None:
    assert calibrated(*runs(*[actual] * 20)).factor == bound


@pytest.mark.parametrize("absurd", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("field", ["actual", "estimated", "p90", "uncalibrated"])
def test_absurd_samples_teach_nothing(absurd: float, field: str) -> None:
    values = {"actual": 100.0, "estimated": 100.0, "p90": 150.0, "uncalibrated": 100.0} | {field: absurd}
    broken = sample(**values, run=9)  # type: ignore[arg-type]  # the run is given apart
    assert calibrate([broken]) is None
    assert calibrate([*runs(400), broken]) == calibrate(runs(400))


def test_runs_that_agree_leave_no_spread_and_others_leave_theirs() -> None:
    assert calibrated(*runs(*[100] * 9)).spread == pytest.approx(0, abs=1e-9)
    assert calibrated(*runs(80, 90, 100, 110, 120)).spread == pytest.approx(0.156, rel=0.05)


def test_a_few_runs_that_agree_do_not_take_the_assumed_spread_away() -> None:
    assert calibrated(*runs(100)).spread_from(0.4) == pytest.approx(0.4 / math.sqrt(2))
    assert calibrated(*runs(*[100] * 24)).spread_from(0.4) == pytest.approx(0.4 / 5)


def test_the_record_tells_runs_the_median_error_and_what_the_ninth_decile_covered() -> None:
    record = calibrated(*runs(80, 100, 125, 200)).record
    assert record.runs == 4
    assert record.error == pytest.approx((0.2 + 0.25) / 2)
    assert record.p90_share == 0.75


def test_what_is_at_the_ninth_decile_is_covered() -> None:
    assert calibrated(*runs(150)).record.p90_share == 1


def test_a_place_without_samples_follows_its_like() -> None:
    alike = runs(400, place="hr/people")
    assert combined("sales/orders", [], alike) == calibrate(alike)


def test_a_place_with_one_sample_lies_between_it_and_its_like() -> None:
    alike = runs(*[400] * 20, place="hr/people")
    found = combined("sales/orders", runs(100), alike)
    assert found is not None
    assert found.factor == pytest.approx(2, rel=0.05)
    assert found.record.runs == 1


def test_a_place_with_many_samples_follows_them() -> None:
    alike = runs(*[400] * 20, place="hr/people")
    found = combined("sales/orders", runs(*[100] * 20), alike)
    assert found is not None
    assert found.factor == pytest.approx(1, rel=0.08)


def test_a_places_own_samples_do_not_count_again_among_those_of_its_like() -> None:
    assert combined("sales/orders", runs(400), runs(400)) == calibrate(runs(400))


def test_a_place_of_which_nothing_is_known_and_that_has_no_like_is_not_calibrated() -> None:
    assert combined("sales/orders", [], []) is None


samples = st.builds(
    sample,
    actual=st.floats(1e-3, 1e6),
    estimated=st.floats(1e-3, 1e6),
    uncalibrated=st.floats(1e-3, 1e6),
    run=st.integers(1, 40),
    place=st.sampled_from("abcd"),
)


@given(st.lists(samples, min_size=1, max_size=30, unique_by=lambda each: (each.run, each.place)), st.randoms())
def test_samples_teach_the_same_in_whatever_order_they_come(found: list[Sample], chance: random.Random) -> None:
    mixed = list(found)
    chance.shuffle(mixed)
    assert calibrate(mixed) == calibrate(found)


@given(st.lists(samples, min_size=1, max_size=30))
def test_whatever_happened_the_factor_is_bounded_and_the_spread_a_number(found: list[Sample]) -> None:
    calibration = calibrated(*found)
    assert FACTOR_MIN <= calibration.factor <= FACTOR_MAX
    assert 0 <= calibration.spread < math.inf
    assert 0 <= calibration.record.p90_share <= 1
