"""A call whose answers are lines of JSON, as these lines over HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.rest.lines import Lines, answers_in_lines, asks_for_lines
from pymigrate.engine.entrypoints.rest.streams import Streams
from pymigrate.v1 import audit_pb2, run_pb2
from tests.unit.rest.test_streams import Consumer

Piece = audit_pb2.ExportAuditResponse


async def pieces(*lines: bytes) -> AsyncGenerator[Any, None]:
    for number, each in enumerate(lines):
        yield Piece(lines=each, resume_token=str(number))


async def test_the_lines_are_the_body_and_nothing_else_is() -> None:
    consumer = Consumer()
    await Streams().serve(pieces(b'{"a":1}\n', b'{"b":2}\n{"c":3}\n'), {}, consumer.receive, consumer.send, Lines())
    assert (consumer.status, consumer.text) == (200, b'{"a":1}\n{"b":2}\n{"c":3}\n')


async def test_what_fails_on_the_way_is_the_last_line() -> None:
    async def broken() -> AsyncGenerator[Any, None]:
        yield Piece(lines=b'{"a":1}\n')
        raise EngineUnavailable("the store is closed")

    consumer = Consumer()
    await Streams().serve(broken(), {}, consumer.receive, consumer.send, Lines())
    *_, last = consumer.text.splitlines()
    assert orjson.loads(last)["problem"]["reason"] == "ENGINE_UNAVAILABLE"


async def test_a_consumer_that_goes_ends_the_lines() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[Any, None]:
        try:
            yield Piece(lines=b'{"a":1}\n')
            await asyncio.Event().wait()
        finally:
            closed.set()

    consumer, streams = Consumer(), Streams()
    serving = asyncio.create_task(streams.serve(endless(), {}, consumer.receive, consumer.send, Lines()))
    await consumer.took.wait()
    consumer.gone.set()
    await serving
    assert closed.is_set()
    assert streams.open == 0


@pytest.mark.parametrize(
    ("accept", "is_asked"),
    [
        ("application/x-ndjson", True),
        ("text/event-stream, Application/X-NDJSON;q=0.9", True),
        ("application/x-ndjson; q=0", False),
        ("application/x-ndjson;q=0.000, */*", False),
        ("*/*", False),
        ("", False),
        ("application/x-ndjson-of-others", False),
    ],
)
def test_lines_are_given_to_whoever_accepts_them_by_name(accept: str, is_asked: bool) -> None:
    assert asks_for_lines({"accept": accept}) is is_asked


def test_only_what_answers_in_lines_is_given_as_lines() -> None:
    assert answers_in_lines(Piece.DESCRIPTOR)
    assert not answers_in_lines(run_pb2.WatchRunResponse.DESCRIPTOR)
