"""What a host shows with its reports of a task: a MAC over host, task, fence and end, of a key that is derived from the engine's token.

Nothing of it is kept. It is good for that host, that task and that fence alone, for as long as the lease holds; each heartbeat brings a
fresh one.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import UTC, datetime, timedelta

from pymigrate.engine.domain.errors import NotPermitted
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import worker_pb2

KEY_PURPOSE = b"pymigrate lane credentials\0"
END = struct.Struct(">Q")
MAC_BYTES = 32
CREDENTIAL_CHARACTERS_MAX = 100


class LaneCredentials:
    """Makes and checks them, for the engine of one token."""

    def __init__(self, engine_token: str, clock: Clock) -> None:
        self._key = hmac.new(engine_token.encode(), KEY_PURPOSE, hashlib.sha256).digest()
        self._clock = clock

    def make(self, host: str, task_id: str, fence: int, seconds: float) -> str:
        """One that holds for so many seconds."""
        end = END.pack(int((self._clock.now() + timedelta(seconds=seconds)).timestamp() * 1_000))
        return base64.urlsafe_b64encode(end + self._mac(host, task_id, fence, end)).decode()

    def is_good(self, host: str, lease: worker_pb2.TaskLease) -> bool:
        """Whether a host shows what it was given for this task and fence, and that has not ended."""
        try:
            if len(lease.credential) > CREDENTIAL_CHARACTERS_MAX:
                return False
            packed = base64.b64decode(lease.credential, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return False
        end, mac = packed[: END.size], packed[END.size :]
        if len(mac) != MAC_BYTES or not hmac.compare_digest(mac, self._mac(host, lease.task_id, lease.fence, end)):
            return False
        return self._clock.now() < datetime.fromtimestamp(END.unpack(end)[0] / 1_000, UTC)

    def require(self, host: str, lease: worker_pb2.TaskLease) -> None:
        """Raises NotPermitted unless `is_good`."""
        if not self.is_good(host, lease):
            raise NotPermitted(
                f"{host} shows no credential of {lease.task_id} under fence {lease.fence}, or an old one: a heartbeat brings another"
            )

    def _mac(self, host: str, task_id: str, fence: int, end: bytes) -> bytes:
        parts = (host.encode(), task_id.encode(), str(fence).encode(), end)
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, told, hashlib.sha256).digest()
