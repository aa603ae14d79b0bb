"""The memory that lanes have together: room is waited for, nobody starves, and everything is given back."""

import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.transfer.memory import LaneMemory, MemoryBudget
from tests.unit.transfer.lanes import Asked, Lane, orders

SECONDS_MAX = 30


def chunk_of(size: int) -> SourceChunk:
    return SourceChunk((), 1, size, Position("p"), (b"x" * size,))


class Waiting:
    """A call that is made on a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.is_done = threading.Event()
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], object]) -> None:
        call()
        self.is_done.set()

    def ends(self) -> bool:
        return self.is_done.wait(SECONDS_MAX)


def until_waiting(budget: MemoryBudget, lanes: int) -> None:
    """Until so many lanes wait for room."""
    with budget.changed:
        assert budget.changed.wait_for(lambda: len(budget.waiting) == lanes, SECONDS_MAX)


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(100)


def test_a_chunk_is_counted_as_what_it_turned_out_to_be_until_it_is_written(budget: MemoryBudget) -> None:
    lane = LaneMemory(budget, 60, Asked())
    lane.reserve()
    assert budget.held_bytes == 60
    lane.came(chunk_of(25))
    assert budget.held_bytes == 25
    lane.release()
    assert budget.held_bytes == 0


def test_the_bytes_of_batches_count_too(budget: MemoryBudget) -> None:
    lane, batch = LaneMemory(budget, 60, Asked()), pa.record_batch({"a": pa.array([1, 2, 3], pa.int64())})
    lane.reserve()
    lane.came(SourceChunk((batch,), 3, 5, Position("p")))
    assert budget.held_bytes == batch.nbytes == 24


def test_who_finds_no_room_waits_until_another_has_written(budget: MemoryBudget) -> None:
    first, second = LaneMemory(budget, 70, Asked()), LaneMemory(budget, 70, Asked())
    first.reserve()
    waiting = Waiting(second.reserve)
    until_waiting(budget, 1)
    first.release()
    assert waiting.ends()
    assert budget.held_bytes == 70


def test_a_chunk_larger_than_everything_is_let_in_alone(budget: MemoryBudget) -> None:
    lane = LaneMemory(budget, 500, Asked())
    lane.reserve()
    assert budget.held_bytes == 500


def test_a_lane_with_nothing_comes_before_one_that_reads_ahead(budget: MemoryBudget) -> None:
    rich, poor, other = (LaneMemory(budget, 40, Asked()) for _ in range(3))
    rich.reserve()
    other.reserve()
    ahead = Waiting(rich.reserve)
    until_waiting(budget, 1)
    first = Waiting(poor.reserve)
    until_waiting(budget, 2)
    other.release()
    assert first.ends()
    assert not ahead.is_done.is_set()
    poor.release()
    assert ahead.ends()


def test_who_is_asked_to_stop_does_not_wait(budget: MemoryBudget) -> None:
    holder, asked = LaneMemory(budget, 90, Asked()), Asked()
    holder.reserve()
    lane = LaneMemory(budget, 90, asked)
    waiting = Waiting(lane.reserve)
    until_waiting(budget, 1)
    asked.draining = True
    assert waiting.ends()
    lane.close()
    assert budget.held_bytes == 90


def test_a_larger_budget_lets_those_in_who_wait(budget: MemoryBudget) -> None:
    holder, lane = LaneMemory(budget, 90, Asked()), LaneMemory(budget, 90, Asked())
    holder.reserve()
    waiting = Waiting(lane.reserve)
    until_waiting(budget, 1)
    budget.resize(200)
    assert waiting.ends()


def test_a_lane_that_has_ended_takes_nothing_any_more(budget: MemoryBudget) -> None:
    lane = LaneMemory(budget, 30, Asked())
    lane.reserve()
    lane.close()
    lane.reserve()
    lane.came(None)
    lane.close()
    assert budget.held_bytes == 0


def test_room_for_a_block_is_given_back_after_an_error(budget: MemoryBudget) -> None:
    with pytest.raises(ValueError, match="broken"), budget.held(80, Asked()):
        raise ValueError("broken")
    assert budget.held_bytes == 0


def test_many_lanes_in_little_memory_copy_everything_and_give_all_of_it_back() -> None:
    budget, rows = MemoryBudget(300), orders(95)
    lanes = [Lane(rows) for _ in range(8)]
    copies = [Waiting(lambda lane=lane: lane.attempt(budget=budget)) for lane in lanes]  # type: ignore[misc]
    assert all(copy.ends() for copy in copies)
    assert all(lane.is_exactly(rows) for lane in lanes)
    assert budget.held_bytes == 0
