"""How much a dispatcher is given at once: its part of a channel, of a minute, and of what an answer may hold."""

import pytest

from pymigrate.engine.application.known_dispatchers import HELD_SHARE
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.domain.delivery import Content
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import Engine
from tests.unit.application.noticed import HOOK, MAIL, add
from tests.unit.domain.delivered import pending


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """An environment with the channels mail and hook."""
    return await dispatch_of(engine)


async def test_of_a_channel_dispatchers_hold_a_few_times_what_may_be_under_way(dispatch: Dispatch) -> None:
    await dispatch.make(*(pending(number) for number in range(1, 101)))
    given = await dispatch.claim()
    assert len(given) == HELD_SHARE * 20
    assert {message.at_once_max for message in given} == {20}
    assert await dispatch.claim("d2") == []
    await dispatch.report(*given[:5])
    assert len(await dispatch.claim("d2")) == 5


async def test_dispatchers_share_what_may_be_under_way_at_once(dispatch: Dispatch) -> None:
    await dispatch.claim("d1")
    await dispatch.claim("d2")
    await dispatch.make(pending())
    (message,) = await dispatch.claim("d1")
    assert message.at_once_max == 10


async def test_a_dispatcher_that_is_not_heard_of_any_more_has_no_part(dispatch: Dispatch) -> None:
    await dispatch.claim("d2")
    dispatch.clock.advance(61)
    await dispatch.make(pending())
    (message,) = await dispatch.claim("d1")
    assert message.at_once_max == 20


async def test_a_channel_sends_no_more_in_a_minute_than_it_may(engine: Engine) -> None:
    dispatch = await dispatch_of(engine)
    slow = MAIL | {"messagesPerMinuteMax": 3}
    await engine.store.transact(lambda unit: add(engine, unit, NOTIFICATION_CHANNELS, "slow", slow))
    await dispatch.make(*(pending(number, "slow") for number in range(1, 6)))
    first = await dispatch.claim()
    assert len(first) == 3
    await dispatch.report(*first)
    assert await dispatch.claim() == []
    dispatch.clock.advance(60.5)
    assert len(await dispatch.claim()) == 2


async def test_a_claim_of_long_messages_is_no_longer_than_an_answer_may_be(engine: Engine) -> None:
    dispatch = await dispatch_of(engine)
    wide = HOOK | {"deliveriesMax": 200}
    await engine.store.transact(lambda unit: add(engine, unit, NOTIFICATION_CHANNELS, "wide", wide))
    long = Content("long", "x" * 250_000, "y" * 250_000)
    await dispatch.make(*(pending(number, "wide", content=long) for number in range(1, 101)))
    given: list[notification_pb2.OutgoingMessage] = []
    while found := await dispatch.claim(deliveries_max=200):
        answer = notification_pb2.ClaimDeliveriesResponse(messages=found)
        assert answer.ByteSize() < 8_000_000
        given += found
    assert len({message.delivery for message in given}) == len(given) == 100
    assert {message.try_number for message in given} == {1}


async def test_a_message_that_is_longer_than_a_claim_is_given_alone(dispatch: Dispatch) -> None:
    await dispatch.make(*(pending(number, content=Content("long", "x" * 4_000_000)) for number in (1, 2)))
    assert [len(await dispatch.claim()) for _ in range(3)] == [1, 1, 0]


async def test_one_channel_with_much_to_send_does_not_keep_another_waiting(dispatch: Dispatch) -> None:
    await dispatch.make(*(pending(number) for number in range(1, 41)), pending(99, "hook"))
    given = await dispatch.claim(deliveries_max=10)
    assert "d99" in {message.delivery.rpartition("/")[2] for message in given}


async def test_a_dispatcher_is_given_only_kinds_that_it_can_send_by(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1), pending(2, "hook"))
    assert [message.delivery[-2:] for message in await dispatch.claim(kinds=["webhook"])] == ["d2"]
