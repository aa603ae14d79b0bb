"""The places where secrets are kept, by the scheme of their references."""

from pymigrate.engine.adapters.clock import ThreadClock
from pymigrate.engine.adapters.secrets.env import EnvBackend
from pymigrate.engine.adapters.secrets.file import FileBackend
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.ports.redaction import Redactor


def build_secrets(redactor: Redactor) -> BackendSecrets:
    """Reads this process's own variables and files, each time anew; the redactor is told of every value."""
    return BackendSecrets({"env": Source(EnvBackend, 0.0), "file": Source(FileBackend, 0.0)}, redactor, ThreadClock())
