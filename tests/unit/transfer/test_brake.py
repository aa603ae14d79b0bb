"""A lane keeps to its rate: it waits before it reads."""

import random
from itertools import pairwise

import pytest

from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.brake import WAIT_SECONDS_MAX, Brake
from tests.unit.transfer.lanes import Asked, Lane, orders

CHUNK = SourceChunk((), 50, 1_000, Position("p"))


def waited(brake: Brake, asked: Asked) -> float:
    """The seconds that the brake waits once."""
    asked.waits.clear()
    brake.wait()
    return sum(asked.waits)


def test_a_lane_without_a_limit_waits_for_nothing() -> None:
    asked = Asked()
    assert waited(Brake(asked, 1_000, random.Random(1)), asked) == 0


def test_each_chunk_is_waited_for_as_long_as_the_one_before_should_have_taken() -> None:
    asked = Asked(allowed=Rate(400.0, 1_000.0))
    brake = Brake(asked, 1_000, random.Random(1))
    brake.wait()
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(2.5)
    assert max(asked.waits) <= WAIT_SECONDS_MAX
    asked.allowed = Rate(0.0, 10.0)
    assert waited(brake, asked) == pytest.approx(5.0)


def test_lanes_that_start_together_do_not_read_together() -> None:
    firsts = []
    for seed in range(20):
        asked = Asked(allowed=Rate(100.0))
        firsts.append(waited(Brake(asked, 1_000, random.Random(seed)), asked))
    assert all(0 <= first < 10 for first in firsts)
    assert all(one != other for one, other in pairwise(sorted(firsts)))


def test_a_rate_that_rises_meanwhile_ends_the_wait_sooner() -> None:
    class Rising(Asked):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            self.allowed = Rate(10_000.0)

    asked = Rising(allowed=Rate(100.0))
    brake = Brake(asked, 1_000, random.Random(1))
    brake.took(CHUNK)
    assert waited(brake, asked) == pytest.approx(1.0 + 0.9 * 0.1)


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    for asked in (Asked(draining=True, allowed=Rate(1.0)), Asked(lost=True, allowed=Rate(1.0))):
        brake = Brake(asked, 1_000, random.Random(1))
        brake.took(CHUNK)
        assert waited(brake, asked) == 0


def test_a_lane_with_a_limit_copies_everything_and_waits_for_each_chunk() -> None:
    rows = orders(95)
    lane, asked = Lane(rows), Asked(allowed=Rate(1_000.0))
    lane.attempt(asked)
    assert lane.is_exactly(rows)
    assert sum(asked.waits) == pytest.approx(95 * 10 / 1_000, abs=0.1)


def test_a_brake_that_is_let_go_holds_nobody_any_more() -> None:
    asked = Asked(allowed=Rate(1.0, 0.0))
    brake = Brake(asked, 1_000, random.Random(1))
    brake.let_go()
    assert waited(brake, asked) == 0
