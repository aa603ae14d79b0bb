"""Secrets in files of this machine, as Kubernetes and Docker mount them.

`file:///path` is a whole file, `file:///path#key` a field of the JSON object in it, or the file of that name where the path is a folder.
Kubernetes changes a mounted Secret by switching the link `..data` to another folder: all of its keys are read out of one such folder.
Below a root, what links or `..` lead out of it is refused; each part of the path that was checked is opened without following links.
"""

import errno
import os
import stat
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from pymigrate.engine.adapters.secrets.json_values import values_of
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef

BYTES_MAX = 1_000_000
KEYS_MAX = 1_000  # of a Secret that Kubernetes mounts
SWITCHES_MAX = 5  # that may come between while a secret is read
KUBERNETES_LINK = "..data"
# Whoever may declare a connection chooses to whom its password is sent. What an engine's home, or the Secret that stands for it, holds
# beside its endpoint is nobody's password, nor is what a process was started with.
ENGINE_MARK = "endpoint"
ENGINE_KEYS = frozenset({"token", "acknowledge-key", "audit.key", "client.key"})
PROCESSES = Path("/proc")
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL})
REFUSED = frozenset({errno.EACCES, errno.EPERM})
SWITCHED = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR})


class FileBackend:
    """Reads files below `root`, or any where it is empty, as text in UTF-8 of at most a megabyte each."""

    def __init__(self, root: str = "") -> None:
        self._root = root

    def login(self) -> str:
        """There is none, but the root must be there."""
        if self._root and not Path(self._root).is_dir():
            raise SecretMissing(f"{self._root} is no folder on this machine")
        return "files"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """The file's values. Its version is when it was last changed, or what Kubernetes calls it."""
        if version:
            raise SecretMissing(f"{ref}: a file has no versions")
        path = Path(unquote(ref.location))
        if not path.is_absolute() or "\0" in str(path):
            raise SecretMissing(f"{ref}: the path must be absolute, with three slashes: file:///path")
        for switches in range(SWITCHES_MAX + 1):
            try:
                return self._read(ref, path)
            except OSError as error:
                if error.errno not in SWITCHED or switches == SWITCHES_MAX or not _may_switch(path):
                    raise _translated(ref, error) from error
        raise AssertionError("the last try returns or raises")

    def renew(self, lease: Lease) -> Lease:
        """Nothing is leased."""
        raise SecretMissing("files are not leased")

    def revoke(self, lease: Lease) -> None:
        """Nothing is leased."""

    def close(self) -> None:
        """Nothing is open."""

    def _read(self, ref: SecretRef, path: Path) -> SecretDocument:
        real = self._real(ref, path)
        if not (ref.key and real.is_dir()):
            text, version = _text(ref, real)
            return SecretDocument(values_of(text, version), version)
        if (link := real / KUBERNETES_LINK).is_symlink():
            return self._mounted(ref, self._real(ref, link))
        if "/" in ref.key or ref.key in (".", ".."):
            raise SecretMissing(f"{ref}: names no file of the folder")
        text, version = _text(ref, self._real(ref, real / ref.key))
        return SecretDocument({ref.key: values_of(text, version)[""]}, version, is_whole=False)

    def _mounted(self, ref: SecretRef, folder: Path) -> SecretDocument:
        """All keys of a Secret that Kubernetes mounts, of one version."""
        if ref.key in ENGINE_KEYS and (folder / ENGINE_MARK).exists():
            raise _engines(ref)
        version, values = folder.name.lstrip("."), dict[str, Secret]()
        files = sorted(folder.iterdir())
        if len(files) > KEYS_MAX:
            raise SecretMissing(f"{ref}: the folder holds more than {KEYS_MAX:,} files")
        for file in files:
            try:
                text, _ = _text(ref, file)
            except SecretMissing:
                if file.name == ref.key:
                    raise
                continue  # no text, which somebody else may need
            values[file.name] = values_of(text, version)[""]
        return SecretDocument(values, version)

    def _real(self, ref: SecretRef, path: Path) -> Path:
        """The path without links. Raises SecretRefused where it leads out of the root."""
        real = path.resolve(strict=True)
        if self._root and not real.is_relative_to(Path(self._root).resolve()):
            raise SecretRefused(f"{ref}: leads out of {self._root}, and only files below it may be read here")
        if real.is_relative_to(PROCESSES) or (real.name in ENGINE_KEYS and (real.parent / ENGINE_MARK).exists()):
            raise _engines(ref)
        return real


def _engines(ref: SecretRef) -> SecretRefused:
    return SecretRefused(f"{ref}: is what lets in at the engine itself, and no reference leads there")


class FileKind:
    """Opens files. Option `root`."""

    kind = "file"

    def open(self, options: BackendOptions) -> FileBackend:
        """Nothing is looked at yet."""
        return FileBackend(options.options.get("root", ""))


def _text(ref: SecretRef, real: Path) -> tuple[str, str]:
    """A file's text and version, opened part by part, so that no link that was put there since is followed."""
    with ExitStack() as opened:
        folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, folder)
        *folders, name = real.parts[1:] or (".",)
        for part in folders:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            opened.callback(os.close, folder)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        opened.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SecretMissing(
                f"{ref}: is no file" + (": name a file of the folder" if stat.S_ISDIR(found.st_mode) else "")
            )
        content = bytearray()
        while part_read := os.read(descriptor, BYTES_MAX + 1 - len(content)):
            content += part_read
    if len(content) > BYTES_MAX:
        raise SecretMissing(f"{ref}: holds more than {BYTES_MAX:,} bytes")
    try:
        return content.decode(), datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC).isoformat()
    except UnicodeDecodeError:
        raise SecretMissing(f"{ref}: is not text in UTF-8") from None  # the cause would show the content


def _may_switch(path: Path) -> bool:
    """Whether a folder on the way is one that Kubernetes mounts."""
    return any((folder / KUBERNETES_LINK).is_symlink() for folder in (path, *path.parents))


def _translated(ref: SecretRef, error: OSError) -> PyMigrateError:
    said = f"{ref}: {error.strerror or type(error).__name__} where it is read"
    if error.errno in REFUSED:
        return SecretRefused(said)
    return SecretMissing(said) if error.errno in MISSING | SWITCHED else SecretsUnavailable(said)
