"""The page behind the link in a message: opening it changes nothing, sending it acknowledges, and nothing on it can be made to act."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.delivery import Content, DeliveryState
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.identity import Bearers, caller
from pymigrate.engine.entrypoints.rest.acknowledge_page import AcknowledgePage
from pymigrate.v1 import notification_pb2
from tests.unit.application.dispatched import Dispatch, dispatch_of
from tests.unit.application.engines import Engine
from tests.unit.domain.delivered import ENVIRONMENT, pending

SUBJECT = 'Sales <script>alert("x")</script> has failed'


class Notifications:
    """AcknowledgeDelivery as the engine serves it. `failure` is raised instead."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.failure: Exception | None = None

    async def AcknowledgeDelivery(
        self, request: notification_pb2.AcknowledgeDeliveryRequest, context: Any
    ) -> notification_pb2.NotificationDelivery:
        """By the use case."""
        if self.failure is not None:
            raise self.failure
        return await self._dispatch.acknowledging.acknowledge(request.name, request.signature, caller())


@pytest.fixture
async def dispatch() -> Dispatch:
    """With a delivery that asks to be acknowledged."""
    found = await dispatch_of(Engine())
    await found.make(pending(needs_acknowledgement=True, content=Content(SUBJECT, "body")))
    return found


@pytest.fixture
def notifications(dispatch: Dispatch) -> Notifications:
    return Notifications(dispatch)


@pytest.fixture
async def browser(notifications: Notifications) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without any token."""
    transport = httpx.ASGITransport(AcknowledgePage(notifications, Bearers("a token that is not sent", SystemClock())))
    async with httpx.AsyncClient(transport=transport, base_url="http://rest") as client:
        yield client


async def link_of(dispatch: Dispatch) -> str:
    return dispatch.links.path(await dispatch.get())


async def test_opening_the_link_asks_and_changes_nothing(dispatch: Dispatch, browser: httpx.AsyncClient) -> None:
    link = await link_of(dispatch)
    assert (await browser.head(link)).status_code == 200
    page = await browser.get(link)
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert (await dispatch.get()).state is DeliveryState.PENDING


async def test_sending_the_form_acknowledges_as_whom_it_was_sent_to(
    dispatch: Dispatch, browser: httpx.AsyncClient
) -> None:
    page = await browser.post(await link_of(dispatch))
    assert page.status_code == 200
    assert "Acknowledged" in page.text
    stored = await dispatch.get()
    assert (stored.state, stored.acknowledger) == (DeliveryState.ACKNOWLEDGED, "ann")
    assert (await browser.post(await link_of(dispatch))).status_code == 200


async def test_what_is_told_on_the_page_is_text_and_nothing_else(
    dispatch: Dispatch, browser: httpx.AsyncClient
) -> None:
    page = await browser.post(await link_of(dispatch))
    assert "<script" not in page.text
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page.text


async def test_the_page_runs_nothing_is_kept_nowhere_and_names_itself_to_nobody(
    dispatch: Dispatch, browser: httpx.AsyncClient
) -> None:
    link = await link_of(dispatch)
    for page in (await browser.get(link), await browser.post(link), await browser.get("/acknowledge/nonsense")):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; form-action 'self'; style-src 'unsafe-inline'")
        assert "frame-ancestors 'none'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_a_forged_link_is_refused(dispatch: Dispatch, browser: httpx.AsyncClient) -> None:
    link = await link_of(dispatch)
    forged = f"{link[:20]}{'A' if link[20] != 'A' else 'B'}{link[21:]}"
    page = await browser.post(forged)
    assert page.status_code == 403
    assert (await dispatch.get()).state is DeliveryState.PENDING


@pytest.mark.parametrize("token", ["", "nonsense", "%3Cscript%3E", "a/b", "x" * 2_000])
async def test_what_is_no_link_is_not_there(browser: httpx.AsyncClient, token: str) -> None:
    page = await browser.get(f"/acknowledge/{token}")
    assert page.status_code == 404
    assert "<script" not in page.text


async def test_a_link_to_what_was_forgotten_says_so(dispatch: Dispatch, browser: httpx.AsyncClient) -> None:
    gone = dispatch.links.path(pending(9, needs_acknowledgement=True))
    page = await browser.post(gone)
    assert page.status_code == 404
    assert f"{ENVIRONMENT}/deliveries/d9" in page.text


async def test_other_methods_are_not_served(dispatch: Dispatch, browser: httpx.AsyncClient) -> None:
    page = await browser.put(await link_of(dispatch))
    assert (page.status_code, page.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_an_engine_that_is_away_says_so_and_a_defect_says_nothing_of_itself(
    dispatch: Dispatch, notifications: Notifications, browser: httpx.AsyncClient
) -> None:
    notifications.failure = EngineUnavailable("no engine serves")
    assert (await browser.post(await link_of(dispatch))).status_code == 503
    notifications.failure = ZeroDivisionError("a secret of the engine's")
    page = await browser.post(await link_of(dispatch))
    assert page.status_code == 500
    assert "a secret" not in page.text
