"""One attempt at a lane after the other, whatever happens in between: every row arrives, once."""

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import DataRefused, FenceLost, PyMigrateError, SourceChanged, SystemUnavailable
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.source import Source, SourceChunk
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.testing.connectors import MemorySource
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.memory_target import MemoryTarget
from pymigrate.engine.transfer.attempt import COMMIT_TRIES_MAX, copy_lane
from pymigrate.engine.transfer.checksum import combine
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.signals import LeaseLost
from pymigrate.engine.transfer.verification import verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.unit.transfer.lanes import CHUNK_ROWS, COLUMNS, Asked, Lane, orders

ROWS = 45
CHUNKS = 5
ATTEMPTS_MAX = 200


def ended(lane: Lane) -> Checkpoint:
    """Attempts until one gets to the end."""
    for _ in range(ATTEMPTS_MAX):
        try:
            return lane.attempt().checkpoint
        except (Crash, PyMigrateError):
            continue
    raise AssertionError("the lane never ends")


def test_a_lane_is_copied_whole_and_counted() -> None:
    lane = Lane(orders(ROWS))
    lane.freeze()
    outcome = lane.attempt()
    assert not outcome.is_drained
    assert lane.is_exactly(orders(ROWS))
    assert (outcome.checkpoint.chunks, outcome.checkpoint.bytes) == (CHUNKS, ROWS * 10)
    assert outcome.checkpoint.checksum == combine([outcome.checkpoint.checksum])
    assert [checkpoint.chunks for checkpoint in lane.progress] == [0, 1, 2, 3, 4, 5]


def test_an_empty_relation_is_a_lane_that_is_done() -> None:
    lane = Lane([])
    assert lane.attempt().checkpoint == Checkpoint()
    assert lane.is_exactly([])


def test_a_lane_that_is_done_is_done_again_without_a_commit() -> None:
    lane = Lane(orders(ROWS))
    first = lane.attempt().checkpoint
    commits = lane.target.faults.seen("commit")
    assert lane.attempt().checkpoint == first
    assert lane.target.faults.seen("commit") == commits


@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(
    ("side", "step", "times"),
    [
        ("target", "open_target", 1),
        ("target", "prepare", 1),
        ("target", "claim", 1),
        ("target", "commit", CHUNKS),
        ("source", "open_source", 1),
        ("source", "state", 2),
        ("source", "read", CHUNKS),
    ],
)
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    side: str, step: str, times: int, is_after: bool, has_state: bool
) -> None:
    for nth in range(1, times + 1):
        lane = Lane(orders(ROWS), has_state=has_state)
        lane.freeze()
        database = lane.target if side == "target" else lane.source
        database.faults.fail(step, nth, is_after=is_after, error=Crash())
        is_planned = not is_after or step in {"prepare", "claim", "commit"}
        if is_planned:
            with pytest.raises(Crash):
                lane.attempt()
        ended(lane)
        assert lane.is_exactly(orders(ROWS)), (step, nth)


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(20))
def test_attempts_that_fail_at_random_end_with_every_row_once(seed: int) -> None:
    rng = random.Random(seed)
    lane = Lane(orders(ROWS), has_state=rng.random() < 0.5)
    lane.freeze()
    steps = ("prepare", "claim", "commit", "commit", "checkpoint", "open_target", "open_source", "read", "state")
    for _ in range(30):
        step = rng.choice(steps)
        database = lane.source if step in {"open_source", "read", "state"} else lane.target
        error = rng.choice([Crash(), SystemUnavailable("away"), RuntimeError("driver")])
        database.faults.fail(step, rng.randrange(1, 6), is_after=rng.random() < 0.5, error=error)
        try:
            lane.attempt()
        except (Crash, PyMigrateError, RuntimeError):
            continue
    lane.source.faults._planned.clear()
    lane.target.faults._planned.clear()
    lane.attempt()
    assert lane.is_exactly(orders(ROWS))


def overtaken_at(lane: Lane, nth: int, open_target: Any = None) -> None:
    """While the first attempt is about to make its nth commit, another host has taken the lane and copied all of it."""
    zombie = lane.next()
    lane.target.faults.at("commit", nth, lambda: void(lane.attempt(open_target=open_target)))
    with pytest.raises(FenceLost):
        lane.attempt(job=zombie, open_target=open_target)


