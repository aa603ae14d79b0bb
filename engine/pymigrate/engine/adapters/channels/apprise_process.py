"""The process that Apprise runs in, as a channel asks it: many messages at once over one pair of pipes.

A message that hangs there can't be taken back, so the process gets no more of them, is ended when nothing else is asked of it, and another
one takes its place.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pymigrate.engine.adapters.pipes import end_piped, start_piped

MODULE = "pymigrate.engine.main.apprise"
Pipe = TypeVar("Pipe")

READY = b"ready\n"
START_SECONDS_MAX = 30.0
ANSWER_BYTES_MAX = 1_000_000
# Credentials of this account's and proxies of this machine's are not for what others are sent.
ENVIRONMENT = {"NETRC": os.devnull, "NO_PROXY": "*"}


class AppriseEndedError(Exception):
    """The process is gone, and nobody knows what became of what it was asked."""


class AppriseNotStartedError(Exception):
    """The process could not be started; nothing was asked of it."""


class AppriseProcess:
    """One process, from `start` to `close`."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._number = 0
        self.is_retired = False

    @property
    def pid(self) -> int:
        """The process that runs; 0 where none does."""
        return self._child.pid if self._child is not None else 0

    async def start(self) -> None:
        """Raises AppriseNotStartedError."""
        self._child = await start_piped((sys.executable, "-m", MODULE), ANSWER_BYTES_MAX, ENVIRONMENT)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                _pipe(self._child.stdin).write(json.dumps(list(self._allowed)).encode() + b"\n")
                said = await _pipe(self._child.stdout).readline()
        except (TimeoutError, OSError) as error:
            await self.close()
            raise AppriseNotStartedError("the process of Apprise did not start in time") from error
        except BaseException:
            await self.close()
            raise
        if said != READY:
            await self.close()
            raise AppriseNotStartedError("the process of Apprise ended while it started")
        self._reading = asyncio.create_task(self._read())

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer. Raises AppriseEndedError where the process ends before. Whoever gives up retires the process."""
        if self._child is None or self.is_retired:
            raise AppriseEndedError("the process of Apprise has ended")
        self._number += 1
        number = self._number
        answered: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        try:
            stdin = _pipe(self._child.stdin)
            stdin.write(json.dumps({"id": number, **question}).encode() + b"\n")
            await stdin.drain()
            return await answered
        except OSError as error:
            raise AppriseEndedError("the process of Apprise has ended") from error
        except asyncio.CancelledError:
            self.is_retired = True
            raise
        finally:
            del self._asked[number]
            if self.is_retired and not self._asked:
                await self.close()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._asked

    async def close(self) -> None:
        """Ends the process. May be called again."""
        self.is_retired = True
        child, self._child = self._child, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        self._give_up()
        await end_piped(child)

    async def _read(self) -> None:
        stdout = _pipe(self._child.stdout if self._child is not None else None)
        try:
            while line := await stdout.readline():
                answer = json.loads(line)
                answered = self._asked.get(answer["id"])
                if answered is not None and not answered.done():
                    answered.set_result(answer)
        finally:
            self.is_retired = True
            self._give_up()

    def _give_up(self) -> None:
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(AppriseEndedError("the process of Apprise has ended"))


def _pipe(pipe: Pipe | None) -> Pipe:
    if pipe is None:
        raise AppriseEndedError("the process of Apprise has no pipes")
    return pipe
