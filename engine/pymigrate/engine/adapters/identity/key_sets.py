"""The keys that an issuer publishes (RFC 7517), as far as tokens may be signed by them: each for the algorithms of its own type alone, so
that no token says what its key is taken for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

from pymigrate.engine.domain.errors import Unauthenticated

log = structlog.get_logger(__name__)
KEYS_MAX = 100
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 8_192


@dataclass(frozen=True, slots=True)
class KeyType:
    """What a key must be for an algorithm, and the members of it that are public."""

    kty: str
    members: tuple[str, ...]
    crv: str = ""


_RSA = KeyType("RSA", ("n", "e"))
# Nothing that is symmetric: whoever could check such a token could make it.
ALGORITHMS: Mapping[str, KeyType] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), _RSA),
    "ES256": KeyType("EC", ("crv", "x", "y"), "P-256"),
    "ES384": KeyType("EC", ("crv", "x", "y"), "P-384"),
    "ES512": KeyType("EC", ("crv", "x", "y"), "P-521"),
    "EdDSA": KeyType("OKP", ("crv", "x"), "Ed25519"),
}


class KeySet:
    """Keys by id and algorithm."""

    def __init__(self, keys: Mapping[tuple[str | None, str], Sequence[jwt.PyJWK]]) -> None:
        self._keys = keys

    def find(self, key_id: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """Those that a token may be signed by that names this id; one without an id, only where a single key is in question."""
        if key_id is not None:
            return self._keys.get((key_id, algorithm), ())
        fitting = [key for (_, known), keys in self._keys.items() if known == algorithm for key in keys]
        return fitting if len(fitting) == 1 else ()


def read_key_set(document: object, algorithms: Iterable[str]) -> KeySet:
    """The keys of a document. Raises ValueError where it is none, or has too many; keys of other uses and types are left out."""
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise ValueError("it is no set of keys")
    if len(published) > KEYS_MAX:
        raise ValueError(f"it has more than {KEYS_MAX} keys")
    found: dict[tuple[str | None, str], list[jwt.PyJWK]] = defaultdict(list)
    for each in filter(_is_for_signatures, published):
        for algorithm in algorithms:
            if (key := _key(each, algorithm)) is not None:
                found[each.get("kid"), algorithm].append(key)
    if not found:
        raise ValueError("it has no key of the algorithms that PYMIGRATE_OIDC_ALGORITHMS allows")
    return KeySet(found)


def signed_content(text: str, keys: Sequence[jwt.PyJWK], algorithm: str) -> bytes:
    """What a token says, if one of the keys has signed it. Raises Unauthenticated where none has."""
    for key in keys:
        try:
            content: bytes = jwt.PyJWS(algorithms=[algorithm]).decode(text, key, [algorithm])
        except jwt.PyJWTError:
            continue
        return content
    raise Unauthenticated(
        "the token is signed by no key that its issuer publishes, or was changed: ask for another one"
    )


def _is_for_signatures(published: object) -> bool:
    if not isinstance(published, dict):
        return False
    uses, operations = published.get("use", "sig"), published.get("key_ops", ["verify"])
    key_id = published.get("kid")
    is_named = key_id is None or isinstance(key_id, str)
    return is_named and uses == "sig" and isinstance(operations, list) and "verify" in operations


def _key(published: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """The key for one algorithm; None where it is not for that one."""
    fitting = ALGORITHMS[algorithm]
    if published.get("alg", algorithm) != algorithm or published.get("kty") != fitting.kty:
        return None
    if fitting.crv and published.get("crv") != fitting.crv:
        return None
    public = {member: published.get(member) for member in fitting.members} | {"kty": fitting.kty}
    try:
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        log.warning("issuer.key_unreadable", kid=str(published.get("kid"))[:100], algorithm=algorithm)
        return None
    if fitting is _RSA and not RSA_BITS_MIN <= key.key.key_size <= RSA_BITS_MAX:
        log.warning("issuer.key_refused", kid=str(published.get("kid"))[:100], bits=key.key.key_size)
        return None
    return key
