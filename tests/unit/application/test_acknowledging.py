"""Acknowledgements: by call and by signed link, once, and the incident that ends with them."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from pymigrate.engine.application.acknowledging import LINK_DAYS, AcknowledgeLinks, named_delivery
from pymigrate.engine.domain.delivery import DeliveryState, Incident
from pymigrate.engine.domain.errors import IllegalTransition, NotFound, Unauthenticated
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import KEY, URL, Dispatch, dispatch_of
from tests.unit.application.engines import ME, Engine
from tests.unit.domain.delivered import ENVIRONMENT, NOW, later, pending

NAME = f"{ENVIRONMENT}/deliveries/d1"


@pytest.fixture
async def dispatch(engine: Engine) -> Dispatch:
    """With a delivery that asks to be acknowledged and was accepted, and the incident that it is part of."""
    found = await dispatch_of(engine)
    incident = Incident("i1", ENVIRONMENT, "failures", "thread", NOW, next_time=later(600))
    await found.store.transact(lambda unit: unit.incidents.insert([incident]))
    await found.make(pending(needs_acknowledgement=True, incident="i1"))
    await found.report(*await found.claim())
    return found


async def token_of(dispatch: Dispatch) -> str:
    """The token of the delivery's link."""
    return dispatch.links.path(await dispatch.get()).rpartition("/")[2]


async def incident_of(dispatch: Dispatch) -> Incident:
    found = await dispatch.store.read(lambda unit: unit.incidents.get("i1"))
    assert found is not None
    return found


async def test_a_call_acknowledges_it_as_the_caller_and_ends_the_incident(dispatch: Dispatch) -> None:
    dispatch.clock.advance(30)
    told = await dispatch.acknowledging.acknowledge(NAME, "", ME)
    assert told.state == notification_pb2.DELIVERY_STATE_ACKNOWLEDGED
    assert told.acknowledger == "me"
    incident = await incident_of(dispatch)
    assert (incident.next_time, incident.acknowledger, incident.acknowledge_time) == (None, "me", later(30))
    assert [(entry.action, entry.actor, entry.subject) for entry in await dispatch.told()] == [
        ("acknowledge", "me", NAME)
    ]


async def test_acknowledging_twice_changes_nothing(dispatch: Dispatch) -> None:
    first = await dispatch.acknowledging.acknowledge(NAME, "", ME)
    dispatch.clock.advance(30)
    assert await dispatch.acknowledging.acknowledge(NAME, await token_of(dispatch), ME) == first
    assert len(await dispatch.told()) == 1


async def test_the_link_acknowledges_it_as_whom_it_was_sent_to(dispatch: Dispatch) -> None:
    told = await dispatch.acknowledging.acknowledge(NAME, await token_of(dispatch), ME)
    assert told.acknowledger == "ann"


async def test_the_link_is_the_same_whenever_it_is_made_and_leads_to_its_delivery(dispatch: Dispatch) -> None:
    delivery = await dispatch.get()
    again = AcknowledgeLinks(KEY, URL)
    assert again.path(delivery) == dispatch.links.path(delivery)
    assert again.url(delivery) == f"{URL}{again.path(delivery)}"
    assert named_delivery(await token_of(dispatch)) == NAME


async def test_a_link_is_for_one_delivery_alone(dispatch: Dispatch) -> None:
    await dispatch.make(pending(2, needs_acknowledgement=True))
    with pytest.raises(Unauthenticated, match="signature"):
        await dispatch.acknowledging.acknowledge(f"{ENVIRONMENT}/deliveries/d2", await token_of(dispatch), ME)
    assert (await dispatch.get(2)).state is DeliveryState.PENDING


async def test_a_link_whose_name_or_end_was_changed_is_refused(dispatch: Dispatch) -> None:
    token = await token_of(dispatch)
    packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    later_end = (int.from_bytes(packed[:8], "big") + 1).to_bytes(8, "big") + packed[8:]
    another = packed[:-1] + b"2"
    for forged, name in ((later_end, NAME), (another, f"{NAME[:-1]}2")):
        forged_token = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        with pytest.raises(Unauthenticated, match="signature"):
            dispatch.links.check(name, forged_token, NOW)


