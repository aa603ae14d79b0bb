"""What becomes of a message that is posted to a real receiver over HTTP."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pymigrate.engine.adapters.posts import HttpPosts
from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.posts import Message, Outcome
from pymigrate.engine.ports.secrets import Secret
from tests.sinks import HttpSink, Said

MESSAGE = Message('{"a": "ä"}'.encode(), "application/cloudevents+json")


async def posted(posts: HttpPosts, times: int = 1) -> list[Outcome]:
    """The outcomes of the same message, one after the other."""
    try:
        return [(await posts.post(MESSAGE)).outcome for _ in range(times)]
    finally:
        await posts.close()


async def test_a_message_arrives_as_it_is(sink: HttpSink) -> None:
    assert await posted(HttpPosts(f"{sink.url}/events?of=us")) == [Outcome.SENT]
    taken = sink.taken[0]
    assert (taken.path, taken.body) == ("/events?of=us", MESSAGE.body)
    assert taken.headers["content-type"] == "application/cloudevents+json"
    assert "authorization" not in taken.headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SENT),
        (202, Outcome.SENT),
        (204, Outcome.SENT),
        (301, Outcome.AWAY),
        (400, Outcome.REFUSED),
        (401, Outcome.AWAY),
        (403, Outcome.AWAY),
        (404, Outcome.AWAY),
        (409, Outcome.REFUSED),
        (413, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (429, Outcome.AWAY),
        (500, Outcome.FAILED),
        (501, Outcome.FAILED),
        (502, Outcome.AWAY),
        (503, Outcome.AWAY),
        (504, Outcome.AWAY),
    ],
)
async def test_a_status_says_whether_the_message_or_the_receiver_is_in_question(
    sink: HttpSink, status: int, outcome: Outcome
) -> None:
    sink.answer = lambda _: Said(status)
    assert await posted(HttpPosts(sink.url)) == [outcome]


@pytest.mark.parametrize(("given", "seconds"), [("30", 30.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-1", 0.0)])
async def test_a_receiver_says_when_it_wants_to_be_asked_again(sink: HttpSink, given: str, seconds: float) -> None:
    sink.answer = lambda _: Said(503, retry_after=given)
    posts = HttpPosts(sink.url)
    assert (await posts.post(MESSAGE)).retry_after_seconds == seconds
    await posts.close()


async def test_a_receiver_that_is_not_there_resets_or_hangs_is_away(sink: HttpSink) -> None:
    sink.answer = lambda _: Said(is_reset=True)
    assert await posted(HttpPosts(sink.url)) == [Outcome.AWAY]
    over = threading.Event()
    sink.answer = lambda _: Said(hangs_until=over)
    assert await posted(HttpPosts(sink.url, seconds_max=0.2)) == [Outcome.AWAY]
    over.set()
    gone = HttpSink()
    gone.close()
    assert await posted(HttpPosts(gone.url)) == [Outcome.AWAY]


async def test_a_token_is_sent_and_read_again_once_it_was_not_accepted(sink: HttpSink) -> None:
    tokens: Iterator[str] = iter(("old", "new"))
    sink.answer = lambda asked: Said(200 if asked.headers["authorization"] == "Bearer new" else 401)
    assert await posted(HttpPosts(sink.url, lambda: Secret(next(tokens))), 3) == [Outcome.AWAY] + [Outcome.SENT] * 2
    assert [each.headers["authorization"] for each in sink.asked] == ["Bearer old", "Bearer new", "Bearer new"]


async def test_without_the_token_that_was_configured_nothing_is_posted(sink: HttpSink) -> None:
    def missing() -> Secret:
        raise SecretMissing("env://TOKEN: there is no such variable")

    posts = HttpPosts(sink.url, missing)
    found = await posts.post(MESSAGE)
    await posts.close()
    assert found.outcome is Outcome.AWAY
    assert "env://TOKEN" in found.said
    assert sink.asked == []


async def test_many_at_once_go_over_few_connections(sink: HttpSink) -> None:
    posts = HttpPosts(sink.url)
    outcomes = await asyncio.gather(*(posts.post(MESSAGE) for _ in range(40)))
    await posts.close()
    assert {each.outcome for each in outcomes} == {Outcome.SENT}
    assert len(sink.taken) == 40
