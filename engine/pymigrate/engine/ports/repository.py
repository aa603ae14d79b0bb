"""Repositories of definitions: what is fetched, read by commit, checked and pushed. Nothing is checked out, and nothing of what a
repository holds is ever executed."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pymigrate.engine.ports.secrets import Secret


@dataclass(frozen=True, slots=True)
class HttpsLogin:
    """A user with a token or password, and certificates to trust besides the well-known ones, as PEM. Without a token one is nobody."""

    username: str = ""
    token: Secret | None = None
    ca_certificates: str = ""


@dataclass(frozen=True, slots=True)
class SshLogin:
    """A private key in OpenSSH's form, and the lines of `known_hosts` that the host must be among."""

    private_key: Secret
    known_hosts: str


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a repository is, and how one logs in. One operation against it takes at most `timeout_seconds`."""

    url: str
    login: HttpsLogin | SshLogin = field(default_factory=HttpsLogin)
    timeout_seconds: float = 120.0


class ReferenceKind(StrEnum):
    """What a reference is: the branch that the repository says; a branch, tag or commit; or a full name such as `refs/pull/7/head`."""

    DEFAULT = "default"
    BRANCH = "branch"
    TAG = "tag"
    COMMIT = "commit"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Reference:
    """What of a repository is meant."""

    kind: ReferenceKind = ReferenceKind.DEFAULT
    text: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. `message` is all of it; `author` is `Name <mail>`; `time` is when it was committed."""

    sha: str
    parents: tuple[str, ...]
    author: str
    time: datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in a commit: its path relative to the folder that was asked for, its digest as Git counts, and its bytes."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder in a commit: its digest, and the files of definitions in it at any depth (`.yaml`, `.yml`, `.json`), ordered by path."""

    oid: str
    blobs: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures are good."""

    ssh_allowed_signers: str = ""
    openpgp_public_keys: str = ""


class Repository(Protocol):
    """One repository's copy on this machine. Raises RepositoryUnavailable, and RepositoryRefused with a reason, a path and a line."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """What is read within belongs together, and costs less than if each was asked for alone."""
        ...

    async def find(self, remote: Remote, reference: Reference) -> str:
        """The commit that a reference leads to now, as the remote says. Raises RepositoryRefused with REFERENCE_MISSING."""
        ...

    async def fetch(self, remote: Remote, reference: Reference, sha: str) -> None:
        """Brings that commit, which `reference` led to, with its history; nothing where it is here already."""
        ...

    async def find_pushed(self, remote: Remote, reference: Reference) -> str:
        """As `find` and then `fetch`, for who was told that a branch has moved: most often the remote is asked once then."""
        ...

    async def has(self, sha: str) -> bool:
        """Whether a commit is here."""
        ...

    async def commit(self, sha: str) -> Commit:
        """One commit that is here."""
        ...

    async def tree(self, sha: str, path: str) -> Tree:
        """A folder of it. Raises RepositoryRefused with FOLDER_MISSING, and for links, submodules, and files that are too many or too
        large."""
        ...

    async def read(self, oids: Sequence[str]) -> Mapping[str, bytes]:
        """The content of files by their digests, that `tree` told."""
        ...

    async def read_file(self, sha: str, path: str) -> bytes | None:
        """One small file by its path; None where the commit has none. Raises as `tree`."""
        ...

    async def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether one commit leads to the other. False where the older one is not here."""
        ...

    async def between(self, older: str, newer: str, limit: int) -> Sequence[Commit]:
        """At most so many commits that lead to `newer` and not to `older` (empty: from the beginning), the newest first. None of them
        where the older one is not here: what lies between is not known then."""
        ...

    async def signer(self, sha: str, signers: Signers) -> str:
        """Who signed a commit: the principal or the key. Raises RepositoryRefused with SIGNATURE_REFUSED."""
        ...

    async def write(
        self,
        base: str,
        files: Mapping[str, bytes | None],
        message: str,
        author: str,
        time: datetime,
        parents: Sequence[str] = (),
    ) -> str:
        """Makes a commit of what `base` holds with these files by their paths from the root (None: without it), whose parents are `base`
        and then `parents`. The same arguments make the same commit."""
        ...

    async def push(self, remote: Remote, sha: str, branch: str, expected: str) -> None:
        """Makes a branch lead to a commit, if it leads to `expected` now (empty: there is none yet). Raises RepositoryRefused for it:
        PUSH_REFUSED."""
        ...


class Repositories(Protocol):
    """The copies on this machine."""

    def of(self, uid: str) -> Repository:
        """The copy for a source, which is made as it is needed. The uid is 1 to 64 lower-case letters, digits and dashes."""
        ...

    async def drop(self, uid: str) -> None:
        """Deletes a copy."""
        ...
