"""A mirror of a cluster's objects: what it has heard, what it asks again for, and what it never believes."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from pymigrate.engine.application.clusters.mirror import (
    BACKOFF_MAX_SECONDS,
    REFUSED_MAX_SECONDS,
    STALE_LISTINGS_MAX,
    Mirror,
)
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    ChangeKind,
    ClusterBusy,
    ClusterForbidden,
    ClusterUnavailable,
    Listing,
    Object,
    ObjectMissing,
    WatchExpired,
)
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually
from tests.unit.application.clusters.scripted import PLANS, ScriptedCluster, Told, became, bookmark, plan

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED
MANY_SECONDS = 1_000.0


@dataclass
class Heard:
    """What a mirror told, and the mirror itself."""

    mirror: Mirror
    cluster: ScriptedCluster
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def versions(self) -> dict[str, str]:
        return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in self.mirror.objects()}


def play(
    listings: Sequence[Listing | PyMigrateError],
    watches: Sequence[Sequence[Told]] = (),
    seconds: float = MANY_SECONDS,
    notes: Sequence[tuple[float, Object]] = (),
) -> Heard:
    """Runs a mirror against a script for so many virtual seconds; `notes` are written by others at their times."""

    async def main(loop: VirtualLoop) -> Heard:
        cluster = ScriptedCluster(list(listings), list(watches))
        told: list[tuple[str, str]] = []

        def on_change(namespace: str, name: str, found: Object | None) -> None:
            assert namespace == "prod"
            told.append((name, found["metadata"]["resourceVersion"] if found else "gone"))

        mirror = Mirror(cluster, PLANS, VirtualClock(loop), random.Random(1), on_change=on_change)
        running = asyncio.ensure_future(mirror.run())
        for at, written in notes:
            await asyncio.sleep(at - loop.time())
            mirror.note(written)
        await asyncio.sleep(seconds - loop.time())
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert loop.errors == []
        return Heard(mirror, cluster, told)

    return run_virtually(main, random.Random(1))


def listing(version: int, **versions: int) -> Listing:
    return Listing([plan(name, each) for name, each in versions.items()], str(version))


def test_what_is_listed_and_what_changes_then_is_told_and_kept() -> None:
    heard = play(
        [listing(10, a=3, b=7)],
        [[(1, became(MODIFIED, "a", 11)), (1, became(ADDED, "c", 12)), (1, became(DELETED, "b", 13))]],
    )
    assert heard.told == [("a", "3"), ("b", "7"), ("a", "11"), ("c", "12"), ("b", "gone")]
    assert heard.versions == {"a": "11", "c": "12"}
    assert heard.mirror.is_synced
    assert heard.mirror.trouble is None


def test_whoever_waits_for_the_first_listing_goes_on_once_it_is_there() -> None:
    async def main(loop: VirtualLoop) -> float:
        cluster = ScriptedCluster([ClusterUnavailable("away"), listing(1, a=1)], [])
        mirror = Mirror(cluster, PLANS, VirtualClock(loop), random.Random(1), on_change=lambda *_: None)
        running = asyncio.ensure_future(mirror.run())
        assert not mirror.is_synced
        await mirror.synced()
        running.cancel()
        assert mirror.get("prod", "a") == plan("a", 1)
        return loop.time()

    assert 0 < run_virtually(main, random.Random(1)) < 1


def test_a_watch_that_ends_goes_on_from_the_last_version_that_was_heard_and_nothing_is_listed_again() -> None:
    heard = play([listing(10, a=3)], [[(5, became(MODIFIED, "a", 11)), (50, bookmark(40))], [(5, bookmark(41))]])
    assert heard.cluster.watched_from == ["10", "40", "41"]
    assert len(heard.cluster.listed_at) == 1


def test_watches_that_end_at_once_are_not_asked_for_more_often_than_the_longest_backoff_allows() -> None:
    heard = play([listing(10)], [[]] * 300, seconds=100)
    assert 90 < len(heard.cluster.watched_from) < 2 * 100 / BACKOFF_MAX_SECONDS + 10


def test_after_an_expired_watch_what_went_meanwhile_is_told_as_gone() -> None:
    heard = play(
        [listing(10, a=3, b=7, c=8), listing(50, a=3, c=45)],
        [[(1, WatchExpired("too old"))]],
    )
    assert heard.told == [("a", "3"), ("b", "7"), ("c", "8"), ("c", "45"), ("b", "gone")]
    assert heard.versions == {"a": "3", "c": "45"}
    assert heard.mirror.trouble is None


def test_an_api_that_is_away_is_asked_about_each_second_and_its_return_is_heard() -> None:
    away: list[Listing | PyMigrateError] = [ClusterUnavailable("away")] * 30
    heard = play([listing(1, a=1), *away, listing(9, a=8)], [[(1, ClusterUnavailable("silent for too long"))]])
    times = heard.cluster.listed_at
    assert max(later - sooner for sooner, later in itertools.pairwise(times[1:])) <= BACKOFF_MAX_SECONDS
    assert heard.versions == {"a": "8"}
    assert heard.mirror.trouble is None


@pytest.mark.parametrize(
    "error",
    [
        ClusterUnavailable("away"),
        ClusterForbidden("the role was taken away"),
        ObjectMissing("the server does not know the type", is_type_missing=True),
    ],
)
def test_what_was_heard_is_kept_in_trouble_and_the_trouble_is_told_until_it_is_over(error: PyMigrateError) -> None:
    script: list[Listing | PyMigrateError] = [listing(1, a=1), *([error] * 400), listing(9)]
    during = play(script, [[(1, ClusterUnavailable("cut"))]], seconds=100)
    assert during.mirror.trouble is error
    assert during.versions == {"a": "1"}
    times = during.cluster.listed_at
    assert times[-1] > 100 - 2 * REFUSED_MAX_SECONDS
    after = play(script, [[(1, ClusterUnavailable("cut"))]])
    assert after.mirror.trouble is None
    assert after.told[-1] == ("a", "gone")


def test_an_api_that_asks_for_patience_is_left_alone_for_that_long() -> None:
    heard = play([ClusterBusy("too many", retry_after_seconds=7.0), listing(1)])
    assert heard.cluster.listed_at[1] >= 7.0


def test_events_that_come_twice_or_late_change_nothing() -> None:
    heard = play(
        [listing(10, a=3)],
        [
            [
                (1, became(MODIFIED, "a", 12)),
                (1, became(MODIFIED, "a", 11)),
                (1, became(MODIFIED, "a", 12)),
                (1, became(ADDED, "b", 13)),
                (1, became(DELETED, "b", 14)),
                (1, became(ADDED, "b", 13)),
            ]
        ],
    )
    assert heard.told == [("a", "3"), ("a", "12"), ("b", "13"), ("b", "gone")]
    assert heard.versions == {"a": "12"}


def test_our_own_write_is_read_at_once_and_the_event_of_an_earlier_one_does_not_hide_it() -> None:
    heard = play(
        [listing(10, a=3)],
        [[(5, became(MODIFIED, "a", 11)), (5, became(MODIFIED, "a", 12))]],
        notes=[(1.0, plan("a", 12)), (2.0, plan("a", 11))],
    )
    assert heard.told == [("a", "3"), ("a", "12")]
    assert heard.versions == {"a": "12"}


def test_the_late_answer_to_a_write_does_not_bring_back_what_was_deleted_since() -> None:
    heard = play([listing(10, a=3)], [[(1, became(DELETED, "a", 20))]], notes=[(5.0, plan("a", 15))])
    assert heard.versions == {}


def test_what_we_created_is_there_before_the_watch_tells_of_it() -> None:
    heard = play([listing(10)], notes=[(1.0, plan("a", 15))])
    assert heard.versions == {"a": "15"}


def test_a_server_that_lags_behind_is_asked_again_and_takes_nothing_back() -> None:
    heard = play(
        [listing(10, a=10), listing(5, a=4, b=5), listing(12, a=10)],
        [[(1, ClusterUnavailable("cut"))]],
    )
    assert heard.told == [("a", "10")]
    assert heard.versions == {"a": "10"}


def test_a_cluster_that_was_set_back_to_an_earlier_state_is_believed_in_the_end() -> None:
    early: list[Listing | PyMigrateError] = [listing(5, a=4, b=5)] * (STALE_LISTINGS_MAX + 1)
    heard = play(
        [listing(10, a=10, c=9), *early],
        [[(1, ClusterUnavailable("cut"))], [(1, became(MODIFIED, "b", 6))]],
    )
    assert heard.versions == {"a": "4", "b": "6"}
    assert ("c", "gone") in heard.told


def test_versions_that_are_no_numbers_are_told_apart_all_the_same() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        told: list[str] = []

        def on_change(namespace: str, name: str, found: Object | None) -> None:
            assert found is not None
            told.append(f"{namespace}/{name}@{found['metadata']['resourceVersion']}")

        mirror = Mirror(ScriptedCluster([], []), PLANS, VirtualClock(loop), random.Random(1), on_change=on_change)
        for version in ("x", "x", "y"):
            mirror.note({"metadata": {"namespace": "prod", "name": "a", "resourceVersion": version}})
        return told

    assert run_virtually(main, random.Random(1)) == ["prod/a@x", "prod/a@y"]
