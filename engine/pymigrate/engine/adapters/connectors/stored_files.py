"""Where files lie, and what is known of one: the folder on the worker host, never beyond it.

A name is a path below the root. What begins with a dot is not listed: drafts, and PyMigrate's own folder.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from pymigrate.engine.adapters.connectors.source_values import missing
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceMissing

FILES_MAX = 100_000
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was found. `open` gives its bytes as they are stored, from the start and seekable; `state` changes with its content,
    and is empty where nothing tells; `path` is where it lies on the worker host."""

    name: str
    size: int
    state: str
    open: Callable[[], BinaryIO]
    path: Path | None = None


class Folder(Protocol):
    """A root with files below it."""

    def names(self, under: str = "") -> Sequence[str]:
        """The files below a folder of the root, by name; at most FILES_MAX."""
        ...

    def find(self, name: str) -> StoredFile:
        """The file of that name. Raises SourceMissing with the nearest name, and InvalidDefinition for a name that leads elsewhere."""
        ...


class LocalFolder:
    """A folder of the worker host."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceMissing(f"there is no folder {root}", field="source.connection")
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def names(self, under: str = "") -> Sequence[str]:
        """But for those that a link leads to outside of the root."""
        root = self._root.resolve()
        found = [path for path in islice((self._root / under).rglob("*"), FILES_MAX) if path.is_file()]
        names = [str(path.relative_to(self._root)) for path in found if path.resolve().is_relative_to(root)]
        return sorted(name for name in names if is_listed(name))

    def find(self, name: str) -> StoredFile:
        """As it is now."""
        if "\0" in name:
            raise missing(name, self.names())
        try:
            path = (self._root / name).resolve()
            is_there, is_file = path.exists(), path.is_file()
        except PermissionError as error:
            raise unreadable(name, error) from error
        except (OSError, RuntimeError) as error:  # a name that is too long, or links that go round
            raise missing(name, self.names()) from error
        if not path.is_relative_to(self._root.resolve()):
            raise InvalidDefinition((Problem("source.relation", f"`{name}` leads out of the connection's folder"),))
        if not is_there and (self._root / name).is_symlink():
            raise SourceMissing(
                f"there is no `{name}`: it is a link to {path}, which is not there", field="source.relation"
            )
        is_root = path == self._root.resolve()
        if is_there and not is_file and not is_root:
            raise SourceMissing(
                f"`{name}` is a folder, not a file: name `{name}/*` for all files in it", field="source.relation"
            )
        if not is_there or is_root:
            raise missing(name, self.names())
        status = path.stat()
        state = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
        return StoredFile(name, status.st_size, state, lambda: path.open("rb"), path)


def local_root(root: str) -> Path | None:
    """The path of a root on the worker host, which may be written as a URL; None for a URL that leads elsewhere."""
    for scheme in ("file://", "local://"):
        if root.startswith(scheme):
            return Path(root.removeprefix(scheme))
    return None if _URL.match(root) else Path(root)


def is_listed(name: str) -> bool:
    """Whether a name is shown: no part of it begins with a dot."""
    return not any(part.startswith(".") for part in name.split("/"))


def unreadable(name: str, error: OSError) -> SourceMissing:
    """The error for a file that this host may not read."""
    return SourceMissing(
        f"{name} can't be read by the worker host's user (number {os.geteuid()}): {error.strerror}",
        field="source.relation",
    )
