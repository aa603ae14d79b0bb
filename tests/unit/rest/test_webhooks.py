"""Where hosts post to: read within bounds, answered at once, and telling nothing to whoever is not believed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from pymigrate.engine.application.gitops.webhook_posts import Post, Reception, Taken
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.rest.server import RestServer
from pymigrate.engine.entrypoints.rest.webhooks import BODY_BYTES_MAX, READING_MAX, REFUSED_SECONDS, WebhookEndpoint
from pymigrate.engine.testing.clock import ManualClock

URL = "/webhooks/warehouse"
JSON = {"content-type": "application/json"}


class Receiver:
    """Answers as a test says, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Post]] = []
        self.answer: Reception | Exception = Reception(Taken.TAKEN)
        self.is_open = True

    def admit(self, source_id: str) -> bool:
        return self.is_open

    async def receive(self, source_id: str, post: Post) -> Reception:
        self.given.append((source_id, post))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class PassingClock(ManualClock):
    """Whoever sleeps moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(seconds, 0.0))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def clock() -> PassingClock:
    return PassingClock()


@asynccontextmanager
async def opened(receiver: Receiver, clock: PassingClock) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose bearer's token nobody has."""
    endpoint = WebhookEndpoint(receiver, clock, lambda text: text.replace("hunter2", "***"))
    server = RestServer({}, Bearers("a token that is not sent", clock), webhooks=endpoint)
    transport = httpx.ASGITransport(server.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        yield client


async def test_a_post_needs_no_bearers_token_and_reaches_its_source_as_it_was_sent(
    receiver: Receiver, clock: PassingClock
) -> None:
    body = '{"zoë": 1 }'.encode()
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=body, headers={**JSON, "X-GitHub-Event": "push"})
    assert (answer.status_code, answer.json()) == (202, {"result": "taken"})
    ((source_id, post),) = receiver.given
    assert source_id == "warehouse"
    assert post.body == body
    assert post.headers["x-github-event"] == "push"


@pytest.mark.parametrize(
    ("taken", "status"),
    [
        (Taken.TAKEN, 202),
        (Taken.IGNORED, 200),
        (Taken.KNOWN, 200),
        (Taken.REFUSED, 401),
        (Taken.MALFORMED, 400),
        (Taken.UNREADABLE, 503),
        (Taken.TOO_MANY, 429),
    ],
)
async def test_each_outcome_has_a_status(receiver: Receiver, clock: PassingClock, taken: Taken, status: int) -> None:
    receiver.answer = Reception(taken, "why")
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=b"{}", headers=JSON)
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) is (status in {429, 503})


async def test_whoever_is_refused_is_told_the_same_after_the_same_time(receiver: Receiver, clock: PassingClock) -> None:
    receiver.answer = Reception(Taken.REFUSED)
    async with opened(receiver, clock) as client:
        answers = [
            await client.post(url, content=body, headers=JSON)
            for url, body in ((URL, b"{}"), ("/webhooks/nothing", b"{}"), (f"/webhooks/{'n' * 500}", b"[1]"))
        ]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert b"warehouse" not in answers[0].content
    assert clock.slept == [REFUSED_SECONDS] * 3


async def test_whoever_is_believed_waits_for_nothing(receiver: Receiver, clock: PassingClock) -> None:
    async with opened(receiver, clock) as client:
        await client.post(URL, content=b"{}", headers=JSON)
    assert clock.slept == []


async def test_nothing_is_read_of_what_is_too_much(receiver: Receiver, clock: PassingClock) -> None:
    receiver.is_open = False
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=unreadable(), headers=JSON)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5"
    assert receiver.given == []


async def unreadable(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body that nobody may ask for."""
    for piece in pieces:
        yield piece
    raise AssertionError("it was read")


async def test_a_body_that_is_announced_as_too_large_is_not_read(receiver: Receiver, clock: PassingClock) -> None:
    headers = {**JSON, "content-length": str(BODY_BYTES_MAX + 1)}
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=unreadable(), headers=headers)
    assert answer.status_code == 413
    assert "5,242,880 bytes" in answer.json()["detail"]


async def test_a_body_that_turns_out_too_large_is_left_where_that_shows(
    receiver: Receiver, clock: PassingClock
) -> None:
    taken: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(1_000):
            taken.append(number)
            yield bytes(1024 * 1024)

    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=pieces(), headers=JSON)
    assert answer.status_code == 413
    assert len(taken) <= 7
    assert receiver.given == []


async def test_the_largest_body_is_taken(receiver: Receiver, clock: PassingClock) -> None:
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=bytes(BODY_BYTES_MAX), headers=JSON)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
async def test_what_is_no_plain_json_is_refused_with_what_to_choose(
    receiver: Receiver, clock: PassingClock, headers: dict[str, str]
) -> None:
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=b"payload=%7B%7D", headers=headers)
    assert answer.status_code == 415
    assert "choose that as its content type" in answer.json()["detail"]
    assert receiver.given == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_there_is_nothing_to_get(receiver: Receiver, clock: PassingClock, method: str) -> None:
    async with opened(receiver, clock) as client:
        answer = await client.request(method, URL)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_store_that_is_away_is_told_with_when_to_come_again(receiver: Receiver, clock: PassingClock) -> None:
    receiver.answer = StoreUnavailable("the disk of hunter2 is full")
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=b"{}", headers=JSON)
    assert answer.status_code == 503
    assert "hunter2" not in answer.text


async def test_a_fault_of_the_engines_tells_nothing_of_it(receiver: Receiver, clock: PassingClock) -> None:
    receiver.answer = ZeroDivisionError("hunter2")
    async with opened(receiver, clock) as client:
        answer = await client.post(URL, content=b"{}", headers=JSON)
    assert answer.status_code == 500
    assert "hunter2" not in answer.text


async def test_bodies_that_are_being_read_are_bounded(receiver: Receiver, clock: PassingClock) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield b"{}"

    async with opened(receiver, clock) as client:
        waiting = [asyncio.ensure_future(client.post(URL, content=slow(), headers=JSON)) for _ in range(READING_MAX)]
        for _ in range(50):
            await asyncio.sleep(0)
        answer = await client.post(URL, content=b"{}", headers=JSON)
        assert answer.status_code == 503
        go_on.set()
        assert [each.status_code for each in await asyncio.gather(*waiting)] == [202] * READING_MAX
        assert (await client.post(URL, content=b"{}", headers=JSON)).status_code == 202


async def test_without_webhooks_the_path_is_as_any_other(clock: PassingClock) -> None:
    server = RestServer({}, Bearers("a token", clock))
    transport = httpx.ASGITransport(server.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        answer = await client.post(URL, content=json.dumps({}), headers=JSON)
    assert answer.status_code == 401
