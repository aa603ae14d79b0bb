"""Systems that are opened anew between chunks, because their secrets have changed: every row arrives, once, whatever happens in between."""

import random
from collections.abc import Sequence

import pytest

from pymigrate.engine.domain.errors import CredentialsRefused, PyMigrateError, SystemUnavailable
from pymigrate.engine.ports.source import Source
from pymigrate.engine.testing.connectors import MemorySource
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.inline_means import INLINE
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome
from pymigrate.engine.transfer.means import DEFAULT, Means
from tests.unit.transfer.lanes import COLUMNS, Asked, Lane, Row, orders

SEEDS = 150
ROWS = 95
STEPS = ("open_source", "open_target", "read", "commit", "hand_over", "state")
ATTEMPTS_MAX = 200


class Rotating:
    """A lane whose secrets change at the boundaries that a test says; every source that was opened is kept."""

    def __init__(self, lane: Lane, *, target: Sequence[int] = (), source: Sequence[int] = (), doubts: int = 0) -> None:
        self.lane = lane
        self.target, self.source = set(target), set(source)
        self.doubts = doubts
        self.sources: list[MemorySource] = []

    @property
    def chunk(self) -> int:
        """The boundary after so many chunks."""
        return self.lane.checkpoint().chunks

    def open_source(self) -> Source:
        opened = self.lane.open_source()
        assert isinstance(opened, MemorySource)
        self.sources.append(opened)
        return opened

    def is_target_due(self) -> bool:
        return self.chunk in self.target

    def is_source_due(self) -> bool:
        return self.chunk in self.source

    def open_heir(self) -> Source | None:
        former = self.sources[-1]
        try:
            heir = self.lane.open_source()
            former.hand_over(heir)
        except PyMigrateError:
            return None
        assert isinstance(heir, MemorySource)
        self.sources.append(heir)
        return heir

    def doubt_source(self) -> bool:
        self.doubts -= 1
        return self.doubts >= 0

    def attempt(self, means: Means = DEFAULT) -> CopyOutcome:
        lane = self.lane
        return copy_lane(
            lane.next(), self.open_source, lane.open_target, Asked(), lane.progress.append, means, renewal=self
        )


class Forgetful(Rotating):
    """Its next session reads what there is by then."""

    def open_heir(self) -> Source | None:
        heir = self.lane.open_source()
        assert isinstance(heir, MemorySource)
        self.sources.append(heir)
        return heir


def test_both_sides_are_opened_anew_at_the_boundary_and_nothing_is_read_or_written_twice() -> None:
    lane = Lane(orders(45), has_state=False)
    rotating = Rotating(lane, target=(2, 4), source=(1, 3))
    outcome = rotating.attempt()
    assert lane.is_exactly(orders(45))
    assert outcome.checkpoint.chunks == len(lane.progress) - 1 == 5
    assert lane.target.faults.seen("open_target") == 3
    assert [source.is_closed for source in rotating.sources] == [True, True, True]
    assert lane.source.faults.seen("read") <= 5 + 2  # what was read ahead is read again


def test_the_next_session_reads_what_the_first_one_saw_though_the_source_has_changed_since() -> None:
    for kind, is_whole in ((Rotating, True), (Forgetful, False)):
        lane = Lane(orders(45), has_state=False)
        rotating = kind(lane, source=(2,))
        lane.source.faults.at("read", 3, lambda lane=lane: lane.source.put("orders", COLUMNS, orders(45, "other")))  # type: ignore[misc]
        rotating.attempt(INLINE)
        assert lane.is_exactly(orders(45)) is is_whole


def test_a_source_that_can_not_be_opened_anew_is_read_on_as_it_is() -> None:
    lane = Lane(orders(45), has_state=False)
    rotating = Rotating(lane, source=(1, 3))
    lane.source.faults.fail("hand_over", 1)
    lane.source.faults.fail("open_source", 3, error=CredentialsRefused("no"))
    rotating.attempt(INLINE)
    assert lane.is_exactly(orders(45))
    assert len(rotating.sources) == 1


def test_a_page_that_is_refused_is_asked_for_again_with_what_else_there_is() -> None:
    lane = Lane(orders(45), has_state=False)
    lane.source.faults.fail("read", 3, error=CredentialsRefused("no"))
    Rotating(lane, doubts=1).attempt()
    assert lane.is_exactly(orders(45))


def test_a_page_that_is_refused_with_everything_there_is_stalls_the_lane_where_it_stands() -> None:
    lane = Lane(orders(45), has_state=False)
    rotating = Rotating(lane, doubts=1)
    for nth in (3, 4):
        lane.source.faults.fail("read", nth, error=CredentialsRefused("no"))
    with pytest.raises(CredentialsRefused) as refused:
        rotating.attempt(INLINE)
    assert refused.value.field == "source.connection"
    assert lane.checkpoint().chunks in {1, 2}
    rotating.attempt()
    assert lane.is_exactly(orders(45))


def test_a_refused_source_that_can_not_be_opened_anew_is_no_source_that_has_ended() -> None:
    lane = Lane(orders(45), has_state=False)
    lane.source.faults.fail("read", 3, error=CredentialsRefused("no"))
    lane.source.faults.fail("hand_over", 1)
    with pytest.raises(CredentialsRefused):
        Rotating(lane, doubts=1).attempt()


def test_a_target_that_refuses_the_login_is_not_tried_over_and_over_by_one_attempt() -> None:
    lane = Lane(orders(45))
    rotating = Rotating(lane, target=(2,))
    for nth in range(2, 20):
        lane.target.faults.fail("open_target", nth, error=CredentialsRefused("no"))
    with pytest.raises(CredentialsRefused):
        rotating.attempt()
    assert lane.target.faults.seen("open_target") <= 3
    assert lane.checkpoint().chunks == 2


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_row_is_lost_or_doubled_under_any_rotation_with_faults(seed: int) -> None:
    rng = random.Random(seed)
    lane = Lane(orders(ROWS), has_state=rng.random() < 0.3)
    rows: list[Row] = orders(ROWS)
    chunks = range(1, ROWS // 10 + 1)
    for _ in range(ATTEMPTS_MAX):
        rotating = Rotating(
            lane,
            target=[chunk for chunk in chunks if rng.random() < 0.4],
            source=[chunk for chunk in chunks if rng.random() < 0.4],
            doubts=rng.randrange(3),
        )
        for _ in range(rng.randrange(4)):
            database, step = rng.choice([lane.source, lane.target]), rng.choice(STEPS)
            error = rng.choice([SystemUnavailable("away"), CredentialsRefused("no"), Crash()])
            database.faults.fail(step, rng.randrange(1, 8), is_after=rng.random() < 0.5, error=error)
        try:
            rotating.attempt(INLINE)
        except (PyMigrateError, Crash):
            if rng.random() < 0.3:
                rows = orders(ROWS, f"order of {rng.randrange(9)}")
                lane.source.put("orders", COLUMNS, rows)
            continue
        assert lane.is_exactly(rows)
        return
    raise AssertionError("the lane never ends")
