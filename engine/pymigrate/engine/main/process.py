"""What each process that may hold secrets does first: it keeps its memory to itself, and knows what nobody is to read."""

from pathlib import Path

from pymigrate.engine.main.logs import configure_logging
from pymigrate.engine.main.privacy import keep_memory_private
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret


def begin(level: str, *keys: Path) -> Redactor:
    """The redactor of the whole process, which every line that it writes goes through. `keys` are files of the engine's own secrets, as far
    as they are there."""
    keep_memory_private()
    redactor = Redactor()
    for path in keys:
        if path.exists():
            redactor.note(Secret(path.read_text().strip()))
    configure_logging(level, redactor)
    return redactor
