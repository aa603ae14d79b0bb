"""Pages of the trail and of its seals: bounded, and gone on with by a token that holds for its filter alone."""

from typing import Any

import pytest

from pymigrate.engine.application.audit.listing import LOOKS_MAX, AuditListing
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.v1 import audit_pb2
from tests.unit.application.audit.trails import LOOKED, Trail

Request = audit_pb2.ListAuditEventsRequest


@pytest.fixture
def trail() -> Trail:
    """Nothing is in it yet."""
    return Trail()


def listing(trail: Trail) -> AuditListing:
    return AuditListing(trail, trail.public_key)  # type: ignore[arg-type]  # of the store it gives what is asked for


async def test_pages_put_together_are_the_whole_trail(trail: Trail) -> None:
    trail.fill(23)
    request = Request(page_size=4)
    found: list[int] = []
    while True:
        page = await listing(trail).events(request)
        assert len(page.audit_events) <= 4
        found.extend(event.sequence for event in page.audit_events)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == list(range(1, 24))


async def test_an_event_is_told_with_everything_that_is_hashed(trail: Trail) -> None:
    entry = trail.add(
        "approve load/go", "environments/prod/plans/p/runs/r", origin="10.1.2.3 (cli)", method="M", revision="abc"
    )
    (event,) = (await listing(trail).events(Request())).audit_events
    assert (event.principal, event.action, event.subject) == (entry.actor, entry.type, entry.subject)
    assert (event.origin, event.method, event.revision, event.outcome) == ("10.1.2.3 (cli)", "M", "abc", "OK")
    assert (event.chain, event.place, event.hash) == ("w1", 1, entry.hash)


async def test_a_call_looks_at_a_bounded_stretch_and_its_token_goes_on_behind_it(trail: Trail) -> None:
    trail.fill(LOOKED * LOOKS_MAX)
    trail.add(actor="oidc/ben")
    request = Request(principal="oidc/ben")
    page = await listing(trail).events(request)
    assert trail.reads == LOOKS_MAX
    assert not page.audit_events
    request.page_token = page.next_page_token
    page = await listing(trail).events(request)
    assert [event.principal for event in page.audit_events] == ["oidc/ben"]
    assert not page.next_page_token


@pytest.mark.parametrize(
    "change",
    [
        {"principal": "oidc/ben"},
        {"action": "approve"},
        {"outcome": "OK"},
        {"environment": "environments/prod"},
        {"subject": "x"},
    ],
)
async def test_a_token_of_another_filter_is_refused(trail: Trail, change: dict[str, Any]) -> None:
    trail.fill(3)
    token = (await listing(trail).events(Request(page_size=1))).next_page_token
    with pytest.raises(InvalidDefinition, match="other filters"):
        await listing(trail).events(Request(page_token=token, **change))
    assert (await listing(trail).events(Request(page_size=2, page_token=token))).audit_events


@pytest.mark.parametrize("token", ["7", "%%%", "AAAA", "A" * 10_000, "////////////////////////"])
async def test_a_token_that_no_page_gave_is_refused(trail: Trail, token: str) -> None:
    for call, request in (
        ("events", Request(page_token=token)),
        ("seals", audit_pb2.ListAuditSealsRequest(page_token=token)),
    ):
        with pytest.raises(InvalidDefinition, match="page_token"):
            await getattr(listing(trail), call)(request)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(environment="prod"), "environment"),
        (Request(subject="x" * 2_000), "subject"),
        (Request(page_size=-1), "page_size"),
    ],
)
async def test_a_filter_that_is_none_is_refused(trail: Trail, request_: Request, field: str) -> None:
    with pytest.raises(InvalidDefinition) as raised:
        await listing(trail).events(request_)
    assert [problem.field for problem in raised.value.problems] == [field]


async def test_a_time_that_no_calendar_has_is_refused(trail: Trail) -> None:
    request = Request()
    request.start_time.seconds = 10**15
    with pytest.raises(InvalidDefinition, match="start_time"):
        await listing(trail).events(request)
    request.start_time.seconds, request.end_time.seconds = 100, 100
    with pytest.raises(InvalidDefinition, match="must be after start_time"):
        await listing(trail).events(request)


async def test_seals_come_page_by_page_with_the_key_that_they_are_signed_with(trail: Trail) -> None:
    for _ in range(5):
        trail.add()
        trail.seal()
    request = audit_pb2.ListAuditSealsRequest(page_size=2, after=1)
    found: list[int] = []
    while True:
        page = await listing(trail).seals(request)
        assert page.public_key == trail.public_key
        found.extend(seal.number for seal in page.audit_seals)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == [2, 3, 4, 5]
