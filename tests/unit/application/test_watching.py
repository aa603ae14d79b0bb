"""Topics: one picture for all who watch, at most ten a second, and nothing that piles up for whoever does not come back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from pymigrate.engine.application.watching import INTERVAL_SECONDS, Picture, Told, Topic, Topics
from pymigrate.engine.domain.errors import EngineUnavailable, StoreUnavailable, TooManyWatchers
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import run_pb2

KEY = "a subject"
SETTLE_ROUNDS = 200


@dataclass
class Subject:
    """Something that is watched; counts how often a view of it was made."""

    value: int = 0
    made: int = 0
    error: Exception | None = None

    async def view(self) -> int:
        self.made += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.value


class Scene:
    """Topics on a clock that stands still, and one subject."""

    def __init__(self, watchers_max: int = 100) -> None:
        self.clock = ManualClock()
        self.topics = Topics(self.clock, watchers_max)
        self.subject = Subject()

    def change(self, value: int) -> None:
        self.subject.value = value
        self.topics.change(KEY)

    async def follow(self, seen: list[Picture[int]]) -> None:
        """Takes every picture as soon as it is told."""
        with self.topics.watched(KEY, self.subject.view) as topic:
            picture = await topic.now()
            seen.append(picture)
            while True:
                picture = await topic.after(picture.number)
                seen.append(picture)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Nobody watches yet, and nothing is left running in the end."""
    scene = Scene()
    yield scene
    await settled()
    assert not asyncio.all_tasks() - {asyncio.current_task()}
    assert (len(scene.topics), scene.topics.watchers) == (0, 0)


async def settled() -> None:
    """Everybody acts who can."""
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)


