"""The keys of one issuer as they are now: fetched where it publishes them, again from time to time and when a token names one that is not
known, and kept for a while when the issuer is away."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import jwt
import structlog

from pymigrate.engine.adapters.identity.key_sets import KeySet
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.identity import IdentityUnavailable

log = structlog.get_logger(__name__)
REFRESH_SECONDS = 300.0
# Nobody makes an issuer be asked more often by showing tokens that name keys which there are not.
UNKNOWN_SECONDS = 10.0
KEPT_SECONDS = 3_600.0


class FetchesKeys(Protocol):
    """Whoever reads what an issuer publishes."""

    async def fetch(self) -> KeySet:
        """The keys. Raises IdentityUnavailable."""
        ...


class PublishedKeys:
    """Keys to check tokens with. A key that is not published any more is not known any more from the next look on."""

    def __init__(self, source: FetchesKeys, issuer: str, clock: Clock) -> None:
        self._source = source
        self._issuer = issuer
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._is_away = False

    async def find(self, key_id: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Those that a token may be signed by. Raises IdentityUnavailable where no keys are known, or only such that may have been given up
        since."""
        found = self._known().find(key_id, algorithm) if self._is_fresh else ()
        if not found and self._clock.monotonic() - self._tried_at >= UNKNOWN_SECONDS:
            # A caller that goes away does not end it: others wait for the same.
            await asyncio.shield(self._look())
        elif not found and self._looking is not None:
            await asyncio.shield(self._looking)
        if not self._is_fresh:
            raise IdentityUnavailable(
                f"the keys of {self._issuer} can't be read, and nobody who shows its tokens is let in meanwhile: see whether it answers",
                retry_after_seconds=UNKNOWN_SECONDS,
            )
        return self._known().find(key_id, algorithm)

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            await self._look()
            await self._clock.sleep(REFRESH_SECONDS if self._is_fresh else UNKNOWN_SECONDS)

    @property
    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._fetched_at < KEPT_SECONDS

    def _known(self) -> KeySet:
        return self._keys or KeySet({})

    def _look(self) -> "asyncio.Task[None]":
        if self._looking is None:
            self._tried_at = self._clock.monotonic()
            self._looking = asyncio.create_task(self._fetch())
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, _: "asyncio.Task[None]") -> None:
        self._looking = None

    async def _fetch(self) -> None:
        try:
            self._keys = await self._source.fetch()
        except IdentityUnavailable as error:
            if not self._is_away:
                log.warning("issuer.away", issuer=self._issuer, error=error.message)
            self._is_away = True
            return
        self._fetched_at = self._clock.monotonic()
        if self._is_away:
            log.info("issuer.back", issuer=self._issuer)
        self._is_away = False
