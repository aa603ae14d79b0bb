"""A dispatcher's loop: it claims what it has room for, sends it by its channels, and tells what came of it.

It ends when it is told to: then it claims nothing more, gives back what it has not begun, lets what is under way end, and reports all of
that, for as long as an engine may come back to hear it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Literal

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.entrypoints.dispatcher.engine import DispatchEngine
from pymigrate.engine.entrypoints.dispatcher.outlets import Build, Outlet
from pymigrate.engine.entrypoints.dispatcher.reports import Reports
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import notification_pb2

log = structlog.get_logger(__name__)
HELD_MAX = 1_000
CLAIMED_MAX = 200
WAIT_SECONDS = 20.0
GRACE_SECONDS = 15.0
AWAY_SECONDS_MAX = 60.0
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 2.0
BACKOFF_DOUBLINGS_MAX = 5
IDLE_SECONDS_MAX = 120.0


class Dispatcher:
    """`build` makes a channel's way out, `clean` takes secrets out of texts."""

    def __init__(
        self,
        engine: DispatchEngine,
        build: Build,
        clock: Clock,
        rng: random.Random,
        name: str,
        clean: Callable[[str], str],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._engine = engine
        self._build = build
        self._clock = clock
        self._rng = rng
        self._name = name
        self._clean = clean
        self._grace_seconds = grace_seconds
        self._reports = Reports(engine, clock, rng)
        self._outlets: dict[str, Outlet] = {}

    @property
    def held(self) -> int:
        """How many messages it has claimed of which the engine does not know yet what came."""
        return self._reports.untold + sum(outlet.held for outlet in self._outlets.values())

    async def run(self, ending: asyncio.Event) -> int:
        """Sends until `ending` is set, and then ends as the module says. Returns how many reports no engine heard."""
        telling = asyncio.create_task(self._reports.run())
        try:
            await self._serve(ending)
            log.info("dispatcher.draining", held=self.held)
            await self._finish()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        if self._reports.untold:
            log.error("dispatcher.unheard", reports=self._reports.untold)
        return self._reports.untold

    async def _serve(self, ending: asyncio.Event) -> None:
        ended = asyncio.ensure_future(ending.wait())
        away = 0
        try:
            while not ending.is_set():
                claiming = asyncio.ensure_future(self._claim())
                await asyncio.wait((claiming, ended), return_when=asyncio.FIRST_COMPLETED)
                if not claiming.done():
                    claiming.cancel()
                    await asyncio.gather(claiming, return_exceptions=True)
                    return
                if error := claiming.exception():
                    if not isinstance(error, PyMigrateError):
                        raise error
                    if not away:
                        log.info("engine.away", error=error.message)
                    await self._pause(away, ended)
                    away += 1
                    continue
                if away:
                    log.info("engine.back")
                away = 0
        finally:
            ended.cancel()

    async def _claim(self) -> None:
        """Claims once, and gives what came to the ways out."""
        room = HELD_MAX - self.held
        if room <= 0:
            await self._reports.wait_some_told()
            return
        messages = await self._engine.claim(min(room, CLAIMED_MAX), WAIT_SECONDS)
        for message in messages:
            self._outlet(message).add(message)
        if not messages:
            await self._forget_idle()

    async def _pause(self, away: int, ended: "asyncio.Future[Literal[True]]") -> None:
        seconds = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(away, BACKOFF_DOUBLINGS_MAX))
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds * self._rng.uniform(0.5, 1.0)))
        await asyncio.wait((sleeping, ended), return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)

    async def _forget_idle(self) -> None:
        """Ways out that nothing was sent by for long are closed."""
        for name, outlet in list(self._outlets.items()):
            if outlet.idle_seconds > IDLE_SECONDS_MAX:
                del self._outlets[name]
                await outlet.finish(0.0)

    async def _finish(self) -> None:
        self._reports.hasten()
        for outlet in self._outlets.values():
            outlet.give_back()
        await asyncio.gather(*(outlet.finish(self._grace_seconds) for outlet in self._outlets.values()))
        told = asyncio.ensure_future(self._reports.wait_all_told())
        waiting = asyncio.ensure_future(self._clock.sleep(AWAY_SECONDS_MAX))
        await asyncio.wait((told, waiting), return_when=asyncio.FIRST_COMPLETED)
        for each in (told, waiting):
            each.cancel()
        await asyncio.gather(told, waiting, return_exceptions=True)

    def _outlet(self, message: notification_pb2.OutgoingMessage) -> Outlet:
        name = message.channel.name
        if name not in self._outlets:
            log.info("channel.opened", channel=last_segment(name))
            self._outlets[name] = Outlet(self._build, self._reports.add, self._clock, self._name, self._clean)
        return self._outlets[name]
