"""Where files lie, and what is known of one: the folder on the worker host, never beyond it.

A name is a path below the root. What begins with a dot is not listed: drafts, and PyMigrate's own folder.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from pymigrate.engine.adapters.connectors.source_values import missing
from pymigrate.engine.adapters.engine_homes import refuse_engine_home
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

    def names(self, under: str = "", needed: Callable[[str], bool] | None = None) -> Sequence[str]:
        """The files below a folder of the root, by name; at most FILES_MAX. For whoever needs all of them, `needed` tells for each folder
        whether it may hold some: where one of those can't be read, or there are more files, SourceMissing is raised."""
        ...

    def find(self, name: str) -> StoredFile:
        """The file of that name. Raises SourceMissing with the nearest name, and InvalidDefinition for a name that leads elsewhere."""
        ...


class LocalFolder:
    """A folder of the worker host."""

    def __init__(self, root: Path, files_max: int = FILES_MAX) -> None:
        if not root.is_dir():
            raise SourceMissing(f"there is no folder {root}", field="source.connection")
        self._root = root
        self._files_max = files_max

    def __str__(self) -> str:
        return str(self._root)

    def names(self, under: str = "", needed: Callable[[str], bool] | None = None) -> Sequence[str]:
        """But for those that a link leads to outside of the root."""

        def refuse(error: OSError) -> None:
            folder = os.path.relpath(error.filename, self._root)
            if isinstance(error, PermissionError) and needed is not None and needed(folder):
                raise unreadable(f"folder {folder}", error)

        root, found = self._root.resolve(), list[str]()
        for folder, folders, files in os.walk(self._root / under, onerror=refuse):
            folders[:] = [name for name in folders if is_listed(name)]
            paths = [Path(folder, name) for name in files if is_listed(name)]
            found += [
                str(path.relative_to(self._root))
                for path in paths
                if path.is_file() and path.resolve().is_relative_to(root)
            ]
            if len(found) > self._files_max:
                if needed is not None:
                    raise too_many(self, self._files_max)
                break
        return sorted(found)[: self._files_max]

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
        refuse_engine_home(path, "source.relation")
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


def too_many(folder: Folder, files_max: int) -> SourceMissing:
    """The error for more files than are looked through."""
    return SourceMissing(
        f"there are more than {files_max:,} files below {folder}, and no more are looked through: begin the name with the folder that "
        "they are in",
        field="source.relation",
    )


def unreadable(name: str, error: OSError) -> SourceMissing:
    """The error for a file that this host may not read."""
    place = f": {error.filename}" if error.filename else ""
    return SourceMissing(
        f"{name} can't be read by the worker host's user (number {os.geteuid()}): {error.strerror}{place}",
        field="source.relation",
    )