async def ended(*tasks: "asyncio.Task[None]") -> None:
    """Ends watches as calls are ended whose client is gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_who_watch_share_one_picture(scene: Scene) -> None:
    seen: list[list[Picture[int]]] = [[] for _ in range(50)]
    watches = [asyncio.create_task(scene.follow(one)) for one in seen]
    await settled()
    scene.change(1)
    await settled()
    assert scene.subject.made == 2
    assert all(one[-1] is seen[0][-1] for one in seen)
    assert [picture.view for picture in seen[0]] == [0, 1]
    await ended(*watches)


async def test_a_change_after_a_quiet_time_is_told_at_once_and_those_that_follow_together(scene: Scene) -> None:
    seen: list[Picture[int]] = []
    watch = asyncio.create_task(scene.follow(seen))
    await settled()
    for value in range(1, 4):
        scene.change(value)
        await settled()
    assert [picture.view for picture in seen] == [0, 1]
    await scene.clock.run_for(INTERVAL_SECONDS)
    assert [picture.view for picture in seen] == [0, 1, 3]
    await ended(watch)


async def test_a_watcher_is_told_at_most_ten_times_a_second(scene: Scene) -> None:
    seen: list[Picture[int]] = []
    watch = asyncio.create_task(scene.follow(seen))
    await settled()
    for value in range(1, 991):  # for just less than a second
        scene.change(value)
        await scene.clock.run_for(0.001)
    assert len(seen) - 1 == 10
    await ended(watch)


async def test_who_begins_to_watch_sees_how_it_stands_though_others_are_told_later(scene: Scene) -> None:
    first: list[Picture[int]] = []
    second: list[Picture[int]] = []
    watches = [asyncio.create_task(scene.follow(first))]
    await settled()
    scene.change(1)
    await settled()
    scene.change(2)
    watches.append(asyncio.create_task(scene.follow(second)))
    await settled()
    assert ([picture.view for picture in first], [picture.view for picture in second]) == ([0, 1], [2])
    await scene.clock.run_for(INTERVAL_SECONDS)
    assert ([picture.view for picture in first], [picture.view for picture in second]) == ([0, 1, 2], [2])
    assert first[-1].before <= first[-2].number, "nothing was left out for the one who was there"
    await ended(*watches)


async def test_who_does_not_come_back_in_time_gets_the_newest_and_can_tell_that_it_missed_some(scene: Scene) -> None:
    prompt: list[Picture[int]] = []
    watch = asyncio.create_task(scene.follow(prompt))
    with scene.topics.watched(KEY, scene.subject.view) as topic:
        seen = await topic.now()
        for value in range(1, 5):
            scene.change(value)
            await scene.clock.run_for(INTERVAL_SECONDS)
        newest = await topic.after(seen.number)
        assert newest.view == 4
        assert newest.before > seen.number
    assert all(later.before <= earlier.number for earlier, later in pairwise(prompt)), "others missed none"
    await ended(watch)


async def test_nothing_is_made_while_nothing_changes_or_nobody_watches(scene: Scene) -> None:
    scene.change(1)
    await scene.clock.run_for(1)
    assert scene.subject.made == 0
    watch = asyncio.create_task(scene.follow([]))
    await scene.clock.run_for(10)
    assert scene.subject.made == 1
    await ended(watch)
    scene.change(2)
    await scene.clock.run_for(10)
    assert scene.subject.made == 1


async def test_topics_of_one_source_change_together_each_at_its_own_pace(scene: Scene) -> None:
    with (
        scene.topics.watched("fast", scene.subject.view, source=KEY) as fast,
        scene.topics.watched("slow", scene.subject.view, 1.0, source=KEY) as slow,
    ):
        told = {name: (await topic.now()).number for name, topic in (("fast", fast), ("slow", slow))}
        for value, shown in ((1, (1, 1)), (2, (2, 1))):
            scene.change(value)
            await scene.clock.run_for(INTERVAL_SECONDS)
            views = [(await topic.after(told[name])).view for name, topic in (("fast", fast), ("slow", slow))]
            assert tuple(views) == shown
        await scene.clock.run_for(1)
        assert (await slow.after(told["slow"])).view == 2


async def test_nobody_is_told_of_a_change_after_which_the_view_is_the_one_that_was(scene: Scene) -> None:
    seen: list[Picture[int]] = []
    watch = asyncio.create_task(scene.follow(seen))
    await settled()
    scene.change(0)
    await scene.clock.run_for(1)
    assert ([picture.view for picture in seen], scene.subject.made) == ([0], 2)
    scene.change(1)
    await scene.clock.run_for(1)
    assert [picture.view for picture in seen] == [0, 1]
    await ended(watch)


async def test_a_number_is_never_used_twice_whatever_topics_end_between(scene: Scene) -> None:
    numbers = []
    for _ in range(3):
        with scene.topics.watched(KEY, scene.subject.view) as topic:
            numbers.append((await topic.now()).number)
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)


async def test_a_picture_that_can_not_be_made_ends_the_watches_with_why_and_the_next_one_begins_anew(
    scene: Scene,
) -> None:
    watches = [asyncio.create_task(scene.follow([])) for _ in range(3)]
    await settled()
    scene.subject.error = StoreUnavailable("the disk is away")
    scene.change(1)
    outcomes = await asyncio.gather(*watches, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    scene.subject.error = None
    with scene.topics.watched(KEY, scene.subject.view) as topic:
        assert (await topic.now()).view == 1


async def test_who_joins_a_topic_that_failed_while_others_have_not_left_it_is_told_why_too(scene: Scene) -> None:
    with scene.topics.watched(KEY, scene.subject.view) as topic:
        await topic.now()
        scene.subject.error = StoreUnavailable("the disk is away")
        scene.change(1)
        await settled()
        with scene.topics.watched(KEY, scene.subject.view) as joined, pytest.raises(StoreUnavailable):
            await joined.now()


async def test_an_engine_that_ends_ends_every_watch_and_begins_no_other(scene: Scene) -> None:
    watch = asyncio.create_task(scene.follow([]))
    await settled()
    scene.topics.close()
    with pytest.raises(EngineUnavailable, match="watch again with the last token"):
        await watch
    with pytest.raises(EngineUnavailable), scene.topics.watched(KEY, scene.subject.view):
        pass


async def test_one_watcher_too_many_is_refused_until_another_ends() -> None:
    scene = Scene(watchers_max=1)
    with (
        scene.topics.watched(KEY, scene.subject.view),
        pytest.raises(TooManyWatchers),
        scene.topics.watched("another", scene.subject.view),
    ):
        pass
    with scene.topics.watched("another", scene.subject.view) as topic:
        assert isinstance(topic, Topic)


def test_an_answer_is_encoded_once_for_each_way_of_sending_it() -> None:
    made: list[str] = []

    def one(message: run_pb2.WatchRunResponse) -> bytes:
        made.append("one")
        return message.SerializeToString()

    def other(message: run_pb2.WatchRunResponse) -> bytes:
        made.append("other")
        return message.resume_token.encode()

    told = Told(run_pb2.WatchRunResponse(resume_token="7"))
    assert [told.encoded(encode) for encode in (one, other, one, other)] == [b'"\x017', b"7", b'"\x017', b"7"]
    assert made == ["one", "other"]
