"""How much one principal may ask at once and how often, over gRPC and REST alike: who floods the engine waits, and nobody else does.

Worker hosts and dispatchers are bounded by what they are given, in the calls that are for them alone; whoever has the engine's own token
bounds itself.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from pymigrate.engine.application.access.authorizer import Authorizer, GrantsOf
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import EVERYWHERE, Permission
from pymigrate.engine.domain.errors import CallTookTooLong, TooManyCalls
from pymigrate.engine.domain.token_bucket import TokenBucket
from pymigrate.engine.entrypoints.authorized import Asked
from pymigrate.engine.entrypoints.identity import PRINCIPAL
from pymigrate.engine.ports.clock import Clock

# Longer than the longest call has by itself: a start looks at everything that it is to copy.
CALL_SECONDS_MAX = 360.0
BURST_SECONDS = 2.0
BUSY_RETRY_SECONDS = 1.0
# What is known of principals that have nothing under way is forgotten beyond that, the longest unheard first.
PRINCIPALS_MAX = 10_000
UNLIMITED_SERVICES = frozenset({"WorkerService", "DispatchService"})


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """What each principal may have: calls and streams under way, and calls begun in a second, of which twice as many may come at once."""

    calls_max: int = 100
    streams_max: int = 50
    calls_per_second_max: float = 200.0


@dataclass(slots=True)
class _Use:
    bucket: TokenBucket
    under_way: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})

    @property
    def is_idle(self) -> bool:
        return not any(self.under_way.values())


class CallLimits:
    """What principals have under way. `taken` raises TooManyCalls, with the time after which to try again."""

    def __init__(self, terms: LimitTerms, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    @contextmanager
    def taken(self, principal: str, *, is_stream: bool) -> Iterator[None]:
        """Counts a call from its beginning to its end."""
        if principal == PRINCIPAL:
            yield
            return
        use = self._use(principal)
        most = self._terms.streams_max if is_stream else self._terms.calls_max
        if use.under_way[is_stream] >= most:
            raise TooManyCalls(
                f"{principal} has {most:,} {'streams' if is_stream else 'calls'} under way, and may have no more: end one first",
                retry_after_seconds=BUSY_RETRY_SECONDS,
            )
        if not use.bucket.take(self._clock.monotonic()):
            raise TooManyCalls(
                f"{principal} calls more than {self._terms.calls_per_second_max:g} times a second: wait, and call again",
                retry_after_seconds=use.bucket.seconds_until_next(),
            )
        use.under_way[is_stream] += 1
        try:
            yield
        finally:
            use.under_way[is_stream] -= 1

    def _use(self, principal: str) -> _Use:
        if (known := self._uses.get(principal)) is not None:
            self._uses.move_to_end(principal)
            return known
        if len(self._uses) >= PRINCIPALS_MAX:
            idle = next((name for name, use in self._uses.items() if use.is_idle), None)
            if idle is None:
                text = f"{PRINCIPALS_MAX:,} principals have calls under way, and no more are served: try again later"
                raise TooManyCalls(text, retry_after_seconds=BUSY_RETRY_SECONDS)
            del self._uses[idle]
        rate = self._terms.calls_per_second_max
        self._uses[principal] = fresh = _Use(TokenBucket(max(1.0, rate * BURST_SECONDS), rate))
        return fresh


class Limiting:
    """At the door: each call is counted, and ends after CALL_SECONDS_MAX where it answers once. Who may work is free of both in the calls
    of worker hosts and dispatchers."""

    def __init__(self, limits: CallLimits, grants_of: GrantsOf) -> None:
        self._limits = limits
        self._grants_of = grants_of

    @asynccontextmanager
    async def around(self, asked: Asked) -> AsyncIterator[None]:
        """Raises TooManyCalls, and CallTookTooLong."""
        if asked.method.partition("/")[0] in UNLIMITED_SERVICES and self._may_work(asked.caller):
            yield
            return
        with self._limits.taken(asked.caller.principal, is_stream=asked.is_stream):
            ended = asyncio.timeout(None if asked.is_stream else CALL_SECONDS_MAX)
            try:
                async with ended:
                    yield
            except TimeoutError as error:
                if not ended.expired():
                    raise
                raise CallTookTooLong(f"the call took longer than {CALL_SECONDS_MAX:g} s and was ended") from error

    def _may_work(self, who: Caller) -> bool:
        return Authorizer(who, self._grants_of(who)).may(Permission.WORK, EVERYWHERE)
