"""What files declared when they were last read, so that an unchanged file costs nothing."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.v1.definition_pb2 import DefinitionFile, DefinitionProblem

CACHE_BYTES_MAX = 64 * 1024 * 1024
ENTRY_BYTES = 1_024
"""What an entry costs besides its content, roughly."""


@dataclass(frozen=True, slots=True)
class FileRead:
    """What one file declares, what is wrong with it, and how many of its documents are of other environments."""

    definitions: Sequence[Definition]
    problems: Sequence[DefinitionProblem]
    skipped_count: int

    def at(self, path: str) -> "FileRead":
        """The same at another path."""
        definitions = tuple(replace(each, file=path) for each in self.definitions)
        return FileRead(definitions, tuple(_at(each, path) for each in self.problems), self.skipped_count)


class DefinitionCache:
    """Files read, by the digest of their content and the environment that they were read for; those not used for longest go first."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, bool, str], tuple[str, int, FileRead]] = OrderedDict()

    def held(self, digests: Mapping[str, str], environment: str) -> dict[str, FileRead]:
        """What is known of files by their paths, given their digests: only the others need to be loaded."""
        found = {path: self.get(path, digest, environment) for path, digest in digests.items()}
        return {path: each for path, each in found.items() if each is not None}

    def get(self, path: str, digest: str, environment: str) -> FileRead | None:
        """What was read, None: nothing."""
        key = _key(path, digest, environment)
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            known_path, _, found = self._entries[key]
        return found if known_path == path else found.at(path)

    def put(self, file: DefinitionFile, digest: str, environment: str, found: FileRead) -> None:
        """Keeps what was read."""
        key, size = _key(file.path, digest, environment), len(file.content) + ENTRY_BYTES
        with self._lock:
            if key in self._entries:
                self._bytes -= self._entries.pop(key)[1]
            self._entries[key] = (file.path, size, found)
            self._bytes += size
            while self._bytes > self._bytes_max:
                _, (_, freed, _) = self._entries.popitem(last=False)
                self._bytes -= freed


def _key(path: str, digest: str, environment: str) -> tuple[str, bool, str]:
    return digest, path.lower().endswith(".json"), environment


def digest_of(content: bytes) -> str:
    """The digest of a file for which nobody told one."""
    return hashlib.sha256(content).hexdigest()


def _at(problem: DefinitionProblem, path: str) -> DefinitionProblem:
    moved = DefinitionProblem()
    moved.CopyFrom(problem)
    moved.file = path
    return moved
