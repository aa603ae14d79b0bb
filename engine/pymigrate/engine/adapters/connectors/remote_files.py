"""Files behind a URL, in any filesystem of fsspec: `s3://bucket/prefix`, `zip://::file:///exports.zip`.

Each filesystem's library raises errors of its own; none of them leaves this module.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

import fsspec
from fsspec.registry import known_implementations

from pymigrate.engine.adapters.connectors.refused_logins import refused_login, without_secrets
from pymigrate.engine.adapters.connectors.source_values import missing
from pymigrate.engine.adapters.connectors.stored_files import FILES_MAX, StoredFile, is_listed, too_many
from pymigrate.engine.domain.errors import (
    FailedPrecondition,
    InvalidDefinition,
    Problem,
    PyMigrateError,
    SourceMissing,
    SystemUnavailable,
)
from pymigrate.engine.ports.connector import SystemSpec

FIELD = "source.connection"
CAUSES_MAX = 10
REFUSING_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)
# What s3fs makes of them has no code any more.
REFUSING_TEXTS = (
    "Access Key Id you provided does not exist",
    "request signature we calculated does not match",
    "token has expired",
)
REFUSING_ERRORS = frozenset(
    {
        "AuthenticationException",
        "BadAuthenticationType",
        "ClientAuthenticationError",
        "NoCredentialsError",
        "RefreshError",
    }
)
BUFFER_BYTES = 4 * 1024 * 1024
OPTION = "option."
# What filesystems call that which changes with a file's content. A size alone does not tell.
_MARKS = (
    *("ETag", "etag", "md5", "md5Hash", "contentMd5", "content_md5", "checksum", "sha256", "crc32c", "CRC", "generation"),
    *("mtime", "modify", "modified", "modificationTime", "LastModified", "last_modified", "updated", "created", "date_time"),
)  # fmt: skip


class RemoteFolder:
    """A prefix in a filesystem."""

    def __init__(self, system: SystemSpec) -> None:
        self._url = system.options["root"]
        self._system = system
        with self._reached():
            self._files, root = _opened(self._url, _options(system))
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def names(self, under: str = "", needed: Callable[[str], bool] | None = None) -> Sequence[str]:
        """As the filesystem lists them."""
        with self._reached():
            self._files.invalidate_cache()
            found = self._files.find(self._path(under)) if under or self._root else self._files.find("")
        prefix = f"{self._root}/" if self._root else ""
        if len(found) > FILES_MAX and needed is not None:
            raise too_many(self, FILES_MAX)
        names = [path.removeprefix(prefix).lstrip("/") for path in found[:FILES_MAX]]
        return sorted(name for name in names if is_listed(name))

    def find(self, name: str) -> StoredFile:
        """As it is now."""
        if not name or ".." in name.split("/") or "\0" in name or name.startswith("/"):
            raise InvalidDefinition((Problem("source.relation", f"`{name}` leads out of the connection's root"),))
        path = self._path(name)
        try:
            with self._reached():
                self._files.invalidate_cache()
                info = self._files.info(path)
        except FileNotFoundError as error:
            raise missing(name, self.names()) from error
        if info["type"] != "file":
            raise SourceMissing(
                f"`{name}` is a folder, not a file: name `{name}/*` for all files in it", field="source.relation"
            )
        if info.get("size") is None:
            raise SourceMissing(f"{self._url} does not tell how large `{name}` is", field="source.relation")
        marks = [f"{mark}={info[mark]}" for mark in _MARKS if info.get(mark)]
        state = "-".join([str(info["size"]), *marks]) if marks else ""
        return StoredFile(name, int(info["size"]), state, lambda: self._open(path))

    def _open(self, path: str) -> BinaryIO:
        with self._reached():
            raw = self._files.open(path, "rb")
        return io.BufferedReader(_Remote(raw, self._reached), BUFFER_BYTES)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """A filesystem's errors as PyMigrate's, but for a file that is not there."""
        try:
            yield
        except (PyMigrateError, FileNotFoundError):
            raise
        except Exception as error:
            if is_refused_login(error):
                refusal = refused_login(self._system, self._url, f"{type(error).__name__}: {error}")
                refusal.field = FIELD
                raise refusal from error
            said = without_secrets(self._system, f"{type(error).__name__}: {error}")
            raise SystemUnavailable(f"{self._url}: {said}", field=FIELD) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name


class _Remote(io.RawIOBase):
    """A file of a filesystem, whose errors are translated."""

    def __init__(self, file: Any, reached: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._reached = reached

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._reached():
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._reached():
            self._file.seek(offset, whence)
            return int(self._file.tell())

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def is_refused_login(error: BaseException) -> bool:
    """Whether a filesystem's library says that it was the login, by the codes of S3 and its like, by an HTTP status, or by the name that
    the error has in each library. That somebody who is known may not is no such thing."""
    found: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if found is None:
            return False
        answer = getattr(found, "response", None)
        code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
        status = getattr(found, "status", getattr(found, "code", 0))
        if code in REFUSING_CODES or status in {401, "401"} or type(found).__name__ in REFUSING_ERRORS:
            return True
        if isinstance(found, PermissionError) and any(text in str(found) for text in REFUSING_TEXTS):
            return True
        found = found.__cause__ or found.__context__
    return False


def _opened(url: str, options: Mapping[str, object]) -> tuple[Any, str]:
    """The filesystem and the path in it. Raises FailedPrecondition where a package is missing, and says which."""
    protocol = url.partition("::")[0].partition("://")[0]
    try:
        files, root = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    except ImportError as error:
        known = known_implementations.get(protocol, {}).get("err", str(error))
        raise FailedPrecondition(
            f"{url}: this worker host lacks what reads {protocol}:// ({known}): install it beside PyMigrate, and start the engine again",
            field="source.connection",
        ) from error
    except (ValueError, TypeError) as error:
        raise FailedPrecondition(f"{url} can't be opened: {error}", field="source.connection") from error
    return files, str(root)


def _options(system: SystemSpec) -> dict[str, object]:
    """What the filesystem is made with. A secret is text; another value is what it is as JSON, and text where it is none."""
    found: dict[str, object] = {
        name.removeprefix(OPTION): _value(value) for name, value in system.options.items() if name.startswith(OPTION)
    }
    return {**found, **{name.removeprefix(OPTION): secret.reveal() for name, secret in system.secrets.items()}}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
