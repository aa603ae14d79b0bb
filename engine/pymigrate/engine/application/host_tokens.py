"""Tokens of the processes that the engine starts: a kind, a name and an affinity with an end, under a MAC of a key that is derived from the
engine's token. Nothing of them is kept. They hold for an hour, and each registration and heartbeat brings another.
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import timedelta

from pymigrate.engine.application.access.authorizer import DISPATCHER, WORKER
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.identity import Identity

PREFIX = "pmh_"
KEY_PURPOSE = b"pymigrate host tokens\0"
LIFETIME_SECONDS = 3_600.0
TOKEN_CHARACTERS_MAX = 4_096
MAC_BYTES = 32


class HostTokens:
    """Makes them, and is the way in of whoever shows one."""

    def __init__(self, engine_token: str, clock: Clock) -> None:
        self._key = hmac.new(engine_token.encode(), KEY_PURPOSE, hashlib.sha256).digest()
        self._clock = clock

    def for_host(self, host: str, affinity: str) -> str:
        """For the worker host of that name, and the work of that affinity."""
        return self._make(WORKER, host, affinity)

    def for_dispatcher(self, name: str) -> str:
        """For the dispatcher of that name."""
        return self._make(DISPATCHER, name, "")

    def renewed(self, caller: Caller) -> str:
        """Another one for a process that the engine started; empty for whoever shows something else."""
        kind, _, name = caller.principal.partition("/")
        return self._make(kind, name, caller.affinity) if kind in {WORKER, DISPATCHER} else ""

    async def identify(self, token: str) -> Identity | None:
        """As Authenticator has it."""
        if not token.startswith(PREFIX):
            return None
        kind, name, affinity, end = self._read(token)
        if self._clock.now().timestamp() >= end:
            raise Unauthenticated(
                f"the token of {kind} {name} has ended: the engine gives it another one when it starts it"
            )
        return Identity(f"{kind}/{name}", affinity=affinity)

    def _make(self, kind: str, name: str, affinity: str) -> str:
        end = (self._clock.now() + timedelta(seconds=LIFETIME_SECONDS)).timestamp()
        told = json.dumps([kind, name, affinity, int(end)]).encode()
        return PREFIX + base64.urlsafe_b64encode(self._mac(told) + told).decode().rstrip("=")

    def _read(self, token: str) -> tuple[str, str, str, int]:
        body = token.removeprefix(PREFIX)
        try:
            if len(token) > TOKEN_CHARACTERS_MAX:
                raise ValueError("too long")
            packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise _unknown() from error
        mac, told = packed[:MAC_BYTES], packed[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(told)):
            raise _unknown()
        kind, name, affinity, end = json.loads(told)
        return kind, name, affinity, end

    def _mac(self, told: bytes) -> bytes:
        return hmac.new(self._key, told, hashlib.sha256).digest()


def _unknown() -> Unauthenticated:
    return Unauthenticated("the token is not of a process that this engine started")
