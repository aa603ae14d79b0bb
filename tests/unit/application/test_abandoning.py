"""What is still to be told in an environment that is deleted."""

import pytest

from pymigrate.engine.application.abandoning import ENVIRONMENT_DELETED, PAGE
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.domain.delivery import DeliveryState, TryOutcome
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import ME, Engine
from tests.unit.domain.delivered import ENVIRONMENT, pending

KINDS = (
    "alertRules",
    "silences",
    "onCallSchedules",
    "stakeholders",
    "notificationTemplates",
    "notificationChannels",
    "departments",
)


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    return await dispatch_of(engine)


async def delete_environment(dispatch: Dispatch) -> None:
    catalog = dispatch.engine.catalog

    def work(unit: Unit) -> None:
        for kind in KINDS:
            for found in unit.resources.list(kind, ENVIRONMENT, "", 100):
                unit.resources.delete(found.name, found.version)
        catalog.delete(unit, ENVIRONMENTS, ENVIRONMENT, "", ME)

    await dispatch.store.transact(work)


async def test_nothing_that_was_still_to_be_told_goes_out_by_a_later_one_of_its_name(dispatch: Dispatch) -> None:
    waiting = pending(1, state=DeliveryState.WAITING, frozen_time=None, next_try_time=None)
    await dispatch.make(waiting, pending(2))
    await delete_environment(dispatch)

    def create(unit: Unit) -> None:
        dispatch.engine.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)

    await dispatch.store.transact(create)
    assert await dispatch.claim() == []
    for number in (1, 2):
        found = await dispatch.get(number)
        assert found.state is DeliveryState.UNDELIVERABLE
        assert found.failure is not None
        assert found.failure.reason == ENVIRONMENT_DELETED


async def test_a_try_that_was_under_way_counts_all_the_same(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    claimed = await dispatch.claim()
    await delete_environment(dispatch)
    await dispatch.report(*claimed)
    assert (await dispatch.get()).state is DeliveryState.ACCEPTED


async def test_what_was_told_stays_told(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    await dispatch.report(*await dispatch.claim())
    before = await dispatch.get()
    await delete_environment(dispatch)
    assert await dispatch.get() == before
    assert before.tries[0].outcome is TryOutcome.ACCEPTED


async def test_everything_ends_however_much_it_is(dispatch: Dispatch) -> None:
    await dispatch.make(*(pending(number) for number in range(1, PAGE + 2)))
    await delete_environment(dispatch)
    assert await dispatch.store.read(lambda unit: unit.deliveries.channels_with_work(dispatch.clock.now())) == []
