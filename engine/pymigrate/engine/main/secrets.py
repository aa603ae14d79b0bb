"""The places where secrets are kept, by the scheme of their references."""

from pymigrate.engine.adapters.secrets.env import EnvSecrets
from pymigrate.engine.adapters.secrets.file import FileSecrets
from pymigrate.engine.adapters.secrets.schemes import SecretsByScheme
from pymigrate.engine.ports.redaction import Redactor


def build_secrets(redactor: Redactor) -> SecretsByScheme:
    """Reads from all of them; the redactor is told of every value."""
    return SecretsByScheme({"env": EnvSecrets(), "file": FileSecrets()}, redactor)
