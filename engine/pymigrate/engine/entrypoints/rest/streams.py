"""A call that answers again and again, as Server-Sent Events: each answer an event whose id is its resume token.

Nothing is queued: the next answer is made when the one before has been taken, so a slow consumer costs one message and is told the
newest state when it comes back. `event: end` says that there will be no more; a stream that stops without it is to be resumed.

What answers in lines of JSON itself is given as these lines to whoever asks for them (`lines.py`).
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import orjson
import structlog
from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from pymigrate.engine.application.watching import Told
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.redacted import Clean, redacted
from pymigrate.engine.entrypoints.rest.answers import encoded
from pymigrate.engine.entrypoints.rest.problems import Refused, problem_of

log = structlog.get_logger(__name__)
STREAMS_MAX = 1_000
KEEPALIVE_SECONDS = 15.0
RETRY_MILLISECONDS = 1_000
RETRY_AFTER_SECONDS = 5
END = b"event: end\ndata: {}\n\n"
KEEPALIVE = b": still there\n\n"
OPENING = f"retry: {RETRY_MILLISECONDS}\n\n".encode()

Answers = AsyncGenerator[Any, None]


class Form(Protocol):
    """How answers are written one after the other."""

    media_type: str
    opening: bytes
    keepalive: bytes
    end: bytes

    def answer(self, answer: Any) -> bytes:
        """An answer."""
        ...

    def problem(self, error: PyMigrateError) -> bytes:
        """Why there are no more."""
        ...


class Events:
    """Server-Sent Events."""

    media_type = "text/event-stream"
    opening = OPENING
    keepalive = KEEPALIVE
    end = END

    def answer(self, answer: Any) -> bytes:
        """The event of an answer; what goes to several consumers is encoded once for all of them."""
        return answer.encoded(_encoded) if isinstance(answer, Told) else _encoded(answer)

    def problem(self, error: PyMigrateError) -> bytes:
        """The last event of a stream that failed."""
        return b"event: problem\ndata: " + orjson.dumps(problem_of(error)) + b"\n\n"


EVENTS = Events()


class Streams:
    """The streams that are open, and the limit of how many there may be."""

    def __init__(
        self, streams_max: int = STREAMS_MAX, keepalive_seconds: float = KEEPALIVE_SECONDS, clean: Clean = str
    ) -> None:
        self._clean = clean
        self._streams_max = streams_max
        self._keepalive_seconds = keepalive_seconds
        self._closing = asyncio.Event()
        self.open = 0

    def close(self) -> None:
        """Ends every stream, so that its consumer resumes it elsewhere."""
        self._closing.set()

    async def serve(self, answers: Answers, scope: Scope, receive: Receive, send: Send, form: Form = EVENTS) -> None:
        """Sends the answers until they end, the consumer is gone or the engine stops. Raises Refused (429) for one stream too many, and
        whatever keeps the first answer from being made: nothing is sent by then."""
        if self.open >= self._streams_max:
            text = f"{self._streams_max:,} streams are open, and no more are served: close one, or try again later"
            raise Refused(429, "TOO_MANY_STREAMS", text, {"retry-after": str(RETRY_AFTER_SECONDS)})
        self.open += 1
        try:
            first = await anext(answers, None)
            await send({"type": "http.response.start", "status": 200, "headers": _headers(form)})
            await _more(send, form.opening if first is None else form.opening + form.answer(first))
            if first is not None:
                await self._follow(answers, receive, send, form)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.open -= 1
            await answers.aclose()

    async def _follow(self, answers: Answers, receive: Receive, send: Send, form: Form) -> None:
        gone = asyncio.create_task(_disconnected(receive))
        closing = asyncio.create_task(self._closing.wait())
        following = asyncio.create_task(_next(answers))
        try:
            while True:
                done, _ = await asyncio.wait(
                    {gone, closing, following},
                    timeout=self._keepalive_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone in done or closing in done:
                    return
                if following not in done:
                    await _more(send, form.keepalive)
                    continue
                event, is_last = _told(following, self._clean, form)
                await _more(send, event)
                if is_last:
                    return
                following = asyncio.create_task(_next(answers))
        finally:
            for task in (gone, closing, following):
                task.cancel()
            await asyncio.gather(gone, closing, following, return_exceptions=True)


def _told(following: "asyncio.Task[Any]", clean: Clean, form: Form) -> tuple[bytes, bool]:
    """What an outcome makes, and whether it is the last."""
    try:
        answer = following.result()
    except PyMigrateError as error:
        return form.problem(redacted(error, clean)), True
    except Exception as error:
        log.error("stream.failed", error=type(error).__name__, exc_info=error)
        return form.problem(PyMigrateError("the engine failed in this stream: its log tells more")), True
    return (form.end, True) if answer is None else (form.answer(answer), False)


def _headers(form: Form) -> list[tuple[bytes, bytes]]:
    media_type = form.media_type.encode()
    return [(b"content-type", media_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


async def _next(answers: Answers) -> Any:
    return await anext(answers, None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _more(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _encoded(answer: Message) -> bytes:
    token = str(getattr(answer, "resume_token", ""))
    head = f"id: {token}\n".encode() if token.isprintable() and token else b""
    return head + b"data: " + encoded(answer) + b"\n\n"
