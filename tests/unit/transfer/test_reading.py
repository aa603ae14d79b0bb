"""A source on a thread of its own: whoever gives it up does not wait for what it waits for."""

from pymigrate.engine.ports.source import Source
from pymigrate.engine.testing.connectors import MemorySource
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.memory import MemoryBudget
from tests.unit.transfer.lanes import COLUMNS, Asked, Lane, orders


def test_a_source_that_waits_for_room_to_read_ahead_is_closed_with_its_reader() -> None:
    lane, opened = Lane(orders(40)), list[Source]()

    def open_source() -> Source:
        opened.append(lane.open_source())
        return opened[0]

    with Means(budget=MemoryBudget(1)).read(open_source, Asked()) as reader:
        chunks = reader.chunks(lane.job.relation, COLUMNS, None)
        first = next(chunks)  # there is room for one chunk alone, and this one is held
    [source] = opened
    assert first.rows == 10
    assert isinstance(source, MemorySource)
    assert source.is_closed
    assert next(chunks, None) is None
