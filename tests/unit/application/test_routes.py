"""The routes of environments for whoever follows the stream: read when it says that something was declared, and not before."""

from datetime import timedelta

import pytest

from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.routes import KEPT_MAX, RoutesFollowed
from pymigrate.engine.domain.notices import Directory
from pymigrate.engine.domain.routing import Routes
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit
from tests.unit.application.routed import ENVIRONMENT, RUN, Scene


class Counted(Directories):
    """Counts how often it is asked."""

    asked = 0

    def of(self, unit: Unit, environment: str) -> Directory:
        """As it is."""
        self.asked += 1
        return super().of(unit, environment)


class Following:
    """Routes over a scene, which take in the stream as it grows."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.directories = Counted()
        self.followed = RoutesFollowed(self.directories)
        self._seen = 0

    async def routes(self) -> Routes | None:
        """Those of the environment, after everything that has happened since the last call."""
        entries = (await self.scene.entries())[self._seen :]
        self._seen += len(entries)
        self.followed.note(entries)
        now = self.scene.clock.now()
        return await self.scene.store.read(lambda unit: self.followed.of(unit, ENVIRONMENT, now))


@pytest.fixture
async def following() -> Following:
    scene = Scene()
    await scene.begin()
    return Following(scene)


async def test_an_environment_without_a_rule_has_no_routes_until_it_has_one(following: Following) -> None:
    assert await following.routes() is None
    assert following.directories.asked == 0
    await following.scene.declare_rule()
    routes = await following.routes()
    assert routes is not None
    assert set(routes.directory.rules) == {"failures"}


async def test_what_happens_in_runs_lets_nothing_be_read_again(following: Following) -> None:
    await following.scene.declare_rule()
    first = await following.routes()
    await following.scene.happen("phase.failed", "phase.skipped")
    await following.scene.be_done("approve sales/go", RUN)
    assert await following.routes() is first
    assert following.directories.asked == 1


async def test_a_change_of_what_is_declared_is_read_with_the_entry_that_tells_of_it(following: Following) -> None:
    await following.scene.declare_rule()
    first = await following.routes()
    await following.scene.declare_engineers("ann")
    second = await following.routes()
    assert second is not None
    assert second is not first
    assert set(second.directory.stakeholders) == {"ann"}


async def test_routes_are_read_again_after_a_while_and_stay_where_nothing_was_written(following: Following) -> None:
    await following.scene.declare_rule()
    first = await following.routes()
    following.scene.clock.advance(KEPT_MAX.total_seconds())
    assert await following.routes() is first
    assert following.directories.asked == 2


async def test_what_is_forgotten_is_read_again(following: Following) -> None:
    await following.scene.declare_rule()
    await following.routes()
    following.followed.forget()
    await following.routes()
    assert following.directories.asked == 2


async def test_a_clock_that_was_set_back_lets_it_be_read_again(following: Following) -> None:
    await following.scene.declare_rule()
    await following.routes()
    early = following.scene.clock.now() - timedelta(hours=1)
    await following.scene.store.read(lambda unit: following.followed.of(unit, ENVIRONMENT, early))
    assert following.directories.asked == 2


async def test_entries_of_no_environment_let_nothing_be_read_again(following: Following) -> None:
    await following.scene.declare_rule()
    first = await following.routes()
    following.followed.note([FeedEntry(1, "0.1", following.scene.clock.now(), "update", "", "me")])
    assert await following.routes() is first
    assert following.directories.asked == 1
