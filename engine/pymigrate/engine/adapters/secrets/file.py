"""Secrets in files: `file:///path` is the whole file, `file:///path#key` a field of the JSON object that it holds."""

import json
from pathlib import Path
from urllib.parse import unquote

from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.secrets import Secret, SecretRef

BYTES_MAX = 1_000_000


class FileSecrets:
    """Reads files of its own machine, as text in UTF-8 of at most a megabyte."""

    def read(self, ref: SecretRef) -> Secret:
        """The value, without a newline at the file's end. Raises SecretMissing."""
        path = Path(unquote(ref.location))
        if not path.is_absolute():
            raise SecretMissing(f"{ref}: the path must be absolute, with three slashes: file:///path")
        text = _text(ref, path)
        return Secret(_field(ref, text) if ref.key else text.removesuffix("\n").removesuffix("\r"))


def _text(ref: SecretRef, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise SecretMissing(f"{ref}: {error.strerror or type(error).__name__} where it is read") from error
    if len(content) > BYTES_MAX:
        raise SecretMissing(f"{ref}: holds more than {BYTES_MAX:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretMissing(f"{ref}: is not text in UTF-8") from None  # the cause would show the content


def _field(ref: SecretRef, text: str) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise SecretMissing(f"{ref}: the file holds no JSON") from None  # the cause would show the content
    value = document.get(ref.key) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SecretMissing(f"{ref}: the file's JSON object has no text or number under `{ref.key}`")
    return str(value)
