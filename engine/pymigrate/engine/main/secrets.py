"""The places where secrets are kept, by the scheme of their references."""

from pymigrate.engine.adapters.clock import ThreadClock
from pymigrate.engine.adapters.secrets.opening import BackendKinds
from pymigrate.engine.adapters.secrets.readers import OWN, SecretReaders
from pymigrate.engine.adapters.secrets.reading import BackendSecrets
from pymigrate.engine.ports.redaction import Redactor


def build_secrets(redactor: Redactor) -> BackendSecrets:
    """Reads this process's own variables and files, each time anew; the redactor is told of every value."""
    return BackendSecrets(OWN, redactor, ThreadClock())


def build_readers(redactor: Redactor) -> SecretReaders:
    """Opens the backends that environments declare; the redactor is told of every value."""
    return SecretReaders(redactor, ThreadClock(), BackendKinds())
