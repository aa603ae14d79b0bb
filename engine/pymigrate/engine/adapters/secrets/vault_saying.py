"""From what a Vault answers to the errors of secrets: with the reference, the status and Vault's own words."""

from pymigrate.engine.adapters.secrets.vault_transport import VaultRefusal
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable

WORDS_MAX = 300
SEALED_SECONDS = 5.0
AWAY_SECONDS = 1.0
BAD_REQUEST = 400
FORBIDDEN = 403
MISSING = frozenset({400, 404, 405})  # a path, a role or a ciphertext that Vault does not have
THROTTLED = 429
UPGRADING = "upgrading"  # an engine of KV that has just been mounted, or is made another version
WAITED_FOR = frozenset({412, THROTTLED, 472, 473})


def error_of(asked: str, refusal: VaultRefusal, advice: str = "") -> PyMigrateError:
    """The error for what was asked, such as a reference."""
    words = " ".join("; ".join(refusal.errors).split())
    found = words if len(words) <= WORDS_MAX else f"{words[:WORDS_MAX]}…"
    said = ": ".join(filter(None, (f"{asked}: Vault answered {refusal.status}", found, advice)))
    status = refusal.status
    if status >= 500 or status in WAITED_FOR or (status == BAD_REQUEST and UPGRADING in found.lower()):
        default = SEALED_SECONDS if "sealed" in found else AWAY_SECONDS
        return SecretsUnavailable(said, retry_after_seconds=refusal.retry_after_seconds or default)
    if status in MISSING:
        return SecretMissing(said)
    if status == FORBIDDEN and not advice:
        said += ": no policy of this login allows it"
    return SecretRefused(said)
