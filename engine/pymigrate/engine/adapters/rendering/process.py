"""Messages made in a process of their own: a text that hangs it or fells it fails alone, and the others are made in the next one."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog

from pymigrate.engine.adapters.pipes import end_piped, start_piped
from pymigrate.engine.adapters.rendering.answering import READY
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest, TemplateSource

log = structlog.get_logger(__name__)
COMMAND = (sys.executable, "-m", "pymigrate.engine.main.rendering")
START_SECONDS_MAX = 30.0
# One text may take a second of a core: that is counted inside. Beyond this the process is held to be stuck.
ANSWER_SECONDS_MAX = 10.0
END_SECONDS_MAX = 2.0
ANSWER_BYTES_MAX = 4_000_000
BATCH_MAX = 250
TRIES_MAX = 2


class _Gone(Exception):
    """The process has ended, or is stuck; the message says which."""


class _NotStarted(_Gone):
    """It has not come so far as to be asked: no text is to blame."""


class TemplateProcess:
    """Renders. The process is started when it is first needed, and again after it has ended; calls take turns, batch by batch."""

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        start_seconds_max: float = START_SECONDS_MAX,
    ) -> None:
        self._command = command
        self._answer_seconds_max = answer_seconds_max
        self._start_seconds_max = start_seconds_max
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process that runs; 0 where none does."""
        return self._child.pid if self._child is not None else 0

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        """As the port says."""
        found: list[RenderedText] = []
        for first in range(0, len(requests), BATCH_MAX):
            async with self._turn:
                found += await self._batch(requests[first : first + BATCH_MAX])
        return found

    async def close(self) -> None:
        """Ends the process, which has a moment to do so by itself. May be called again."""
        async with self._turn:
            child = self._child
            if child is not None and child.stdin is not None:
                child.stdin.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_SECONDS_MAX):
                        await child.wait()
            await self._end()

    async def _batch(self, requests: Sequence[RenderRequest]) -> list[RenderedText]:
        """What came of each. The first one without an answer is what the process ended with: it is tried once more, and alone."""
        found: list[RenderedText] = []
        tries = 0
        while len(found) < len(requests):
            asked = requests[len(found) :] if not tries else requests[len(found) : len(found) + 1]
            before = len(found)
            try:
                await self._ask(asked, found)
            except _Gone as gone:
                await self._end()
                tries = 1 if len(found) > before else tries + 1
                log.warning("rendering.process_lost", reason=str(gone), tries=tries)
                if tries >= TRIES_MAX:
                    failed = len(requests) - len(found) if isinstance(gone, _NotStarted) else 1
                    found += [RenderedText(problem=f"body: could not be made: {gone}")] * failed
                    tries = 0
            except BaseException:
                await self._end()  # what it was asked would be answered to somebody else
                raise
            else:
                tries = 0
        return found

    async def _ask(self, requests: Sequence[RenderRequest], found: list[RenderedText]) -> None:
        """Adds the answers as they come. Raises _Gone."""
        if self._child is None:
            await self._start()
        await self._say(_question(requests))
        for _ in requests:
            answer = await self._hear(self._answer_seconds_max)
            found.append(_rendered(answer))

    async def _start(self) -> None:
        try:
            self._child = await start_piped(self._command, ANSWER_BYTES_MAX)
        except OSError as error:
            raise _NotStarted(f"its process can't be started: {error.strerror}") from error
        try:
            said = await self._hear(self._start_seconds_max)
        except _Gone as gone:
            raise _NotStarted(f"its process did not start: {gone}") from gone
        if said != READY:
            raise _NotStarted("its process did not start: it is another program")

    async def _say(self, question: bytes) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise _Gone("its process has ended")
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                child.stdin.write(question)
                await child.stdin.drain()
        except (TimeoutError, ConnectionError) as error:
            raise _Gone("its process has ended") from error

    async def _hear(self, seconds_max: float) -> bytes:
        child = self._child
        if child is None or child.stdout is None:
            raise _Gone("its process has ended")
        try:
            async with asyncio.timeout(seconds_max):
                return await child.stdout.readuntil(b"\n")
        except TimeoutError as error:
            raise _Gone(f"it took longer than {seconds_max:g} s") from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            raise _Gone("its process has ended") from error

    async def _end(self) -> None:
        child, self._child = self._child, None
        await end_piped(child)


def _question(requests: Sequence[RenderRequest]) -> bytes:
    """A batch as one line. Texts and values that several share are written once."""
    sources: dict[TemplateSource, int] = {}
    values: list[orjson.Fragment] = []
    places: dict[int, int] = {}
    messages: list[tuple[int, Mapping[str, int]]] = []
    for request in requests:
        named: dict[str, int] = {}
        for name, value in request.context.items():
            place = places.get(id(value))
            if place is None:
                place = places[id(value)] = len(values)
                values.append(orjson.Fragment(orjson.dumps(value)))
            named[name] = place
        messages.append((sources.setdefault(request.source, len(sources)), named))
    texts: list[Any] = [(source.subject, source.body, source.html) for source in sources]
    return orjson.dumps({"sources": texts, "values": values, "messages": messages}, option=orjson.OPT_APPEND_NEWLINE)


def _rendered(answer: bytes) -> RenderedText:
    parts = orjson.loads(answer)
    return RenderedText(*parts) if len(parts) > 1 else RenderedText(problem=parts[0])
