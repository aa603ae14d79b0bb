"""Secrets that the engine makes for itself at its first start and keeps in its home, readable by its owner alone."""

import contextlib
import os
import secrets
from pathlib import Path

from pymigrate.engine.domain.errors import PermanentError

KEY_BYTES = 32


def kept_key(path: Path) -> str:
    """The text in the file; made where there is none yet, whole or not at all. Raises PermanentError for an empty one, which would let
    anybody in."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secrets.token_urlsafe(KEY_BYTES)}\n")
        with contextlib.suppress(FileExistsError):  # another one was quicker
            os.link(fresh, path)
        fresh.unlink()
    path.chmod(0o600)
    key = path.read_text().strip()
    if not key:
        raise PermanentError(f"{path} is empty: remove it, and start the engine again")
    return key