def void(_: object) -> None:
    """What it returned does not count."""


@pytest.mark.parametrize("nth", range(1, CHUNKS + 1))
def test_a_host_that_was_overtaken_commits_nothing_more(nth: int) -> None:
    lane = Lane(orders(ROWS))
    overtaken_at(lane, nth)
    assert lane.is_exactly(orders(ROWS))


class Unfenced(MemoryTarget):
    """A target that takes every commit."""

    def _stand(self, staging: Staging, lane: str, fence: int, before: Checkpoint) -> None:
        """Nothing is checked."""


def test_the_test_above_catches_a_target_without_fences() -> None:
    lane = Lane(orders(ROWS))
    zombie = lane.next()
    lane.target.faults.at("commit", 2, lambda: void(lane.attempt(open_target=lambda: Unfenced(lane.target))))
    lane.attempt(job=zombie, open_target=lambda: Unfenced(lane.target))
    assert not lane.is_exactly(orders(ROWS))


def test_an_older_fence_than_the_targets_is_refused_before_anything_is_read() -> None:
    lane = Lane(orders(ROWS))
    stale = lane.next()
    lane.attempt()
    reads = lane.source.faults.seen("read")
    with pytest.raises(FenceLost):
        lane.attempt(job=stale)
    assert lane.source.faults.seen("read") == reads


@pytest.mark.parametrize("is_after", [False, True])
def test_a_commit_of_unknown_outcome_is_looked_up_and_never_repeated_blindly(is_after: bool) -> None:
    for nth in range(1, CHUNKS + 1):
        lane = Lane(orders(ROWS))
        lane.target.faults.fail("commit", nth, is_after=is_after)
        asked = Asked()
        lane.attempt(asked)
        assert lane.is_exactly(orders(ROWS))
        assert lane.target.faults.seen("commit") == CHUNKS + (not is_after)
        assert len(asked.waits) == (not is_after)


def test_a_commit_that_keeps_failing_is_given_up_with_its_checkpoint_kept() -> None:
    lane = Lane(orders(ROWS))
    for nth in range(3, 3 + COMMIT_TRIES_MAX):
        lane.target.faults.fail("commit", nth)
    with pytest.raises(SystemUnavailable):
        lane.attempt()
    assert lane.checkpoint().chunks == 2
    lane.attempt()
    assert lane.is_exactly(orders(ROWS))


def test_a_target_that_stays_away_after_a_commit_is_asked_a_few_times() -> None:
    lane = Lane(orders(ROWS))
    lane.target.faults.fail("commit", 2, is_after=True)
    for nth in range(2, 7):  # the first one opened is that of the claim
        lane.target.faults.fail("open_target", nth)
    with pytest.raises(SystemUnavailable):
        lane.attempt()
    assert lane.target.faults.seen("open_target") == 5
    assert ended(lane).rows == ROWS
    assert lane.is_exactly(orders(ROWS))


def test_an_unknown_commit_under_a_lost_fence_ends_the_attempt() -> None:
    lane = Lane(orders(ROWS))
    zombie = lane.next()

    def be_overtaken() -> None:
        lane.attempt()
        raise SystemUnavailable("the connection broke")

    lane.target.faults.at("commit", 2, be_overtaken)
    with pytest.raises(FenceLost, match="fence 2"):
        lane.attempt(job=zombie)
    assert lane.is_exactly(orders(ROWS))


def test_a_lane_that_stands_where_it_cannot_is_not_continued() -> None:
    lane = Lane(orders(ROWS))

    def move() -> None:
        at = lane.target.lanes["s1", "lane"]
        lane.target.lanes["s1", "lane"] = replace(at, checkpoint=replace(at.checkpoint, chunks=40))
        raise SystemUnavailable("the connection broke")

    lane.target.faults.at("commit", 2, move)
    with pytest.raises(FenceLost, match="stands at chunk 40"):
        lane.attempt()


def stopped_after(lane: Lane, chunks: int) -> None:
    """An attempt that got so far."""
    lane.target.faults.fail("commit", chunks + 1, error=Crash())
    with pytest.raises(Crash):
        lane.attempt()
    assert lane.checkpoint().chunks == chunks


