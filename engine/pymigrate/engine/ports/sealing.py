"""The key that seals of the audit trail are signed with."""

from typing import Protocol


class SealingKey(Protocol):
    """The engine's key, and those that it had before, whose seals still hold."""

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the public key, in the form that `public_key` has within its lines."""
        ...

    @property
    def public_key(self) -> str:
        """The public key, as PEM."""
        ...

    @property
    def public_keys(self) -> str:
        """The public key and those of before, one behind the other, as PEM: what all seals are verified with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Signs with the present key."""
        ...

    def is_signed(self, key_id: bytes, message: bytes, signature: bytes) -> bool:
        """Whether one of the keys, the one of that id, signed the message."""
        ...
