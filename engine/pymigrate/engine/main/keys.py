"""Secrets that the engine makes for itself at its first start and keeps in its home, readable by its owner alone."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pymigrate.engine.domain.errors import PermanentError

if TYPE_CHECKING:
    from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey

KEY_BYTES = 32
PEM_BYTES_MAX = 65_536
# As long as sixteen random bytes in hexadecimal digits; what is shorter can be guessed.
GIVEN_CHARACTERS_MIN = 32
GIVEN_CHARACTERS_MAX = 4_096


def given_key(path: Path) -> str:
    """The text of a file that somebody else keeps, such as a mounted Secret. Raises PermanentError for one that can't be read, and for a
    text that can't be sent as a token or is guessed easily."""
    try:
        key = path.read_bytes()[: GIVEN_CHARACTERS_MAX + 1].strip()
    except OSError as error:
        raise PermanentError(f"PYMIGRATE_TOKEN_FILE: can't read {path}: {error.strerror}") from error
    if not GIVEN_CHARACTERS_MIN <= len(key) <= GIVEN_CHARACTERS_MAX or not all(33 <= byte <= 126 for byte in key):
        raise PermanentError(
            f"PYMIGRATE_TOKEN_FILE: {path} must hold {GIVEN_CHARACTERS_MIN} to {GIVEN_CHARACTERS_MAX} printable ASCII characters without "
            "spaces: make a token with `openssl rand -hex 32`"
        )
    return key.decode("ascii")


def sealing_key(path: Path, *, is_given: bool) -> "Ed25519SealingKey":
    """The key that seals of the audit trail are signed with; made where there is none yet and nobody gives one. Raises PermanentError for
    one that can't be read or is no such key."""
    from pymigrate.engine.adapters.sealing_keys import Ed25519SealingKey, fresh_pem

    if not is_given:
        _make(path, fresh_pem)
        path.chmod(0o600)
    try:
        with path.open("rb") as file:
            text = file.read(PEM_BYTES_MAX)
    except OSError as error:
        raise PermanentError(f"PYMIGRATE_AUDIT_KEY_FILE: can't read {path}: {error.strerror}") from error
    return Ed25519SealingKey.from_pem(text, str(path))


def kept_key(path: Path) -> str:
    """The text in the file; made where there is none yet, whole or not at all. Raises PermanentError for an empty one, which would let
    anybody in."""
    _make(path, f"{secrets.token_urlsafe(KEY_BYTES)}\n".encode)
    path.chmod(0o600)
    key = path.read_text().strip()
    if not key:
        raise PermanentError(f"{path} is empty: remove it, and start the engine again")
    return key


def _make(path: Path, content: Callable[[], bytes]) -> None:
    """Makes a file where there is none, whole or not at all."""
    if path.exists():
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content())
    with contextlib.suppress(FileExistsError):  # another one was quicker
        os.link(fresh, path)
    fresh.unlink()
