"""The narrow right of a task, or of a message: the secrets that its definitions refer to are read, and no others."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from google.protobuf.message import Message

from pymigrate.engine.application.references import references_in
from pymigrate.engine.domain.errors import SecretRefused
from pymigrate.engine.ports.secrets import DeclaredSecrets, RotatingSecrets, Secret, SecretRef, Secrets
from pymigrate.v1 import secret_backend_pb2

Readers = Callable[[Mapping[str, secret_backend_pb2.SecretBackend]], AbstractContextManager[DeclaredSecrets]]
"""Opens backends by their schemes, as long as somebody uses them."""


def held_secrets(message: Message, secrets: RotatingSecrets, backends: Collection[str]) -> "HeldSecrets":
    """The secrets that a message refers to; `backends` are the schemes of those that it brings along."""
    return HeldSecrets(secrets, frozenset(ref for _, ref, _ in references_in(message, backends)))


@dataclass(frozen=True, slots=True)
class HeldSecrets:
    """Secrets that refuse every reference but those that are held."""

    secrets: RotatingSecrets
    held: frozenset[SecretRef]

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return self.secrets.schemes

    def read(self, ref: SecretRef) -> Secret:
        """The value."""
        return self.secrets.read(self._held(ref))

    def reread(self, ref: SecretRef) -> Secret:
        """The value as its backend has it now."""
        return self.secrets.reread(self._held(ref))

    def previous(self, ref: SecretRef) -> Secret | None:
        """The version before, where there is one."""
        return self.secrets.previous(self._held(ref))

    def at(self, version: str) -> Secrets:
        """Each at a version; empty: this itself."""
        return _HeldAtVersion(self, self.secrets.at(version)) if version else self

    def _held(self, ref: SecretRef) -> SecretRef:
        if ref not in self.held:
            raise SecretRefused(f"{ref}: is no secret that is referred to here")
        return ref


@dataclass(frozen=True, slots=True)
class _HeldAtVersion:
    held: HeldSecrets
    secrets: Secrets

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return self.held.schemes

    def read(self, ref: SecretRef) -> Secret:
        """The value at that version."""
        return self.secrets.read(self.held._held(ref))  # noqa: SLF001 (a part of it)
