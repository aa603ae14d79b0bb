"""Attack: whoever may read one environment reads of all of them on the page of metrics."""

import httpx
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.domain.access import Grant, Role
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.origins import NOWHERE, Peer
from pymigrate.engine.entrypoints.rest.metrics import MetricsAnswer
from pymigrate.engine.ports.metrics import Page

TOKEN = "a-token-of-the-test"


class Somebody(Bearers):
    """Everybody is the same service."""

    async def identify(self, authorizations: object, side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE) -> Caller:
        del authorizations, peer
        return Caller("service/scraper", side)


class OnePage:
    """An exposition of one page."""

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        del accept, accept_encoding
        return Page(b"pymigrate_runs 1", "text/plain")


@pytest.mark.parametrize(
    ("grants", "status"),
    [
        ([], 403),
        ([Grant(Role.VIEWER, "prod")], 403),
        ([Grant(Role.LANE_WORKER)], 403),
        ([Grant(Role.VIEWER)], 200),
    ],
)
async def test_the_page_is_for_who_may_read_everything(grants: list[Grant], status: int) -> None:
    answer = MetricsAnswer(OnePage(), Somebody(TOKEN, SystemClock()), lambda _: grants)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(answer), base_url="http://metrics") as client:
        assert (await client.get("/metrics")).status_code == status