async def test_a_link_of_another_engine_is_refused(dispatch: Dispatch) -> None:
    theirs = AcknowledgeLinks(b"another key, which is long enough").path(await dispatch.get()).rpartition("/")[2]
    with pytest.raises(Unauthenticated, match="signature"):
        await dispatch.acknowledging.acknowledge(NAME, theirs, ME)


async def test_a_link_ends(dispatch: Dispatch) -> None:
    token = await token_of(dispatch)
    dispatch.links.check(NAME, token, NOW + timedelta(days=LINK_DAYS, seconds=-1))
    dispatch.clock.advance(LINK_DAYS * 86_400)
    with pytest.raises(Unauthenticated, match="has ended"):
        await dispatch.acknowledging.acknowledge(NAME, token, ME)


@pytest.mark.parametrize("wrong", ["x", "%%%", "a" * 1_000, "ü", "AAAA", "//////////////////////////////8", "_" * 120])
def test_what_is_no_link_is_refused(wrong: str) -> None:
    with pytest.raises(Unauthenticated, match="no link"):
        named_delivery(wrong)


async def test_what_there_is_not_is_not_acknowledged(dispatch: Dispatch) -> None:
    with pytest.raises(NotFound, match="d9"):
        await dispatch.acknowledging.acknowledge(f"{ENVIRONMENT}/deliveries/d9", "", ME)


async def test_what_was_told_to_nobody_is_not_acknowledged_and_its_incident_goes_on(dispatch: Dispatch) -> None:
    await dispatch.make(pending(2, state=DeliveryState.SUPPRESSED, next_try_time=None, incident="i1"))
    with pytest.raises(IllegalTransition):
        await dispatch.acknowledging.acknowledge(f"{ENVIRONMENT}/deliveries/d2", "", ME)
    assert (await incident_of(dispatch)).next_time == later(600)


async def test_what_needs_no_acknowledgement_has_no_link_and_may_be_acknowledged_by_call(dispatch: Dispatch) -> None:
    await dispatch.make(pending(2))
    assert dispatch.links.path(await dispatch.get(2)) == ""
    told = await dispatch.acknowledging.acknowledge(f"{ENVIRONMENT}/deliveries/d2", "", ME)
    assert told.state == notification_pb2.DELIVERY_STATE_ACKNOWLEDGED


async def test_an_incident_that_told_its_last_step_notes_who_acts_all_the_same(dispatch: Dispatch) -> None:
    def end(unit: Unit) -> None:
        incident = unit.incidents.get("i1")
        assert incident is not None
        incident.next_time = None
        unit.incidents.save([incident])

    await dispatch.store.transact(end)
    await dispatch.acknowledging.acknowledge(NAME, "", ME)
    assert (await incident_of(dispatch)).acknowledger == "me"


async def test_whoever_else_was_told_of_the_incident_and_of_nothing_more_has_nothing_left_to_do(
    dispatch: Dispatch,
) -> None:
    others: dict[str, Any] = {"stakeholder": "ben", "incident": "i1", "needs_acknowledgement": True}
    await dispatch.make(pending(2, **others), pending(3, entries=[7], **others))
    await dispatch.report(*await dispatch.claim())
    await dispatch.make(pending(4, **others))
    await dispatch.acknowledging.acknowledge(NAME, "", ME)
    found = [await dispatch.get(number) for number in (2, 3, 4)]
    assert [each.state for each in found] == [
        DeliveryState.ACKNOWLEDGED,
        DeliveryState.ACCEPTED,  # it tells of something else too
        DeliveryState.PENDING,  # it is still to be told what happened
    ]
    assert (found[0].acknowledger, found[0].acknowledge_time) == ("me", dispatch.clock.now())
