"""Secrets in environment variables: `env://NAME`."""

import os
from collections.abc import Mapping

from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.secrets import Secret, SecretRef


class EnvSecrets:
    """Reads the variables of a mapping, the process's own by default."""

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables

    def read(self, ref: SecretRef) -> Secret:
        """The variable's value, without a newline at its end. Raises SecretMissing."""
        value = self._variables.get(ref.location)
        if value is None:
            said = f"there is no variable {ref.location}: set it where worker hosts and dispatchers run"
            raise SecretMissing(f"{ref}: {said}")
        return Secret(value.removesuffix("\n").removesuffix("\r"))
