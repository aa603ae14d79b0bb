"""Repositories in memory: what is hosted somewhere, and the copies of it. Everything that can be wrong with a repository is said of the
hosted one; what is asked of a copy is counted."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused
from pymigrate.engine.ports.repository import Blob, Commit, HttpsLogin, Reference, ReferenceKind, Remote, Signers, Tree

START = datetime(2026, 5, 4, 3, 0, 0, tzinfo=UTC)
MAIN = "main"
AUTHOR = "Ada <ada@example.com>"
DEFINITIONS = (".yaml", ".yml", ".json")
Files = Mapping[str, bytes]


def oid_of(content: bytes) -> str:
    """The digest of a file, as Git counts."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class MemoryHosted:
    """A repository where everybody pushes to. `refused` and `unavailable` are raised to whoever asks it for something; `token`, where it is
    not empty, is what one must show; `unsound` are raised where the tree of a commit is looked at."""

    commits: dict[str, tuple[Commit, Files]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    signers: dict[str, str] = field(default_factory=dict)
    unsound: dict[str, PyMigrateError] = field(default_factory=dict)
    failure: PyMigrateError | None = None
    token: str = ""
    default: str = MAIN

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        message: str = "Change",
        branch: str = MAIN,
        *,
        parents: Sequence[str] | None = None,
        signer: str = "",
    ) -> str:
        """Pushes a commit: what its parent holds, with these files (None: without it)."""
        above = tuple(parents) if parents is not None else tuple(filter(None, (self.branches.get(branch, ""),)))
        held = dict(self.commits[above[0]][1]) if above else {}
        for path, content in files.items():
            if content is None:
                held.pop(path, None)
            else:
                held[path] = content.encode() if isinstance(content, str) else content
        time = START + timedelta(minutes=len(self.commits))
        sha = self.add(held, message, AUTHOR, time, above)
        self.branches[branch] = sha
        if signer:
            self.signers[sha] = signer
        return sha

    def add(self, files: Files, message: str, author: str, time: datetime, parents: tuple[str, ...]) -> str:
        """Makes a commit; the same arguments make the same one."""
        listed = sorted((path, oid_of(content)) for path, content in files.items())
        text = repr((listed, message, author, time, parents)).encode()
        sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        self.commits[sha] = (Commit(sha, parents, author, time, message), dict(files))
        return sha

    def ancestors(self, sha: str) -> list[str]:
        """A commit and everything that leads to it, the newest first."""
        found: dict[str, None] = {}
        waiting = [sha] if sha else []
        while waiting:
            each = waiting.pop()
            if each not in found and each in self.commits:
                found[each] = None
                waiting.extend(self.commits[each][0].parents)
        return sorted(found, key=lambda each: self.commits[each][0].time, reverse=True)

    def led_to(self, reference: Reference) -> str | None:
        """The commit that a reference leads to."""
        match reference.kind:
            case ReferenceKind.DEFAULT:
                return self.branches.get(self.default)
            case ReferenceKind.BRANCH:
                return self.branches.get(reference.text)
            case ReferenceKind.TAG:
                return self.tags.get(reference.text)
            case ReferenceKind.COMMIT:
                return reference.text if reference.text in self.commits else None
            case ReferenceKind.NAME:
                known = {f"refs/heads/{name}": sha for name, sha in self.branches.items()}
                return (known | {f"refs/tags/{name}": sha for name, sha in self.tags.items()} | self.names).get(
                    reference.text
                )


