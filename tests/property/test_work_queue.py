"""Any history of keys that are added, work that takes long, fails and asks to be done again: no key is worked on twice at once, and none is
lost."""

import asyncio
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.clusters.work_queue import WorkQueue
from pymigrate.engine.domain.errors import TemporaryError
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually

KEYS = "abcdef"
WORKERS = 2
RETRY_WORKERS = 1
CALM_SECONDS = 10_000.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(KEYS), st.just(0.0)),
        st.tuples(st.just("add_after"), st.sampled_from(KEYS), st.floats(0.0, 5.0)),
        st.tuples(st.just("wait"), st.just(""), st.floats(0.0, 3.0)),
        st.tuples(st.just("hurry"), st.just(""), st.just(0.0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, fail_share=st.floats(0.0, 0.8), seed=st.integers(0, 2**32))
def test_no_key_is_ever_worked_on_twice_at_once_and_each_one_added_is_seen_as_it_was_last(
    steps: list[tuple[str, str, float]], fail_share: float, seed: int
) -> None:
    run_virtually(lambda loop: _history(loop, steps, fail_share, seed), random.Random(seed))


async def _history(loop: VirtualLoop, steps: list[tuple[str, str, float]], fail_share: float, seed: int) -> None:
    rng = random.Random(seed)
    wanted: Counter[str] = Counter()
    done: Counter[str] = Counter()
    at_work: set[str] = set()
    failed: set[str] = set()
    is_calm = False

    async def work(key: str) -> float | None:
        assert key not in at_work
        held = len(at_work & failed)
        assert held < RETRY_WORKERS or key not in failed
        at_work.add(key)
        assert len(at_work) <= WORKERS + RETRY_WORKERS
        seen = wanted[key]
        try:
            await asyncio.sleep(rng.choice((0.0, 0.5, 2.0)))
            if not is_calm and rng.random() < fail_share:
                failed.add(key)
                raise TemporaryError(key, retry_after_seconds=rng.choice((0.0, 1.0)))
            failed.discard(key)
            done[key] = seen
        finally:
            at_work.discard(key)
        return 1.0 if not is_calm and rng.random() < 0.2 else None

    queue: WorkQueue[str] = WorkQueue(
        VirtualClock(loop), rng, work, workers=WORKERS, retry_workers=RETRY_WORKERS, retry_max_seconds=20.0
    )
    running = asyncio.ensure_future(queue.run())
    for what, key, seconds in steps:
        match what:
            case "add":
                wanted[key] += 1
                queue.add(key)
            case "add_after":
                wanted[key] += 1
                queue.add_after(key, seconds)
            case "hurry":
                queue.hurry()
            case _:
                await asyncio.sleep(seconds)
    is_calm = True
    await asyncio.sleep(CALM_SECONDS)
    assert done == wanted
    assert (len(queue), queue.running, queue.failing, queue.later) == (0, 0, 0, 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert loop.errors == []
