"""Streams over HTTP: events with an id, an end that is told, and consumers that go, stay silent or are too many."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.engine.entrypoints.rest.streams import Streams
from pymigrate.v1 import run_pb2

Answer = run_pb2.WatchRunResponse


class Consumer:
    """Takes what is sent, and stays until it is told to go."""

    def __init__(self) -> None:
        self.status = 0
        self.text = b""
        self.gone = asyncio.Event()
        self.took = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message["body"]
            self.took.set()

    def events(self) -> list[dict[str, str]]:
        blocks = self.text.decode().strip().split("\n\n")
        return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block]

    async def consume(self, streams: Streams, answers: AsyncGenerator[Any, None]) -> None:
        await streams.serve(answers, {}, self.receive, self.send)


async def finite(*tokens: str) -> AsyncGenerator[Any, None]:
    for token in tokens:
        yield Answer(resume_token=token)


class Endless:
    """Answers once and then has nothing to say; knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def answers(self) -> AsyncGenerator[Any, None]:
        try:
            yield Answer(resume_token="1")
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def test_each_answer_is_an_event_with_its_token_and_the_end_is_told() -> None:
    consumer = Consumer()
    await consumer.consume(Streams(), finite("1", "2"))
    assert consumer.status == 200
    opening, first, second, end = consumer.events()
    assert "retry" in opening
    assert (first["id"], second["id"]) == ("1", "2")
    assert orjson.loads(first["data"]) == {"resumeToken": "1"}
    assert end == {"event": "end", "data": "{}"}


async def test_what_fails_before_the_first_answer_is_an_answer_of_its_own() -> None:
    async def answers(names: tuple[str, ...]) -> AsyncGenerator[Any, None]:
        for name in names:
            raise NotFound(f"there is no {name}")
        yield Answer()

    consumer, streams = Consumer(), Streams()
    with pytest.raises(NotFound):
        await consumer.consume(streams, answers(("run",)))
    assert (consumer.status, streams.open) == (0, 0)


@pytest.mark.parametrize(("error", "status"), [(NotFound("gone"), 404), (KeyError("a secret"), 500)])
async def test_what_fails_later_is_the_last_event(error: Exception, status: int) -> None:
    async def answers() -> AsyncGenerator[Any, None]:
        yield Answer(resume_token="1")
        raise error

    consumer = Consumer()
    await consumer.consume(Streams(), answers())
    last = consumer.events()[-1]
    assert last["event"] == "problem"
    assert orjson.loads(last["data"])["status"] == status
    assert "secret" not in last["data"]


async def test_a_consumer_that_goes_ends_its_stream() -> None:
    consumer, streams, endless = Consumer(), Streams(), Endless()
    serving = asyncio.create_task(consumer.consume(streams, endless.answers()))
    await consumer.took.wait()
    assert streams.open == 1
    consumer.gone.set()
    await serving
    assert (streams.open, endless.is_closed) == (0, True)


async def test_an_engine_that_stops_ends_every_stream_without_saying_that_it_is_the_end() -> None:
    consumer, streams, endless = Consumer(), Streams(), Endless()
    serving = asyncio.create_task(consumer.consume(streams, endless.answers()))
    await consumer.took.wait()
    streams.close()
    await serving
    assert [event.get("event") for event in consumer.events()] == [None, None]


async def test_a_consumer_that_takes_nothing_is_not_written_for() -> None:
    made: list[int] = []
    stuck, free = asyncio.Event(), asyncio.Event()

    async def answers() -> AsyncGenerator[Any, None]:
        for number in range(5):
            made.append(number)
            yield Answer(resume_token=str(number + 1))

    class Stuck(Consumer):
        async def send(self, message: Any) -> None:
            if b"id: 2" in message.get("body", b""):
                stuck.set()
                await free.wait()
            await super().send(message)

    consumer = Stuck()
    serving = asyncio.create_task(consumer.consume(Streams(), answers()))
    await stuck.wait()
    assert made == [0, 1]
    free.set()
    await serving
    assert made == [0, 1, 2, 3, 4]


async def test_a_silent_stream_is_kept_alive() -> None:
    consumer, streams, endless = Consumer(), Streams(keepalive_seconds=0.0), Endless()
    serving = asyncio.create_task(consumer.consume(streams, endless.answers()))
    while consumer.text.count(b": still there\n\n") < 2:
        consumer.took.clear()
        await consumer.took.wait()
    consumer.gone.set()
    await serving
    assert consumer.text.endswith(b": still there\n\n")


async def test_one_stream_too_many_is_refused_until_another_ends() -> None:
    consumer, streams, endless = Consumer(), Streams(streams_max=1), Endless()
    serving = asyncio.create_task(consumer.consume(streams, endless.answers()))
    await consumer.took.wait()
    with pytest.raises(Refused) as refused:
        await Consumer().consume(streams, finite("1"))
    assert (refused.value.status, "retry-after" in refused.value.headers) == (429, True)
    consumer.gone.set()
    await serving
    await Consumer().consume(streams, finite("1"))
