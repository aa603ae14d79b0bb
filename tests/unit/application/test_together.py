"""How lanes that were probed at once disturb each other, whenever each of them began and ended."""

import pytest

from pymigrate.engine.application.probed_measures import Sample
from pymigrate.engine.application.together import Lane, slowdowns_of
from pymigrate.v1 import impact_pb2, worker_pb2

ORDERS, ITEMS = ("sales", "orders"), ("sales", "items")
ALONE = {
    ORDERS: impact_pb2.StepMeasure(fixed_seconds=0.5, row_seconds=0.001),
    ITEMS: impact_pb2.StepMeasure(fixed_seconds=0.0, row_seconds=0.002),
}
ANSWER_SECONDS = 0.1


def a_sample(begin: float, end: float, rows: int, opening: float = 0.0) -> Sample:
    """A lane that was opened, copied in one chunk and closed between two moments, and told of it after its share was dropped."""
    found = worker_pb2.Probed(open_seconds=opening, drop_seconds=0.25)
    found.chunks.add(rows=rows, bytes=rows, seconds=end - begin - opening)
    return Sample(found, 2 * ANSWER_SECONDS, end + 0.25 + ANSWER_SECONDS)


def slowdowns(*samples: tuple[tuple[str, str], Sample]) -> dict[tuple[str, str], float]:
    lanes = [Lane(place, number, "") for number, (place, _) in enumerate(samples, start=1)]
    return slowdowns_of(lanes, [sample for _, sample in samples], ALONE)


def test_lanes_that_are_as_fast_as_alone_do_not_disturb_each_other() -> None:
    found = slowdowns((ORDERS, a_sample(0, 1.5, 1_000)), (ORDERS, a_sample(0, 1.5, 1_000)))
    assert found == {ORDERS: pytest.approx(1.0)}


def test_lanes_that_were_all_under_way_all_the_time_took_so_many_times_longer() -> None:
    samples = [(ORDERS, a_sample(0, 4.5, 1_000, opening=1.0)) for _ in range(4)]
    assert slowdowns(*samples) == {ORDERS: pytest.approx(3.0)}


def test_the_time_in_which_a_lane_was_alone_does_not_count_as_disturbed() -> None:
    first = a_sample(0, 4.0, 2_500)  # 3 s of work: alone for 2 s, and for 2 s twice as slow
    second = a_sample(2.0, 5.0, 1_500)  # 2 s of work
    assert slowdowns((ORDERS, first), (ORDERS, second)) == {ORDERS: pytest.approx(2.0)}


def test_lanes_that_hardly_met_are_compared_by_their_rows_alone() -> None:
    found = slowdowns((ORDERS, a_sample(0, 1.5, 1_000, 0.5)), (ORDERS, a_sample(1.4, 3.9, 1_000, 0.5)))
    assert found == {ORDERS: pytest.approx(1.5)}


def test_lanes_disturb_each_other_by_no_more_than_taking_turns() -> None:
    found = slowdowns((ORDERS, a_sample(0, 30.0, 100)), (ORDERS, a_sample(0, 30.0, 100)))
    assert found == {ORDERS: pytest.approx(2.0)}
    shortly = slowdowns((ORDERS, a_sample(0, 0.2, 1)), (ORDERS, a_sample(0, 0.2, 1)))
    assert shortly == {ORDERS: 2.0}


def test_a_number_in_between_is_taken_as_a_rehearsal_interpolates_it() -> None:
    # Of three lanes that make each other three times slower, two make each other twice as slow.
    samples = [a_sample(0, 6.0, 2_167), a_sample(0, 6.0, 2_167), a_sample(4.0, 6.0, 167)]
    assert slowdowns(*((ORDERS, sample) for sample in samples)) == {ORDERS: pytest.approx(3.0, rel=1e-3)}


def test_each_dataset_is_disturbed_in_its_own_way() -> None:
    found = slowdowns((ORDERS, a_sample(0, 3.0, 1_000)), (ITEMS, a_sample(0, 3.0, 1_000)))
    assert found == {ORDERS: pytest.approx(2.0), ITEMS: pytest.approx(1.5)}