def test_a_source_with_a_state_is_continued_after_its_position() -> None:
    lane = Lane(orders(ROWS))
    lane.freeze()
    stopped_after(lane, 3)
    reads = lane.source.faults.seen("read")
    lane.attempt()
    assert lane.source.faults.seen("read") - reads == CHUNKS - 3
    assert lane.is_exactly(orders(ROWS))


def test_a_source_without_a_state_is_continued_after_its_committed_part_was_read_again() -> None:
    lane = Lane(orders(ROWS), has_state=False)
    stopped_after(lane, 3)
    reads, commits = lane.source.faults.seen("read"), lane.target.faults.seen("commit")
    lane.attempt()
    assert lane.source.faults.seen("read") - reads == CHUNKS
    assert lane.target.faults.seen("commit") - commits == CHUNKS - 3
    assert lane.is_exactly(orders(ROWS))


def test_rows_that_came_after_the_committed_part_are_taken_along() -> None:
    lane = Lane(orders(ROWS), has_state=False)
    stopped_after(lane, 3)
    lane.source.put("orders", COLUMNS, orders(ROWS + 20))
    commits = lane.target.faults.seen("commit")
    lane.attempt()
    assert lane.target.faults.seen("commit") - commits == 4
    assert lane.is_exactly(orders(ROWS + 20))


def test_a_committed_part_is_recognised_across_other_chunk_boundaries() -> None:
    lane = Lane(orders(ROWS), has_state=False)
    stopped_after(lane, 3)
    lane.job = replace(lane.job, relation=replace(lane.job.relation, chunk_bytes=170))
    commits = lane.target.faults.seen("commit")
    last = lane.attempt().checkpoint
    assert lane.target.faults.seen("commit") - commits == 2  # rows 31 to 34, and 35 to 45
    assert last.bytes == ROWS * 10
    assert lane.is_exactly(orders(ROWS))


@pytest.mark.parametrize("rows", [orders(ROWS, "other"), orders(25), [], [*orders(29), (29, "x"), *orders(ROWS)[30:]]])
def test_a_committed_part_that_changed_is_given_up_and_all_is_copied_anew(rows: list[Any]) -> None:
    lane = Lane(orders(ROWS), has_state=False)
    stopped_after(lane, 3)
    lane.source.put("orders", COLUMNS, rows)
    lane.attempt()
    assert lane.is_exactly(rows)
    assert lane.progress[-1] == lane.checkpoint()
    assert Checkpoint() in lane.progress


def test_a_state_that_changed_since_the_checkpoint_is_not_continued_after_its_position() -> None:
    lane = Lane(orders(ROWS))  # the run froze no state, as where the source had none then
    stopped_after(lane, 3)
    lane.source.put("orders", COLUMNS, orders(ROWS, "other"))
    lane.attempt()
    assert lane.is_exactly(orders(ROWS, "other"))


@pytest.mark.parametrize(("has_state", "resets"), [(True, 0), (False, 1)])
def test_a_digest_of_another_version_is_made_anew_where_the_source_is_the_same(has_state: bool, resets: int) -> None:
    lane = Lane(orders(ROWS), has_state=has_state)
    stopped_after(lane, 3)
    at = lane.target.lanes["s1", "lane"]
    older = replace(at.checkpoint, checksum="duckdb-hash-0.9.0:00000000000000ff")
    lane.target.lanes["s1", "lane"] = replace(at, checkpoint=older)
    last = lane.attempt().checkpoint
    assert lane.target.faults.seen("reset") == resets
    assert lane.is_exactly(orders(ROWS))
    assert last.checksum == Lane(orders(ROWS)).attempt().checkpoint.checksum


def test_a_source_that_changed_before_the_lane_began_is_refused() -> None:
    lane = Lane(orders(ROWS))
    lane.freeze()
    lane.source.put("orders", COLUMNS, orders(ROWS, "other"))
    with pytest.raises(SourceChanged, match="dataset orders") as changed:
        lane.attempt()
    assert changed.value.field == "source.relation"
    assert lane.target.faults.seen("commit") == 0