class MemoryRepository:
    """A copy of one."""

    def __init__(self, hosted: Callable[[Remote], MemoryHosted]) -> None:
        self._hosted_at = hosted
        self._here = MemoryHosted()
        self.asked: Counter[str] = Counter()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Nothing costs anything."""
        yield

    async def find(self, remote: Remote, reference: Reference) -> str:
        """The commit that a reference leads to."""
        self.asked["find"] += 1
        sha = self._hosted(remote).led_to(reference)
        if sha is None:
            raise RepositoryRefused("REFERENCE_MISSING", f"the repository has no {reference.kind} `{reference.text}`")
        return sha

    async def fetch(self, remote: Remote, reference: Reference, sha: str) -> None:
        """Brings a commit with its history."""
        del reference
        self.asked["fetch"] += 1
        hosted = self._hosted(remote)
        for each in hosted.ancestors(sha):
            self._here.commits[each] = hosted.commits[each]
        self._here.signers = dict(hosted.signers)
        self._here.unsound = dict(hosted.unsound)

    async def find_pushed(self, remote: Remote, reference: Reference) -> str:
        """Both."""
        sha = await self.find(remote, reference)
        await self.fetch(remote, reference, sha)
        return sha

    async def has(self, sha: str) -> bool:
        """Whether it is here."""
        return sha in self._here.commits

    async def commit(self, sha: str) -> Commit:
        """One that is here."""
        self.asked["commit"] += 1
        return self._held(sha)[0]

    async def tree(self, sha: str, path: str) -> Tree:
        """A folder of it."""
        self.asked["tree"] += 1
        _, files = self._held(sha)
        if sha in self._here.unsound:
            raise self._here.unsound[sha]
        prefix = f"{path}/" if path else ""
        within = {name.removeprefix(prefix): held for name, held in files.items() if name.startswith(prefix)}
        if path and not within:
            raise RepositoryRefused("FOLDER_MISSING", f"the commit has no folder `{path}`", path=path)
        oid = hashlib.sha1(repr(sorted(within.items())).encode(), usedforsecurity=False).hexdigest()
        blobs = (Blob(name, oid_of(held), len(held)) for name, held in sorted(within.items()) if _is_definition(name))
        return Tree(oid, tuple(blobs))

    async def read(self, oids: Sequence[str]) -> Mapping[str, bytes]:
        """The content of files."""
        self.asked["read"] += len(oids)
        known = {oid_of(held): held for _, files in self._here.commits.values() for held in files.values()}
        return {oid: known[oid] for oid in oids}

    async def read_file(self, sha: str, path: str) -> bytes | None:
        """One file; None where there is none."""
        self.asked["read_file"] += 1
        return self._held(sha)[1].get(path)

    async def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether one leads to the other."""
        return older in self._here.ancestors(newer)

    async def between(self, older: str, newer: str, limit: int) -> Sequence[Commit]:
        """What leads to one and not to the other."""
        if older and older not in self._here.commits:
            return []
        without = set(self._here.ancestors(older))
        return [self._here.commits[each][0] for each in self._here.ancestors(newer) if each not in without][:limit]

    async def signer(self, sha: str, signers: Signers) -> str:
        """Who signed it."""
        self.asked["signer"] += 1
        signer = self._here.signers.get(sha, "")
        if not signer or signer not in signers.ssh_allowed_signers + signers.openpgp_public_keys:
            raise RepositoryRefused("SIGNATURE_REFUSED", f"commit {sha} has no signature of anybody who may sign")
        return signer

    async def write(
        self,
        base: str,
        files: Mapping[str, bytes | None],
        message: str,
        author: str,
        time: datetime,
        parents: Sequence[str] = (),
    ) -> str:
        """Makes a commit."""
        held = dict(self._held(base)[1]) | {path: content for path, content in files.items() if content is not None}
        kept = {path: content for path, content in held.items() if path not in files or files[path] is not None}
        return self._here.add(kept, message, author, time, (base, *parents))

    async def push(self, remote: Remote, sha: str, branch: str, expected: str) -> None:
        """Moves a branch."""
        self.asked["push"] += 1
        hosted = self._hosted(remote)
        if hosted.branches.get(branch, "") not in {expected, sha}:
            raise RepositoryRefused("PUSH_REFUSED", f"the branch `{branch}` has moved meanwhile: try again")
        for each in self._here.ancestors(sha):
            hosted.commits[each] = self._here.commits[each]
        hosted.branches[branch] = sha

    def _held(self, sha: str) -> tuple[Commit, Files]:
        found = self._here.commits.get(sha)
        if found is None:
            raise RepositoryRefused("COMMIT_MISSING", f"commit {sha} is not here")
        return found

    def _hosted(self, remote: Remote) -> MemoryHosted:
        hosted = self._hosted_at(remote)
        if hosted.failure is not None:
            raise hosted.failure
        if hosted.token:
            login = remote.login
            shown = login.token if isinstance(login, HttpsLogin) else login.private_key
            if shown is None or shown.reveal() != hosted.token:
                raise RepositoryRefused("CREDENTIALS_REFUSED", "the repository does not take the credentials")
        return hosted


@dataclass
class MemoryRepositories:
    """The copies, by uid, of what is hosted, by url."""

    hosted: dict[str, MemoryHosted] = field(default_factory=dict)
    copies: dict[str, MemoryRepository] = field(default_factory=dict)

    def of(self, uid: str) -> MemoryRepository:
        """The copy for a source."""
        return self.copies.setdefault(uid, MemoryRepository(self._at))

    async def drop(self, uid: str) -> None:
        """Deletes a copy."""
        self.copies.pop(uid, None)

    def _at(self, remote: Remote) -> MemoryHosted:
        if remote.url not in self.hosted:
            raise RepositoryRefused("REPOSITORY_MISSING", f"there is no repository at {remote.url}")
        return self.hosted[remote.url]


def _is_definition(path: str) -> bool:
    return path.endswith(DEFINITIONS)
