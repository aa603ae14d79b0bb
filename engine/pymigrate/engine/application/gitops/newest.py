"""What is told outside in the background: of everything that is told of the same thing only the newest, tried again as long as there is
hope, and never waited for."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.errors import PyMigrateError, TemporaryError
from pymigrate.engine.ports.clock import Clock

log = structlog.get_logger(__name__)
AT_ONCE_MAX = 4
WAITING_MAX = 2_000
TRIES_MAX = 12
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 5.0, 600.0
# A person may mend what is refused, such as a token; it is not tried as often.
REFUSED_SECONDS = 60.0
REFUSED_TRIES_MAX = 6
REST_SECONDS_MAX = 60.0
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Waiting(Generic[Value]):
    value: Value
    due: float
    tries: int = 0


class Newest(Generic[Key, Value]):
    """Does `work` for each key with the newest value that was put. `settle_seconds`: so long a value waits for a newer one. `clean` takes
    secrets out of what is logged."""

    def __init__(
        self,
        what: str,
        work: Callable[[Key, Value], Awaitable[None]],
        clock: Clock,
        rng: random.Random,
        settle_seconds: float = 0.0,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._what = what
        self._work = work
        self._clock = clock
        self._rng = rng
        self._settle_seconds = settle_seconds
        self._clean = clean
        self._waiting: dict[Key, _Waiting[Value]] = {}
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._bell = WorkBell()

    def __len__(self) -> int:
        """How many wait or are under way."""
        return len(self._waiting.keys() | self._under_way.keys())

    def put(self, key: Key, value: Value) -> None:
        """From now on this is what is told. Returns at once. Of too many that wait the oldest is dropped."""
        self._waiting.pop(key, None)
        self._waiting[key] = _Waiting(value, self._clock.monotonic() + self._settle_seconds)
        while len(self._waiting) > WAITING_MAX:
            dropped = next(iter(self._waiting))
            del self._waiting[dropped]
            log.warning("git_host.dropped", what=self._what, key=str(dropped))
        self._bell.ring()

    def drop(self, key: Key) -> None:
        """Nothing is to be told any more."""
        self._waiting.pop(key, None)

    async def run_loop(self) -> None:
        """Until it is cancelled; what is under way ends with it."""
        try:
            while True:
                seen = self._bell.rung
                self._begin()
                await self._bell.rest(seen, self._clock, self._rest_seconds())
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _begin(self) -> None:
        now = self._clock.monotonic()
        for key, waiting in list(self._waiting.items()):
            if len(self._under_way) >= AT_ONCE_MAX:
                return
            if waiting.due <= now and key not in self._under_way:
                del self._waiting[key]
                self._under_way[key] = asyncio.create_task(self._do(key, waiting), name=f"{self._what} {key}")

    def _rest_seconds(self) -> float:
        dues = [waiting.due for key, waiting in self._waiting.items() if key not in self._under_way]
        if not dues or len(self._under_way) >= AT_ONCE_MAX:
            return REST_SECONDS_MAX
        return min(max(min(dues) - self._clock.monotonic(), 0.0), REST_SECONDS_MAX)

    async def _do(self, key: Key, waiting: _Waiting[Value]) -> None:
        try:
            await self._work(key, waiting.value)
        except PyMigrateError as error:
            self._again(key, waiting, error)
        except Exception as error:
            log.exception("git_host.failed", what=self._what, key=str(key), error=type(error).__name__)
        finally:
            del self._under_way[key]
            self._bell.ring()

    def _again(self, key: Key, waiting: _Waiting[Value], error: PyMigrateError) -> None:
        is_temporary = isinstance(error, TemporaryError)
        tries = waiting.tries + 1
        is_last = tries >= (TRIES_MAX if is_temporary else REFUSED_TRIES_MAX)
        said = self._clean(error.message)
        log.warning("git_host.untold", what=self._what, key=str(key), reason=error.reason, error=said, is_last=is_last)
        if is_last or key in self._waiting:  # something newer is to be told
            return
        first = AGAIN_SECONDS if is_temporary else REFUSED_SECONDS
        asked = error.retry_after_seconds if isinstance(error, TemporaryError) else 0.0
        pause = max(asked, min(first * 2.0 ** (tries - 1), AGAIN_SECONDS_MAX)) * self._rng.uniform(1.0, 1.25)
        self._waiting[key] = _Waiting(waiting.value, self._clock.monotonic() + pause, tries)
