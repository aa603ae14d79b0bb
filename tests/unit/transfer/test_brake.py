"""A lane keeps to its rate: it reads a chunk no sooner than the one before should have taken since it was begun."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.brake import WAIT_SECONDS_MAX, Brake
from pymigrate.engine.transfer.means import DEFAULT
from tests.unit.transfer.lanes import Asked, Lane, orders

CHUNK = SourceChunk((), 50, 1_000, Position("p"))


def a_brake(asked: Asked, lead_bytes: int = 0) -> Brake:
    return Brake(asked, asked.monotonic, lead_bytes)


def waited(brake: Brake, asked: Asked) -> float:
    """The seconds that the brake waits once."""
    asked.waits.clear()
    brake.wait()
    return sum(asked.waits)


def test_a_lane_without_a_limit_waits_for_nothing() -> None:
    asked = Asked()
    assert waited(a_brake(asked, 1_000), asked) == 0


def test_each_chunk_is_waited_for_as_long_as_the_one_before_should_have_taken() -> None:
    asked = Asked(allowed=Rate(400.0, 1_000.0))
    brake = a_brake(asked)
    brake.wait()
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(2.5)
    assert max(asked.waits) <= WAIT_SECONDS_MAX
    asked.allowed = Rate(0.0, 10.0)
    assert waited(brake, asked) == pytest.approx(5.0)


def test_what_reading_and_writing_took_is_not_waited_for_again() -> None:
    asked = Asked(allowed=Rate(100.0))
    brake = a_brake(asked, 1_000)
    assert waited(brake, asked) == pytest.approx(10.0)
    asked.seconds += 4.0
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(6.0)


def test_a_chunk_that_came_late_is_made_up_for_with_the_next_one() -> None:
    asked = Asked(allowed=Rate(100.0))
    brake = a_brake(asked)
    brake.wait()
    brake.took(CHUNK)
    brake.wait()
    asked.seconds += 13.0
    brake.took(CHUNK)
    assert waited(brake, asked) == 0
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(7.0)


def test_a_lane_that_stood_still_for_long_makes_up_for_one_chunk_alone() -> None:
    asked = Asked(allowed=Rate(100.0))
    brake = a_brake(asked, 1_000)
    brake.wait()
    asked.seconds += 1_000.0
    found = []
    for _ in range(3):
        brake.took(CHUNK)
        found.append(waited(brake, asked))
    assert found == [0, 0, pytest.approx(10.0)]


def test_lanes_that_start_together_do_not_read_together() -> None:
    means, firsts = replace(DEFAULT, lead=random.Random(1).random), []
    for _ in range(20):
        asked = Asked(allowed=Rate(100.0))
        firsts.append(waited(replace(means, monotonic=asked.monotonic).brake(asked, 1_000), asked))
    assert all(0 <= first < 10 for first in firsts)
    assert all(one != other for one, other in pairwise(sorted(firsts)))


def test_a_rate_that_rises_meanwhile_ends_the_wait_sooner() -> None:
    class Rising(Asked):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            self.allowed = Rate(10_000.0)

    asked = Rising(allowed=Rate(100.0))
    brake = a_brake(asked)
    brake.wait()
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(1.0 + 0.9 * 0.1)


def test_a_lane_that_is_held_to_a_rate_from_now_on_begins_to_count_now() -> None:
    asked = Asked(allowed=FREE)
    brake = a_brake(asked)
    brake.took(CHUNK)
    brake.wait()
    asked.seconds += 100.0
    asked.allowed = Rate(100.0)
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(10.0)


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    for asked in (Asked(draining=True, allowed=Rate(1.0)), Asked(lost=True, allowed=Rate(1.0))):
        brake = a_brake(asked, 1_000)
        brake.took(CHUNK)
        assert waited(brake, asked) == 0


def test_a_lane_with_a_limit_copies_everything_in_the_time_that_its_rate_makes_it() -> None:
    rows = orders(95)
    lane, asked = Lane(rows), Asked(allowed=Rate(1_000.0))
    lane.attempt(asked, means=replace(DEFAULT, monotonic=asked.monotonic, lead=lambda: 0.5))
    assert lane.is_exactly(rows)
    assert asked.seconds == pytest.approx(95 * 10 / 1_000 + 0.05, abs=1e-6)


def test_a_brake_that_is_let_go_holds_nobody_any_more() -> None:
    asked = Asked(allowed=Rate(1.0, 0.0))
    brake = a_brake(asked, 1_000)
    brake.let_go()
    assert waited(brake, asked) == 0