def test_a_source_that_changes_while_it_is_copied_is_refused_at_the_end() -> None:
    lane = Lane(orders(ROWS))
    lane.freeze()
    lane.target.faults.at("commit", 3, lambda: lane.source.put("orders", COLUMNS, orders(ROWS, "other")))
    with pytest.raises(SourceChanged):
        lane.attempt()


def test_draining_ends_the_attempt_between_chunks_and_the_next_one_goes_on() -> None:
    lane, asked = Lane(orders(ROWS)), Asked()

    def drain() -> None:
        asked.draining = True

    lane.target.faults.at("commit", 2, drain, is_after=True)
    outcome = lane.attempt(asked)
    assert outcome.is_drained
    assert outcome.checkpoint == lane.checkpoint()
    assert outcome.checkpoint.chunks == 2
    assert lane.attempt().checkpoint.rows == ROWS
    assert lane.is_exactly(orders(ROWS))


def test_draining_before_the_first_chunk_tells_how_far_the_lane_got_before() -> None:
    lane = Lane(orders(ROWS))
    stopped_after(lane, 3)
    outcome = lane.attempt(Asked(draining=True))
    assert outcome.is_drained
    assert outcome.checkpoint.chunks == 3


def test_a_lost_lease_commits_nothing_more() -> None:
    lane, asked = Lane(orders(ROWS)), Asked()

    def lose() -> None:
        asked.lost = True

    lane.target.faults.at("commit", 2, lose, is_after=True)
    with pytest.raises(LeaseLost):
        lane.attempt(asked)
    assert lane.checkpoint().chunks == 2
    assert lane.target.faults.seen("commit") == 2


def test_a_lease_that_is_lost_before_the_claim_claims_nothing() -> None:
    lane = Lane(orders(ROWS))
    with pytest.raises(LeaseLost):
        lane.attempt(Asked(lost=True))
    assert lane.target.faults.seen("open_target") == 0


def test_a_lease_that_is_lost_during_a_retry_ends_it() -> None:
    lane, asked = Lane(orders(ROWS)), Asked()

    def lose() -> None:
        asked.lost = True
        raise SystemUnavailable("the connection broke")

    lane.target.faults.at("commit", 2, lose)
    with pytest.raises(LeaseLost):
        lane.attempt(asked)
    assert lane.target.faults.seen("commit") == 2


def test_a_source_that_is_away_leaves_the_checkpoint_as_it_is() -> None:
    lane = Lane(orders(ROWS))
    lane.source.faults.fail("read", 4)
    with pytest.raises(SystemUnavailable) as away:
        lane.attempt()
    assert away.value.is_temporary
    assert lane.checkpoint().chunks <= 3
    lane.attempt()
    assert lane.is_exactly(orders(ROWS))


def test_a_row_that_does_not_fit_is_refused_with_what_came_before_it_kept() -> None:
    lane = Lane(orders(ROWS))
    required = (COLUMNS[0], replace(COLUMNS[1], is_required=True))
    lane.job = replace(lane.job, staging=replace(lane.job.staging, columns=required))
    with pytest.raises(DataRefused, match="row 1: NULL"):
        lane.attempt()
    assert lane.is_exactly([])


def test_reading_is_never_more_than_two_chunks_ahead_of_writing() -> None:
    lane = Lane(orders(200))
    ahead: list[int] = []
    for nth in range(1, 21):
        lane.target.faults.at(
            "commit",
            nth,
            lambda nth=nth: ahead.append(lane.source.faults.seen("read") - nth),  # type: ignore[misc]
        )
    lane.attempt()
    assert len(ahead) == 20
    assert max(ahead) <= 1


class Miscounting(MemorySource):
    """A source whose chunks say one row too many."""

    def chunks(self, *arguments: Any) -> Iterator[SourceChunk]:
        for chunk in super().chunks(*arguments):
            yield replace(chunk, rows=chunk.rows + 1)


def test_a_chunk_that_miscounts_itself_is_a_defect_and_not_written() -> None:
    lane = Lane(orders(ROWS))
    with pytest.raises(ValueError, match="says 11 rows and holds 10"):
        copy_lane(lane.next(), lambda: Miscounting(lane.source), lane.open_target, Asked(), lane.progress.append)
    assert lane.is_exactly([])


