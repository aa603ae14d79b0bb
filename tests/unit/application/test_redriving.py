"""Dead letters that begin again, channels that are tried, and deliveries as they are shown."""

from typing import Any

import pytest

from pymigrate.engine.application.delivery_messages import delivery_message, shown_address
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import FailedPrecondition, IllegalTransition, InvalidDefinition, NotFound
from pymigrate.engine.domain.run import Failure
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import ME, Engine
from tests.unit.domain.delivered import ENVIRONMENT, pending

NAME = f"{ENVIRONMENT}/deliveries/d1"
MAIL_CHANNEL = f"{ENVIRONMENT}/notificationChannels/mail"


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """An environment with the channels mail and hook."""
    return await dispatch_of(engine)


async def test_a_dead_one_begins_again_at_once_with_the_same_key(dispatch: Dispatch) -> None:
    await dispatch.make(pending(address="mail"))
    given = await dispatch.claim()
    await dispatch.report(*given, outcome="permanent")
    rung = dispatch.bell.rung
    told = await dispatch.redriving.redrive(NAME, ME)
    assert (told.state, told.key) == (notification_pb2.DELIVERY_STATE_PENDING, given[0].key)
    assert dispatch.bell.rung == rung + 1
    (again,) = await dispatch.claim()
    assert (again.key, again.try_number) == (given[0].key, 1)
    assert [(entry.action, entry.actor) for entry in await dispatch.told()][-1] == ("redrive", "me")


async def test_a_dead_one_begins_again_at_the_address_that_was_set_right_since(dispatch: Dispatch) -> None:
    await dispatch.make(pending(address="mail", to="ann@mistyped.example.com"))
    await dispatch.report(*await dispatch.claim(), outcome="permanent")
    await dispatch.redriving.redrive(NAME, ME)
    (again,) = await dispatch.claim()
    assert again.to == "ann@example.com"


@pytest.mark.parametrize("gone", [{"stakeholder": "carl"}, {"address": "pager"}])
async def test_one_whose_recipient_or_address_is_gone_is_not_redriven(dispatch: Dispatch, gone: dict[str, Any]) -> None:
    await dispatch.make(pending(**({"address": "mail"} | gone)))
    await dispatch.report(*await dispatch.claim(), outcome="permanent")
    with pytest.raises(FailedPrecondition, match="any more"):
        await dispatch.redriving.redrive(NAME, ME)
    assert (await dispatch.get()).state is DeliveryState.DEAD


async def test_what_is_under_way_is_not_redriven(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    with pytest.raises(IllegalTransition, match="pending"):
        await dispatch.redriving.redrive(NAME, ME)


async def test_what_there_is_not_is_not_redriven(dispatch: Dispatch) -> None:
    with pytest.raises(NotFound):
        await dispatch.redriving.redrive(NAME, ME)


async def test_one_without_an_address_is_not_redriven_and_says_why(dispatch: Dispatch) -> None:
    homeless: dict[str, Any] = {"channel": "", "to": "", "address": "", "frozen_time": None, "next_try_time": None}
    await dispatch.make(
        pending(state=DeliveryState.UNDELIVERABLE, failure=Failure("NO_ADDRESS", "none for critical"), **homeless)
    )
    with pytest.raises(FailedPrecondition, match="give ann one"):
        await dispatch.redriving.redrive(NAME, ME)
    assert (await dispatch.get()).state is DeliveryState.UNDELIVERABLE


async def test_a_channel_is_tried_by_a_delivery_of_its_own(dispatch: Dispatch) -> None:
    told = await dispatch.redriving.test(MAIL_CHANNEL, "ops@example.com", ME)
    assert (told.state, told.rule, told.stakeholder) == (notification_pb2.DELIVERY_STATE_PENDING, "", "")
    (message,) = await dispatch.claim()
    assert (message.delivery, message.to) == (told.name, "ops@example.com")
    assert message.subject == "A test of the channel mail"
    assert told.name in message.body


async def test_two_trials_of_a_channel_are_two_messages(dispatch: Dispatch) -> None:
    first = await dispatch.redriving.test(MAIL_CHANNEL, "ops@example.com", ME)
    second = await dispatch.redriving.test(MAIL_CHANNEL, "ops@example.com", ME)
    assert first.key != second.key


async def test_a_trial_that_dies_tells_nobody_but_whoever_asked(dispatch: Dispatch) -> None:
    await dispatch.redriving.test(MAIL_CHANNEL, "ops@example.com", ME)
    await dispatch.report(*await dispatch.claim(), outcome="permanent")
    assert [entry.action for entry in await dispatch.told()] == ["test"]


async def test_a_channel_is_tried_only_with_an_address_that_it_takes(dispatch: Dispatch) -> None:
    with pytest.raises(InvalidDefinition, match="no mail address"):
        await dispatch.redriving.test(MAIL_CHANNEL, "ops@example.com\nBcc: x@example.com", ME)


async def test_a_channel_that_is_not_declared_is_not_tried(dispatch: Dispatch) -> None:
    with pytest.raises(NotFound, match="did you mean"):
        await dispatch.redriving.test(f"{ENVIRONMENT}/notificationChannels/mial", "ops@example.com", ME)
    with pytest.raises(NotFound):
        await dispatch.redriving.test(f"{ENVIRONMENT}/stakeholders/ann", "ops@example.com", ME)


def test_a_delivery_is_shown_with_its_tries_and_its_body_only_where_that_is_asked() -> None:
    found = pending(failure=Failure("X", "why"))
    shown = delivery_message(found, has_body=False)
    assert (shown.name, shown.state, shown.severity) == (
        NAME,
        notification_pb2.DELIVERY_STATE_PENDING,
        notification_pb2.SEVERITY_ERROR,
    )
    assert (shown.subject, shown.body, shown.failure.message) == ("It failed", "", "why")
    assert delivery_message(found, has_body=True).body == "All of it."


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("ann@example.com", "ann@example.com"),
        ("#ops", "#ops"),
        ("https://hooks.example.com/pymigrate", "https://hooks.example.com/pymigrate"),
        ("https://user:pass@hooks.example.com/a?token=x", "https://hooks.example.com/a?***"),
        (
            "https://hooks.example.com/services/T00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            "https://hooks.example.com/services/T00000000/***",
        ),
        ("https://[broken", "https://***"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_secret(to: str, shown: str) -> None:
    assert shown_address(to) == shown
