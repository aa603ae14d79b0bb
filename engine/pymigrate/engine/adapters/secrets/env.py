"""Secrets in variables of this process's environment: `env://NAME`, with `#key` for a field of the JSON object that one holds."""

import os
from collections.abc import Mapping

from pymigrate.engine.adapters.secrets.json_values import values_of
from pymigrate.engine.domain.errors import SecretMissing, SecretRefused
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease, SecretDocument
from pymigrate.engine.ports.secrets import SecretRef


class EnvBackend:
    """Reads the variables of a mapping, the process's own by default, whose names begin with `prefix`."""

    def __init__(self, prefix: str = "", variables: Mapping[str, str] = os.environ) -> None:
        self._prefix = prefix
        self._variables = variables

    def login(self) -> str:
        """There is none."""
        return "environment variables"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """The variable's value, without a newline at its end. A process's variables don't change: there is one version."""
        if not ref.location.startswith(self._prefix):
            raise SecretRefused(f"{ref}: only variables that begin with {self._prefix} may be read here")
        if version:
            raise SecretMissing(f"{ref}: a variable has no versions")
        value = self._variables.get(ref.location)
        if value is None:
            said = f"there is no variable {ref.location}: set it where worker hosts and dispatchers run"
            raise SecretMissing(f"{ref}: {said}")
        return SecretDocument(values_of(value))

    def renew(self, lease: Lease) -> Lease:
        """Nothing is leased."""
        raise SecretMissing("variables are not leased")

    def revoke(self, lease: Lease) -> None:
        """Nothing is leased."""

    def close(self) -> None:
        """Nothing is open."""


class EnvKind:
    """Opens variables. Option `prefix`."""

    kind = "env"

    def open(self, options: BackendOptions) -> EnvBackend:
        """Nothing is looked at yet."""
        return EnvBackend(options.options.get("prefix", ""))
