"""Who calls REST in a process of its own: the engine is asked, with the caller's credential. So this process holds none, checks none, and
reads no body of anybody whom the engine does not know."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import grpc

from pymigrate.engine.application.caller import MANAGED_BY_DEFAULT, Caller
from pymigrate.engine.entrypoints.grpc.channel import EngineChannel
from pymigrate.engine.entrypoints.grpc.replies import error_of
from pymigrate.engine.entrypoints.identity import (
    AUTHORIZATION,
    BEARER,
    LINK_PRINCIPAL,
    bearer_token,
    check_side,
)
from pymigrate.engine.entrypoints.origins import FORWARDED_FOR, NOWHERE, Origins, Peer
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import access_pb2, access_pb2_grpc

ASKED_SECONDS_MAX = 30.0
# The engine looks at the credential of each call that it is sent: this only says whose bodies are worth reading.
KNOWN_SECONDS_MAX = 5.0
KNOWN_MAX = 10_000


class _Known(NamedTuple):
    caller: Caller
    until: float


class RemoteBearers:
    """Whoever the engine behind a channel knows."""

    def __init__(self, channel: EngineChannel, clock: Clock, origins: Origins | None = None) -> None:
        self._channel = channel
        self._clock = clock
        self._origins = origins or Origins()
        self._known: dict[bytes, _Known] = {}

    async def identify(
        self, authorizations: Sequence[str], side: str = MANAGED_BY_DEFAULT, peer: Peer = NOWHERE
    ) -> Caller:
        """As Identifies has it; also raises EngineUnavailable."""
        token, origin = bearer_token(authorizations), self._origins.of(peer)
        digest = hashlib.sha256(token.encode()).digest()
        known, now = self._known.get(digest), self._clock.monotonic()
        if known is None or now >= known.until:
            known = _Known(await self._ask(token, origin), now + KNOWN_SECONDS_MAX)
            self._keep(digest, known)
        check_side(side)
        return replace(known.caller, managed_by=side, origin=origin)

    def from_link(self, peer: Peer) -> Caller:
        """As Identifies has it."""
        return Caller(LINK_PRINCIPAL, origin=self._origins.of(peer))

    async def _ask(self, token: str, origin: str) -> Caller:
        metadata = ((AUTHORIZATION, f"{BEARER}{token}"), (FORWARDED_FOR, origin))
        stub = access_pb2_grpc.AccessServiceStub(self._channel.get())
        try:
            found = await stub.GetCaller(access_pb2.GetCallerRequest(), metadata=metadata, timeout=ASKED_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return Caller(found.principal, groups=frozenset(found.groups))

    def _keep(self, digest: bytes, known: _Known) -> None:
        self._known.pop(digest, None)
        self._known[digest] = known
        while len(self._known) > KNOWN_MAX:  # the longest known first
            del self._known[next(iter(self._known))]