class Hanging(MemorySource):
    """A source whose second read hangs until it is let go."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.source)
        self.is_hanging, self.go_on, self.closed = threading.Event(), threading.Event(), threading.Event()

    def chunks(self, *arguments: Any) -> Iterator[SourceChunk]:
        yield from list(super().chunks(*arguments))[:1]
        self.is_hanging.set()
        assert self.go_on.wait(60)

    def close(self) -> None:
        self.closed.set()


def test_a_read_that_hangs_does_not_hold_up_the_end_of_a_lost_lane() -> None:
    lane, asked, committed = Lane(orders(ROWS)), Asked(), threading.Event()
    source = Hanging(lane)
    lane.target.faults.at("commit", 1, committed.set, is_after=True)

    def lose() -> None:
        assert source.is_hanging.wait(60)
        assert committed.wait(60)
        asked.lost = True

    losing = threading.Thread(target=lose)
    losing.start()
    with pytest.raises(LeaseLost):
        copy_lane(lane.next(), lambda: source, lane.open_target, asked, lane.progress.append)
    losing.join()
    assert not source.closed.is_set()
    assert lane.checkpoint().rows == CHUNK_ROWS
    source.go_on.set()
    assert source.closed.wait(60)


def test_a_source_is_used_on_one_thread_and_closed() -> None:
    lane = Lane(orders(ROWS))
    threads: set[int] = set()
    opened: list[MemorySource] = []

    class Watched(MemorySource):
        def chunks(self, *arguments: Any) -> Iterator[SourceChunk]:
            for chunk in super().chunks(*arguments):
                threads.add(threading.get_ident())
                yield chunk

        def state(self, relation: Any) -> str:
            threads.add(threading.get_ident())
            return super().state(relation)

        def close(self) -> None:
            threads.add(threading.get_ident())
            super().close()

    def open_source() -> Source:
        threads.add(threading.get_ident())
        opened.append(Watched(lane.source))
        return opened[-1]

    copy_lane(lane.next(), open_source, lane.open_target, Asked(), lane.progress.append)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert [source.is_closed for source in opened] == [True]


def test_positions_are_the_sources_own_words() -> None:
    lane = Lane(orders(ROWS))
    positions: list[Position | None] = []

    class Opaque(MemoryTarget):
        def commit(
            self,
            staging: Staging,
            lane: str,
            fence: int,
            before: Checkpoint,
            after: Checkpoint,
            batches: Sequence[pa.RecordBatch],
        ) -> None:
            positions.append(after.position)
            super().commit(staging, lane, fence, before, after, batches)

    lane.attempt(open_target=lambda: Opaque(lane.target))
    assert positions == ["10", "20", "30", "40", "45"]


def split(lane: Lane, parts: int) -> list[LaneJob]:
    """The jobs of a dataset in so many lanes."""
    source = lane.open_source()
    ranges = source.split(lane.job.relation, parts)
    return [
        replace(lane.job, lane=f"lane{at}", relation=replace(lane.job.relation, range=span), is_alone=False, fence=1)
        for at, span in enumerate(ranges)
    ]


def test_lanes_of_one_dataset_copy_a_range_each_and_are_verified_together() -> None:
    lane = Lane(orders(95))
    jobs = split(lane, 4)
    for job in jobs:
        lane.attempt(job=job)
    assert lane.staged() == sorted(orders(95), key=str)
    found = verify(
        VerifyJob("orders", lane.job.relation, lane.job.staging, tuple(job.lane for job in jobs), Level.FULL),
        lane.open_source,
        lane.open_target,
        Asked(),
    )
    assert (found.source_rows, found.target_rows) == (95, 95)
    assert found.transfer_checksum == found.source_checksum == found.target_checksum


def test_a_lane_of_several_that_finds_its_part_changed_leaves_the_others_rows_alone() -> None:
    lane = Lane(orders(40), has_state=False)
    first, second = split(lane, 2)
    lane.attempt(job=second)
    lane.source.faults.fail("read", 2)
    with pytest.raises(SystemUnavailable):
        lane.attempt(job=first)
    lane.source.put("orders", COLUMNS, [(99, "changed"), *orders(40)[1:]])
    with pytest.raises(SourceChanged, match="had copied has changed"):
        lane.attempt(job=replace(first, fence=2))
    assert lane.target.faults.seen("reset") == 0
