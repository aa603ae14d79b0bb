"""What dispatchers are given to send: events for HTTP receivers, texts for mail, links where one is to act, the channel as it is now."""

import json

import pytest

from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import URL, Dispatch, dispatch_of
from tests.unit.application.engines import ME, Engine
from tests.unit.domain.delivered import ENVIRONMENT, pending


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """An environment with the channels mail and hook."""
    return await dispatch_of(engine)


async def test_http_receivers_are_given_a_cloud_event_that_is_the_same_at_every_try(dispatch: Dispatch) -> None:
    entries = [await dispatch.happen("start"), await dispatch.happen("pause")]
    await dispatch.make(pending(channel="hook", entries=entries, entry_count=2, needs_acknowledgement=True))
    (first,) = await dispatch.claim()
    event = json.loads(first.event)
    assert event["id"] == first.key
    assert (event["specversion"], event["type"], event["source"]) == ("1.0", "io.pymigrate.notification", "/pymigrate")
    assert (event["subject"], event["time"]) == (first.delivery, "2026-01-01T00:00:00Z")
    data = event["data"]
    assert (data["rule"], data["severity"], data["subject"]) == ("failures", "error", "It failed")
    assert [each["type"] for each in data["events"]] == ["start", "pause"]
    assert data["acknowledgeUrl"] == first.acknowledge_url
    assert first.acknowledge_url.startswith(f"{URL}/acknowledge/")
    await dispatch.report(first, outcome="unknown")
    dispatch.clock.advance(1)
    (again,) = await dispatch.claim()
    assert again.event == first.event


async def test_texts_in_an_event_are_told_as_they_are(dispatch: Dispatch) -> None:
    wild = 'a "quote", a line\nbreak, ünïcode and \u2028'
    found = pending(channel="hook")
    await dispatch.make(pending(channel="hook", content=type(found.content)(wild, wild)))
    (message,) = await dispatch.claim()
    assert json.loads(message.event)["data"]["body"] == wild


async def test_mail_is_given_texts_alone_and_a_link_only_where_one_is_to_act(dispatch: Dispatch) -> None:
    await dispatch.make(pending())
    (message,) = await dispatch.claim()
    assert (message.event, message.acknowledge_url) == (b"", "")


async def test_no_link_is_told_where_nobody_could_follow_it(engine: Engine) -> None:
    dispatch = await dispatch_of(engine, public_url="")
    await dispatch.make(pending(needs_acknowledgement=True))
    (message,) = await dispatch.claim()
    assert message.acknowledge_url == ""


async def test_a_channel_that_was_declared_anew_is_told_as_it_is_now(dispatch: Dispatch) -> None:
    await dispatch.make(pending(1))
    await dispatch.claim()

    def change(unit: Unit) -> None:
        channel = dispatch.engine.catalog.get(unit, NOTIFICATION_CHANNELS, f"{ENVIRONMENT}/notificationChannels/mail")
        channel.smtp.host = "other.example.com"
        dispatch.engine.catalog.update(
            unit, NOTIFICATION_CHANNELS, channel, notification_pb2.UpdateNotificationChannelRequest().update_mask, ME
        )

    await dispatch.store.transact(change)
    await dispatch.make(pending(2))
    (message,) = await dispatch.claim()
    assert message.channel.smtp.host == "other.example.com"
