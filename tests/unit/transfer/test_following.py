"""A dataset that is followed, over the fakes: what it comes to at the end, through transforms too, and hosts that come too late."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest

from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, FenceLost, VerificationFailed
from pymigrate.engine.domain.types import ColumnType
from pymigrate.engine.ports.capture import Capture, Start
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target
from pymigrate.engine.ports.transform import Derive, Derived, Filter, Rename, TransformSpec
from pymigrate.engine.testing.memory import KeptOut
from pymigrate.engine.testing.memory_capture import MemoryCapture
from pymigrate.engine.transfer import catching_up
from pymigrate.engine.transfer.catching_up import ON_THE_WAY, Followed, FollowJob
from pymigrate.engine.transfer.tail import verify_tail
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.source import TransformedSource
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.unit.transfer.lanes import COLUMNS, Asked, Lane, Row, orders

INT = ColumnType("int64")
ODD: tuple[TransformSpec, ...] = (Rename({"id": "number"}), Filter("number % 2 = 1"))


class FollowedLane(Lane):
    """Orders that are written to. With `specs` their rows go through transforms, and the key is called `number` after them."""

    def __init__(self, rows: Sequence[Row], specs: Sequence[TransformSpec] = ()) -> None:
        super().__init__(rows)
        del self.source.relations["orders"]
        self.source.put("orders", COLUMNS, rows, ("id",))
        self._specs = specs
        if specs:
            with closing(self.transformed()) as source:
                columns = source.describe(SourceRelation("orders")).columns
            self.job = replace(self.job, staging=replace(self.job.staging, columns=columns, key=("number",)))
        relation = replace(self.job.relation, key=self.job.staging.key)
        self.job = replace(self.job, relation=relation, is_followed=True)
        self.follow = FollowJob("orders", relation, self.job.staging, "changes", 1, "pymigrate_a_orders_s1")
        if specs:
            self.follow = replace(
                self.follow, open_shape=lambda: self.transformed().shape("orders", relation, self.job.staging.columns)
            )

    def transformed(self) -> TransformedSource:
        return TransformedSource(super().open_source(), lambda columns: Pipeline(self._specs, columns, Binding().bind))

    def open_source(self) -> Source:
        return self.transformed() if self._specs else super().open_source()

    def open_capture(self) -> Capture:
        return MemoryCapture(self.source)

    def open_target(self) -> Target:
        return super().open_target()

    def keep(self) -> None:
        catching_up.capture(self.follow, self.open_capture, self.open_target, Asked())

    def round(self, monotonic: Callable[[], float] = lambda: 0.0) -> list[Followed]:
        told: list[Followed] = []
        self.follow = replace(self.follow, fence=self.follow.fence + 1)
        told.append(
            catching_up.catch_up(self.follow, self.open_capture, self.open_target, Asked(), told.append, monotonic)
        )
        return told

    def end(self, level: Level) -> int:
        self.follow = replace(self.follow, fence=self.follow.fence + 1)
        rows = catching_up.catch_up_for_good(self.follow, self.open_capture, self.open_target, Asked())
        job = VerifyJob(
            "orders", self.job.relation, self.job.staging, ("lane",), level, is_transformed=bool(self._specs)
        )
        return verify_tail(job, rows, self.open_source, self.open_target, Asked()).target_rows

    def staged(self) -> list[tuple[object, ...]]:
        rows = self.target.staged[self.job.staging.id].table().to_pylist()
        return sorted(tuple(row.values()) for row in rows)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("specs", [(), ODD])
def test_what_is_staged_at_the_end_is_what_the_source_holds(level: Level, specs: Sequence[TransformSpec]) -> None:
    lane = FollowedLane(orders(40), specs)
    lane.keep()
    lane.source.write("orders", [(3, "before it was copied"), (101, "new")], [(5,)])
    lane.attempt()
    lane.source.write("orders", [(7, "after it was copied"), (8, "even")], [(9,), (101,)])
    told = lane.round()
    assert told[-1].changes > 0
    assert told[-1].lag_seconds == 0.0
    lane.source.write("orders", [(9, "back again")])
    expected = [row for row in sorted(lane.source.read("orders")) if not specs or int(str(row[0])) % 2]
    assert lane.end(level) == len(expected)
    assert lane.staged() == expected
    with pytest.raises(KeptOut):
        lane.source.write("orders", [(1, "too late")])


def test_a_round_is_never_told_to_be_less_behind_than_it_has_taken() -> None:
    lane = FollowedLane(orders(40))
    lane.keep()
    lane.attempt()
    lane.source.write("orders", [(7, "changed")])
    seconds = count(100.0, 15.0)
    told = [each.lag_seconds for each in lane.round(lambda: next(seconds)) if each.lag_seconds != ON_THE_WAY]
    assert told == [15.0, 30.0]


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("specs", [(), ODD])
def test_a_row_that_is_missing_is_found_at_every_level(level: Level, specs: Sequence[TransformSpec]) -> None:
    lane = FollowedLane(orders(40), specs)
    lane.keep()
    lane.attempt()
    lane.source.put("orders", COLUMNS, [*orders(40), (41, "in no log")])
    with pytest.raises(VerificationFailed, match="nothing is published and writes are let in again"):
        lane.end(level)


def test_a_changed_row_that_the_transforms_refuse_stops_the_dataset() -> None:
    number = Derived("CAST(name AS BIGINT)", INT)
    lane = FollowedLane([(1, "7")], [Rename({"id": "number"}), Derive({"other": number})])
    lane.keep()
    lane.source.write("orders", [(101, "x")])
    with pytest.raises(DataRefused, match="the changed row id=101, column `other`"):
        lane.round()


class LateCapture(MemoryCapture):
    """A source at which a host arrives after others have done something."""

    def __init__(self, lane: FollowedLane, before: str) -> None:
        super().__init__(lane.source)
        self._lane = lane
        self._before = before

    def start(self, relation: SourceRelation, name: str, heed: object) -> Start:
        self._meanwhile()
        return super().start(relation, name, lambda: None)

    def block(self, relation: SourceRelation, name: str) -> None:
        self._meanwhile()
        super().block(relation, name)

    def _meanwhile(self) -> None:
        if self._before == "undone":
            self._lane.open_target().rollback([self._lane.job.staging])
            catching_up.end_undone(self._lane.follow, self._lane.open_capture)
        else:
            self._lane.open_target().claim(self._lane.job.staging, "changes", self._lane.follow.fence + 1)


@pytest.mark.parametrize(("before", "slots", "blocks"), [("undone", 0, 0), ("taken over", 1, 1)])
def test_a_host_that_comes_after_its_run_was_undone_takes_back_what_it_did(
    before: str, slots: int, blocks: int
) -> None:
    lane = FollowedLane(orders(4))
    with pytest.raises(FenceLost):
        catching_up.capture(lane.follow, lambda: LateCapture(lane, before), lane.open_target, Asked())
    assert len(lane.source.slots) == slots
    lane = FollowedLane(orders(4))
    lane.keep()
    lane.follow = replace(lane.follow, fence=2)
    with pytest.raises(FenceLost):
        catching_up.catch_up_for_good(lane.follow, lambda: LateCapture(lane, before), lane.open_target, Asked())
    assert len(lane.source.blocks["orders"]) == blocks


def test_what_is_not_kept_is_not_followed() -> None:
    lane = FollowedLane(orders(4))
    with pytest.raises(FailedPrecondition, match="is not kept: retry the run"):
        lane.round()
