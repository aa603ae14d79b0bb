"""The process that one plugin runs in: asked line by line, and ended where it does not answer in time or says too much."""

import asyncio
import sys
from collections.abc import Sequence

from pymigrate.engine.adapters.pipes import end_piped, start_piped

ANSWER_BYTES_MAX = 4_000_000
START_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 5.0
MODULE = "pymigrate.engine.main.business_metrics"
READY = b"ready\n"
ERROR = b"error "


class PluginFailedError(Exception):
    """A plugin did not answer; the message says why."""


def command_of(plugin: str) -> Sequence[str]:
    """What starts a plugin's process."""
    return (sys.executable, "-m", MODULE, plugin)


class PluginProcess:
    """Is started when it is first asked, and again after it has ended."""

    def __init__(
        self,
        command: Sequence[str],
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        start_seconds_max: float = START_SECONDS_MAX,
    ) -> None:
        self._command = command
        self._answer_seconds_max = answer_seconds_max
        self._start_seconds_max = start_seconds_max
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process that runs; 0 where none does."""
        return self._child.pid if self._child is not None else 0

    async def ask(self, question: bytes) -> bytes:
        """The answer to a line. Raises PluginFailedError, and the process has ended then, unless it said itself what went wrong."""
        try:
            if self._child is None:
                await self._start()
            answer = await self._exchange(question, self._answer_seconds_max)
        except BaseException:
            await self.close()
            raise
        if answer.startswith(ERROR):
            raise PluginFailedError(answer.removeprefix(ERROR).decode(errors="replace"))
        return answer

    async def close(self) -> None:
        """Ends the process. May be called again."""
        child, self._child = self._child, None
        await end_piped(child)

    async def _start(self) -> None:
        self._child = await start_piped(self._command, ANSWER_BYTES_MAX)
        said = await self._exchange(b"", self._start_seconds_max)
        if said + b"\n" != READY:
            raise PluginFailedError(said.removeprefix(ERROR).decode(errors="replace"))

    async def _exchange(self, question: bytes, seconds_max: float) -> bytes:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise PluginFailedError("its process has ended")
        try:
            async with asyncio.timeout(seconds_max):
                if question:
                    child.stdin.write(question + b"\n")
                    await child.stdin.drain()
                return (await child.stdout.readuntil(b"\n"))[:-1]
        except TimeoutError as error:
            raise PluginFailedError(f"it did not answer within {seconds_max:g} s") from error
        except asyncio.LimitOverrunError as error:
            raise PluginFailedError(f"its answer has more than {ANSWER_BYTES_MAX:,} bytes") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise PluginFailedError("its process has ended") from error
