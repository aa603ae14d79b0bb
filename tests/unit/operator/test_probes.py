"""What kubelets and Prometheus are answered by the operator."""

import httpx
import pytest

from pymigrate.engine.entrypoints.operator.probes import ProbeServer
from pymigrate.engine.ports.metrics import Page


class OnePage:
    """A page of metrics."""

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        del accept, accept_encoding
        return Page(b"pymigrate_queue_keys 3\n", "text/plain; version=0.0.4", "")


class Troubles:
    """What does not hold, as a test has it."""

    def __init__(self, life: str = "", readiness: str = "") -> None:
        self.life = life
        self.readiness = readiness
        self.server = ProbeServer(lambda: self.life, lambda: self.readiness, OnePage())

    async def ask(self, path: str, method: str = "GET") -> httpx.Response:
        transport = httpx.ASGITransport(self.server)
        async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
            return await client.request(method, path)


async def test_an_operator_that_lives_and_is_ready_says_so() -> None:
    troubles = Troubles()
    assert (await troubles.ask("/healthz")).status_code == 200
    assert (await troubles.ask("/readyz")).text == "ok\n"


async def test_what_is_wrong_is_told_where_it_matters_alone() -> None:
    troubles = Troubles(readiness="the cluster does not answer")
    assert (await troubles.ask("/healthz")).status_code == 200
    answer = await troubles.ask("/readyz")
    assert (answer.status_code, answer.text) == (503, "the cluster does not answer\n")
    troubles.readiness = ""
    assert (await troubles.ask("/readyz")).status_code == 200


async def test_a_loop_that_is_stuck_is_no_life() -> None:
    assert (await Troubles(life="stuck").ask("/healthz")).status_code == 503


async def test_the_page_of_metrics_is_shown_without_a_token() -> None:
    answer = await Troubles(life="stuck", readiness="not yet").ask("/metrics")
    assert answer.text == "pymigrate_queue_keys 3\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/readyz", 405), ("GET", "/", 404)])
async def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    assert (await Troubles().ask(path, method)).status_code == status
