"""A bell between loops: whoever rests wakes when it is rung, or when its time has passed on the clock."""

import asyncio

from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.testing.clock import ManualClock


async def test_a_loop_that_rests_goes_on_when_the_bell_is_rung() -> None:
    bell, clock = WorkBell(), ManualClock()
    resting = asyncio.create_task(bell.rest(bell.rung, clock, 1.0))
    await clock.run_for(0.5)
    assert not resting.done()
    bell.ring()
    await clock.run_for(0.0)
    assert resting.done()
    assert clock.sleepers == 0


async def test_a_loop_rests_no_longer_than_its_time() -> None:
    bell, clock = WorkBell(), ManualClock()
    resting = asyncio.create_task(bell.rest(bell.rung, clock, 1.0))
    await clock.run_for(1.0)
    assert resting.done()


async def test_a_bell_that_was_rung_while_somebody_looked_lets_them_look_again_at_once() -> None:
    bell, clock = WorkBell(), ManualClock()
    seen = bell.rung
    bell.ring()
    await bell.rest(seen, clock, 1.0)
    assert clock.sleepers == 0
