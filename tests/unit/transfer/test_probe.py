"""A probe over the fake connector: what it copies, times and notes, and that it leaves nothing whatever happens."""

import itertools
from dataclasses import replace

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition, FenceLost, SystemUnavailable, VerificationFailed
from pymigrate.engine.ports.source import RefusedRow, Source, SourceChunk
from pymigrate.engine.testing.connectors import MemorySource
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.transfer.bounded_source import SampleBound
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.probe import drop, probe
from pymigrate.engine.transfer.probe_job import NOT_DONE, Probed, ProbeJob
from pymigrate.engine.transfer.signals import Drained, LeaseLost
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.unit.transfer.lanes import COLUMNS, Asked, Lane, orders

ROWS = 95
SCRATCH = "orders_probe0a1b2c3d"


class Scene:
    """Orders in ten chunks, and a clock that moves by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.lane = Lane(orders(ROWS))
        self.lane.target.put("orders", COLUMNS, orders(3, "live"))
        self.ticks = itertools.count()
        self.job = self.at_level(Level.SAMPLED)
        self.open_source = self.lane.open_source
        self.probes = 0

    def at_level(self, level: Level) -> ProbeJob:
        staging = replace(self.lane.job.staging, relation=SCRATCH, is_replace=True)
        lane = replace(self.lane.job, staging=staging, lane="probe 1", fence=1)
        verify = VerifyJob("orders", lane.relation, staging, ("probe 1",), level)
        return ProbeJob(lane, seconds_max=1e9, verify=verify)

    def probe(self, asked: Asked | None = None) -> Probed:
        """The next one, whose lane has a name of its own."""
        self.probes += 1
        name = f"probe {self.probes}"
        job = replace(self.job, lane=replace(self.job.lane, lane=name))
        if job.verify is not None:
            job = replace(job, verify=replace(job.verify, lanes=(name,)))
        means = Means(monotonic=lambda: float(next(self.ticks)))
        return probe(job, self.open_source, self.lane.open_target, asked or Asked(), means, lambda _: 4_000)

    def is_untouched(self) -> bool:
        """Whether the target is as it was before any probe."""
        target = self.lane.target
        is_clean = not (target.staged or target.publications or target.lanes)
        return is_clean and list(target.relations) == ["orders"] and target.read("orders") == orders(3, "live")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_sample_that_is_all_there_is_is_copied_compared_published_and_dropped(scene: Scene) -> None:
    found = scene.probe()
    assert [chunk.rows for chunk in found.chunks] == [10] * 9 + [5]
    assert [chunk.bytes for chunk in found.chunks] == [100] * 9 + [50]
    assert (found.is_whole, found.verified_rows, found.target_bytes, found.notes) == (True, ROWS, 4_000, [])
    seconds = [found.open_seconds, found.close_seconds, found.verify_seconds, found.publish_seconds, found.drop_seconds]
    assert all(each >= 1 for each in seconds)
    assert all(chunk.seconds >= 1 and chunk.source_seconds >= 1 for chunk in found.chunks)
    assert scene.is_untouched()


def test_a_sample_ends_with_the_chunk_that_reaches_the_bytes(scene: Scene) -> None:
    scene.job = replace(scene.job, bytes_max=250)
    found = scene.probe()
    assert (len(found.chunks), found.is_whole, found.notes) == (3, False, [])
    assert found.verified_rows == 30


def test_a_sample_has_one_chunk_however_short_the_time(scene: Scene) -> None:
    scene.job = replace(scene.job, seconds_max=0.0)
    found = scene.probe()
    assert (len(found.chunks), found.is_whole) == (1, False)


def test_no_chunk_is_begun_once_the_time_is_up(scene: Scene) -> None:
    clock = iter([0.0, 0.0, 2.0, 2.0, 2.0, 4.0, 4.0])
    bound = SampleBound(3.0, 0, lambda: next(clock))
    source = scene.open_source().chunks(scene.job.lane.relation, COLUMNS, None)
    assert len(list(bound.taken(source))) == 2
    assert bound.source_seconds == [2.0, 2.0]


def test_a_sample_of_nothing_tells_what_nothing_takes(scene: Scene) -> None:
    scene.lane.source.put("orders", COLUMNS, [])
    found = scene.probe()
    assert (found.chunks, found.is_whole, found.notes) == ([], True, [])
    assert min(found.verify_seconds, found.publish_seconds) >= 1


def test_a_sample_that_is_copied_alone_is_neither_compared_nor_published(scene: Scene) -> None:
    scene.job = replace(scene.job, verify=None)
    found = scene.probe()
    assert (found.verify_seconds, found.publish_seconds, found.target_bytes) == (NOT_DONE, NOT_DONE, -1)
    assert (len(found.chunks), scene.lane.target.faults.seen("publish")) == (10, 0)
    assert scene.is_untouched()


def test_at_full_no_more_of_the_source_is_read_than_was_copied(scene: Scene) -> None:
    scene.job = replace(scene.at_level(Level.FULL), bytes_max=250)
    found = scene.probe()
    assert (found.verified_rows, found.notes) == (30, [])
    assert scene.lane.source.faults.seen("read") <= 2 * 4


@pytest.mark.parametrize("step", ["publish", "read_staging"])
def test_what_fails_after_copying_is_a_note(scene: Scene, step: str) -> None:
    scene.lane.target.faults.fail(step, error=VerificationFailed("no"))
    found = scene.probe()
    assert len(found.notes) == 1
    assert found.notes[0].endswith("the sample failed: no")
    assert NOT_DONE in (found.verify_seconds, found.publish_seconds)
    assert len(found.chunks) == 10
    assert scene.is_untouched()


@pytest.mark.parametrize("error", [SystemUnavailable("away"), FenceLost("gone"), ZeroDivisionError("a defect")])
def test_what_fails_while_copying_fails_the_probe_and_leaves_nothing(scene: Scene, error: Exception) -> None:
    scene.lane.source.faults.fail("read", 3, error=error)
    with pytest.raises(type(error)):
        scene.probe()
    assert scene.is_untouched()


def test_a_sample_that_can_not_be_dropped_is_noted_and_dropped_by_the_next_probe(scene: Scene) -> None:
    scene.lane.target.faults.fail("rollback", 2)
    found = scene.probe()
    assert found.notes == ["dropping the sample failed: planned at rollback"]
    assert found.drop_seconds == NOT_DONE
    assert SCRATCH in scene.lane.target.relations
    assert scene.probe().notes == []
    assert scene.is_untouched()


@pytest.mark.parametrize("step", ["prepare", "claim", "commit", "publish"])
@pytest.mark.parametrize("is_after", [False, True])
def test_what_a_killed_probe_left_is_dropped_by_the_next_one(scene: Scene, step: str, is_after: bool) -> None:
    scene.lane.target.faults.fail(step, is_after=is_after, error=Crash())
    with pytest.raises(Crash):
        scene.probe()
    found = scene.probe()
    assert (len(found.chunks), found.notes) == (10, [])
    assert scene.is_untouched()


def test_a_probe_that_another_one_has_followed_drops_nothing(scene: Scene) -> None:
    followed: list[Probed] = []
    scene.lane.target.faults.at("commit", 4, lambda: followed.append(scene.probe()))
    with pytest.raises(FenceLost):
        scene.probe()
    assert [len(found.chunks) for found in followed] == [10]
    assert scene.is_untouched()


@pytest.mark.parametrize(("asked", "raised"), [(Asked(draining=True), Drained), (Asked(lost=True), LeaseLost)])
def test_a_probe_that_is_asked_to_stop_stops_and_leaves_nothing(
    scene: Scene, asked: Asked, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        scene.probe(asked)
    assert scene.is_untouched()


@pytest.mark.parametrize("what", ["draining", "lost"])
def test_a_probe_that_is_asked_to_stop_before_its_sample_is_published_publishes_nothing(
    scene: Scene, what: str
) -> None:
    asked = Asked()
    scene.lane.target.faults.at("read_staging", 1, lambda: setattr(asked, what, True))
    with pytest.raises((Drained, LeaseLost)):
        scene.probe(asked)
    assert scene.lane.target.faults.seen("publish") == 0
    assert scene.is_untouched()


def test_a_relation_that_is_somebodys_is_not_taken_for_the_scratch_relation(scene: Scene) -> None:
    scene.lane.target.put(SCRATCH, COLUMNS, [])
    with pytest.raises(FailedPrecondition, match="none of a probe's"):
        scene.probe()
    assert list(scene.lane.target.relations) == ["orders", SCRATCH]


def test_refused_rows_are_left_out_and_counted(scene: Scene) -> None:
    class Refusing(MemorySource):
        def chunks(self, *arguments: object) -> object:  # type: ignore[override]  # the port's, with a refusal on top
            chunk: SourceChunk
            for chunk in super().chunks(*arguments):  # type: ignore[arg-type]  # as they were given
                yield replace(chunk, refused=(RefusedRow(1, "id", "odd", "{}"),))

    def open_source() -> Source:
        return Refusing(scene.lane.source)  # type: ignore[return-value]  # see above

    scene.open_source = open_source
    assert scene.probe().notes == ["10 rows of the sample are refused, and were left out"]
    assert scene.is_untouched()


def test_what_a_probe_left_is_dropped_on_request_and_again(scene: Scene) -> None:
    scene.lane.target.faults.fail("publish", is_after=True, error=Crash())
    with pytest.raises(Crash):
        scene.probe()
    for _ in range(2):
        drop(scene.job.lane.staging, scene.lane.open_target)
        assert scene.is_untouched()
