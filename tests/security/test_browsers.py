"""Attack: a page of another site has its visitor's browser call the engine. No answer tells a browser that the page may read it."""

from collections.abc import Iterator

import httpx
import pytest

from pymigrate.engine.entrypoints.rest.server import RestServer
from tests.integration.engine.conftest import served
from tests.integration.engine.served import BEARERS, SECONDS_MAX, TOKEN, ServedEngine

__all__ = ["served"]
ASKED = {
    "origin": "https://elsewhere.example.com",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}


@pytest.fixture
def browser(served: ServedEngine) -> Iterator[httpx.Client]:
    async def start() -> tuple[RestServer, int]:
        server = RestServer(served.servicers, BEARERS)
        return server, await server.start("127.0.0.1:0")

    server, port = served.do(start())
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=SECONDS_MAX, trust_env=False, verify=False
    ) as client:
        yield client
    served.do(server.stop())


@pytest.mark.parametrize("path", ["/v1/environments", "/v1/environments/prod", "/openapi.json", "/livez", "/nowhere"])
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
@pytest.mark.parametrize("shown", [{}, {"authorization": f"Bearer {TOKEN}"}])
def test_no_other_site_may_read_an_answer(browser: httpx.Client, path: str, method: str, shown: dict[str, str]) -> None:
    answer = browser.request(method, path, headers=ASKED | shown)
    assert [name for name in answer.headers if name.startswith("access-control-")] == []
    assert method != "OPTIONS" or not answer.is_success
