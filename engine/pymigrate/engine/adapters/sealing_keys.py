"""Ed25519 keys of the audit trail's seals, from PEM: a private key to sign with, and public ones of before whose seals still hold."""

import hashlib
import re
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pymigrate.engine.domain.errors import PermanentError

KEYS_MAX = 100
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
_PUBLIC = b"PUBLIC KEY"


class PublicKeys:
    """Keys that seals are checked with."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {_id_of(key): key for key in keys}

    @classmethod
    def read(cls, text: bytes, where: str) -> "PublicKeys":
        """From the blocks of a PEM file. Raises PermanentError for a text that has none, or another kind of key."""
        keys = _public_keys(text, where)
        if not keys:
            raise PermanentError(f"{where} holds no public key: give the PEM that the trail was exported with")
        return cls(keys)

    def is_signed(self, key_id: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the key of that id signed the message."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Ed25519SealingKey(PublicKeys):
    """The SealingKey port."""

    def __init__(self, key: Ed25519PrivateKey, earlier: Iterable[Ed25519PublicKey] = ()) -> None:
        known = [key.public_key(), *earlier]
        super().__init__(known)
        self._key = key
        self.key_id = _id_of(key.public_key())
        form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        self.public_key = key.public_key().public_bytes(*form).decode("ascii")
        self.public_keys = "".join(each.public_bytes(*form).decode("ascii") for each in known)

    @classmethod
    def from_pem(cls, text: bytes, where: str) -> "Ed25519SealingKey":
        """From a private key and the public ones of before behind it. Raises PermanentError, which shows nothing of the text."""
        private = [block.group(0) for block in _BLOCK.finditer(text) if block.group(1) != _PUBLIC]
        if len(private) != 1:
            raise PermanentError(
                f"{where} must hold one private key as PEM: make one with `openssl genpkey -algorithm ed25519`"
            )
        try:
            key = load_pem_private_key(private[0], None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise PermanentError(
                f"{where} holds no private key that can be read: it must be PEM without a password"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise PermanentError(
                f"{where} holds another kind of key: make one with `openssl genpkey -algorithm ed25519`"
            )
        return cls(key, _public_keys(text, where))

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def fresh_pem() -> bytes:
    """A new private key, as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_keys(text: bytes, where: str) -> list[Ed25519PublicKey]:
    found = []
    for block in [each.group(0) for each in _BLOCK.finditer(text) if each.group(1) == _PUBLIC][:KEYS_MAX]:
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            raise PermanentError(f"{where} holds a public key that can't be read: it must be PEM") from None
        if not isinstance(key, Ed25519PublicKey):
            raise PermanentError(f"{where} holds another kind of public key than Ed25519")
        found.append(key)
    return found


def _id_of(key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
