"""How tests read from a Vault, and what an error may say."""

import traceback

import pytest

from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.secrets import SecretRef

PASSWORD = "s3cret-0f-the-vault"
OTHER = "an0ther-0f-the-vault"


def at(path: str, key: str = "password") -> SecretRef:
    return SecretRef("vault", path, key)


def value(backend: VaultBackend, ref: SecretRef, version: str = "") -> str:
    return backend.read(ref, version).values[ref.key].reveal()


def refusal(kind: type[PyMigrateError], backend: VaultBackend, ref: SecretRef, version: str = "") -> str:
    """What the error says, which with all its causes holds no value."""
    with pytest.raises(kind) as failed:
        backend.read(ref, version)
    said = "".join(traceback.format_exception(failed.value))
    assert PASSWORD not in said
    assert OTHER not in said
    assert type(failed.value) is kind
    return str(failed.value)
