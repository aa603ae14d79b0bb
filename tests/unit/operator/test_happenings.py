"""Events: one for each object and reason, counted, not too many, and never in anybody's way."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pymigrate.engine.entrypoints.operator.happenings import BURST, REFILL_PER_SECOND, Happening, Happenings
from pymigrate.engine.entrypoints.operator.objects import Key
from pymigrate.engine.entrypoints.operator.verdicts import Condition, ConditionType
from pymigrate.engine.ports.cluster import EVENTS, ClusterForbidden
from pymigrate.engine.testing.clusters import MemoryCluster
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually

KEY = Key("Plan", "prod", "p")
FOUND = {"metadata": {"namespace": "prod", "name": "p", "uid": "uid-1"}}


@dataclass
class Stage:
    cluster: MemoryCluster
    happenings: Happenings

    def counts(self) -> dict[str, int]:
        return {each["reason"]: each["count"] for each in self.cluster.objects(EVENTS)}

    def tell(self, reason: str, message: str = "because") -> None:
        self.happenings.tell(Happening(KEY, "uid-1", reason, message, is_warning=False))


def on_stage(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop)
        cluster = MemoryCluster(clock)
        happenings = Happenings(cluster, clock)
        running = asyncio.ensure_future(happenings.run())
        await scene(Stage(cluster, happenings))
        assert not running.done()
        running.cancel()

    run_virtually(main, random.Random(1))


def test_the_same_reason_again_is_counted_with_the_newest_message() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(3):
            stage.tell("Applied", f"time {number}")
            await asyncio.sleep(1)
        (event,) = stage.cluster.objects(EVENTS)
        assert (event["count"], event["message"]) == (3, "time 2")
        assert event["lastTimestamp"] > event["firstTimestamp"]
        assert event["involvedObject"]["uid"] == "uid-1"

    on_stage(scene)


def test_an_operator_that_starts_again_goes_on_counting() -> None:
    async def scene(stage: Stage) -> None:
        stage.tell("Applied")
        await asyncio.sleep(1)
        again = Happenings(stage.cluster, stage.cluster._clock)
        running = asyncio.ensure_future(again.run())
        again.tell(Happening(KEY, "uid-1", "Applied", "because", is_warning=False))
        await asyncio.sleep(1)
        running.cancel()
        assert stage.counts() == {"Applied": 2}

    on_stage(scene)


def test_an_object_that_has_much_to_tell_is_heard_now_and_then() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(1_000):
            stage.tell(f"Reason{number}")
            await asyncio.sleep(0.1)
        assert len(stage.counts()) <= BURST + 100 * REFILL_PER_SECOND + 1
        assert stage.happenings.dropped >= 980

    on_stage(scene)


def test_events_that_may_not_be_written_are_dropped_and_counted() -> None:
    async def scene(stage: Stage) -> None:
        stage.cluster.faults.fail(lambda: ClusterForbidden("no"), kind=EVENTS, times=1)
        stage.tell("First")
        await asyncio.sleep(1)
        stage.tell("Second")
        await asyncio.sleep(1)
        assert stage.counts() == {"Second": 1}
        assert stage.happenings.dropped == 1

    on_stage(scene)


def test_of_conditions_that_turn_the_most_telling_is_told_and_what_merely_goes_on_is_not() -> None:
    async def scene(stage: Stage) -> None:
        ready = Condition(ConditionType.READY, holds=False, reason="Broken", message="m")
        stalled = Condition(ConditionType.STALLED, holds=True, reason="Broken", message="m")
        accepted = Condition(ConditionType.RECONCILING, holds=True, reason="Accepted", message="m")
        stage.happenings.turned(KEY, FOUND, [ready, accepted])
        stage.happenings.turned(KEY, FOUND, [ready, stalled])
        await asyncio.sleep(1)
        (event,) = stage.cluster.objects(EVENTS)
        assert (event["reason"], event["type"]) == ("Broken", "Warning")

    on_stage(scene)
