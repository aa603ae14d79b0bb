"""Whoever follows all runs is told what was stored of each, in order, and nothing that was not."""

from dataclasses import dataclass, field

import pytest

from pymigrate.engine.application.changes import Change
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.domain.happenings import Progressed
from pymigrate.engine.domain.run import Entity, Lane
from pymigrate.engine.domain.run_states import DesiredState
from tests.unit.application.engines import ME, Engine, PlayedHost, phase
from tests.unit.application.test_board import RUN, FailingStore, begun, start


@dataclass
class Follower:
    """Keeps what it was told, as it was then."""

    told: list[tuple[Change, tuple[tuple[type[Entity], int], ...]]] = field(default_factory=list)

    def follow(self, change: Change) -> None:
        self.told.append((change, tuple((type(entity), entity.version) for entity in change.entities)))


async def test_a_run_that_begins_is_told_with_all_its_parts_and_what_happened() -> None:
    engine, follower = Engine(), Follower()
    engine.board.changes.follow(follower.follow)
    await begun_in(engine)
    first, versions = follower.told[0]
    assert first.run == RUN
    assert first.is_whole
    assert {kind.__name__ for kind, _ in versions} >= {"Run", "PhaseRun", "DatasetRun", "Lane", "Task"}
    assert [event.sequence for event in first.events] == list(range(1, len(first.events) + 1))
    assert all(version == 1 for _, version in versions)


async def test_a_lane_that_got_further_is_told_with_the_version_that_is_stored() -> None:
    engine, host = await begun(FailingStore())
    task = await host.claim()
    assert task is not None
    follower = Follower()
    engine.board.changes.follow(follower.follow)
    await engine.board.report(RUN, Progressed(task.id, task.fence, chunks=1, rows=10, bytes=100))
    (change, versions), *more = follower.told
    stored = await engine.store.read(lambda unit: unit.runs.load(RUN))
    assert stored is not None
    assert not more
    assert not change.is_whole
    lane = next(entity for entity in change.entities if isinstance(entity, Lane))
    assert (lane.rows, lane.version) == (10, stored.lanes[lane.id].version)
    assert (Lane, lane.version) in versions


async def test_what_the_store_refused_is_not_told_but_the_run_as_it_is() -> None:
    store = FailingStore()
    engine, _ = await begun(store)
    follower = Follower()
    engine.board.changes.follow(follower.follow)
    store.writes_to_fail = 1
    with pytest.raises(StoreUnavailable):
        await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    assert [change.is_whole for change, _ in follower.told] == [True]
    assert not follower.told[0][0].events


async def test_a_follower_that_fails_keeps_nobody_from_being_told() -> None:
    engine, _ = await begun(FailingStore())
    follower = Follower()

    def failing(change: Change) -> None:
        raise ValueError(change.run)

    engine.board.changes.follow(failing)
    engine.board.changes.follow(follower.follow)
    paused = await engine.runs.steer(RUN, DesiredState.PAUSED, ME)
    assert paused.name == RUN
    assert len(follower.told) == 1


async def begun_in(engine: Engine) -> None:
    """A run of one phase, begun by an engine that somebody follows."""
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await start(engine, "r", host)
