"""The port over the installed git: one bare copy for each source, from which everything is read by commit. Nothing is checked out."""

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

from pymigrate.engine.adapters.git import objects, signatures
from pymigrate.engine.adapters.git.checked_copies import CheckedCopy
from pymigrate.engine.adapters.git.commands import Ended, GitCommands
from pymigrate.engine.adapters.git.copies import TIPS, WRITTEN
from pymigrate.engine.adapters.git.logins import Logins
from pymigrate.engine.adapters.git.references import in_words, name_of
from pymigrate.engine.adapters.git.refusals import Refusals, is_broken
from pymigrate.engine.adapters.git.remotes import Remotes
from pymigrate.engine.adapters.git.writing import commit_stream
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import Commit, Reference, ReferenceKind, Remote, Signers, Tree

LINE_MAX = 100


class GitRepository:
    """As the port says. One at a time changes the copy; any number read it."""

    def __init__(self, folder: Path, commands: GitCommands, logins: Logins, redactor: Redactor) -> None:
        self._refusals = Refusals(redactor)
        self._checked = CheckedCopy(folder, commands, self._refusals)
        self._copy = self._checked.copy
        self._remotes = Remotes(self._copy, commands, logins, redactor)
        self._commands = commands

    @property
    def folder(self) -> Path:
        """Where the copy is, or would be."""
        return self._copy.folder

    def opened(self) -> AbstractAsyncContextManager[None]:
        """As the port says."""
        return self._checked.reader.opened()

    async def find(self, remote: Remote, reference: Reference) -> str:
        """As the port says. A commit leads to itself: whether it is there, fetching it says."""
        if reference.kind is ReferenceKind.COMMIT:
            return objects.check_sha(reference.text.lower())
        name = name_of(reference)
        ended = await self._remotes.look_up(remote, name)
        if ended.code:
            raise self._refusals.of(ended.said, remote.url)
        found = dict[str, str]()
        for line in ended.output.decode(errors="replace").splitlines():
            told, _, of = line.partition("\t")
            found[of] = told
        sha = found.get(f"{name}^{{}}") or found.get(name, "")
        if not sha:
            raise RepositoryRefused(
                "REFERENCE_MISSING",
                f"{remote.url} has no {in_words(reference)}, or is a page and no repository: make it, or declare another",
            )
        return objects.check_sha(sha)

    async def fetch(self, remote: Remote, reference: Reference, sha: str) -> None:
        """As the port says."""
        objects.check_sha(sha)
        async with self._checked.turn:
            await self._copy.prepare(sha)
            if await self._checked.holds(sha):
                return
            ended = await self._fetch(remote, reference, sha)
            if ended.code and is_broken(ended.said) and not await self._copy.is_whole():
                await self._checked.drop_damaged(ended.said)
                await self._copy.prepare(sha)
                ended = await self._fetch(remote, reference, sha)
            if ended.code:
                raise self._refusals.of(ended.said, remote.url)
            if not await self._checked.holds(sha):
                raise RepositoryUnavailable(
                    f"{remote.url}: {in_words(reference)} moved away from {sha} while it was fetched"
                )
            await self._copy.tidy()

    async def find_pushed(self, remote: Remote, reference: Reference) -> str:
        """As the port says: what is fetched by its name says what the name leads to. What is wrong with it, `find` and `fetch` tell."""
        if reference.kind is ReferenceKind.BRANCH and self._copy.is_there:
            sha = await self._fetch_by_name(remote, reference)
            if sha:
                return sha
        sha = await self.find(remote, reference)
        await self.fetch(remote, reference, sha)
        return sha

    async def has(self, sha: str) -> bool:
        """As the port says: with all that it leads to."""
        return await self._checked.holds(objects.check_sha(sha))

    async def commit(self, sha: str) -> Commit:
        """As the port says."""
        return await self._checked.commit(sha)

    async def tree(self, sha: str, path: str) -> Tree:
        """As the port says."""
        objects.check_sha(sha)
        folder = objects.folder_of(path)
        root = f"{sha}:{folder}"
        oid, kind = await self._checked.kind(root)
        if kind != "tree":
            await self._checked.raw_commit(sha)
            raise RepositoryRefused(
                "FOLDER_MISSING",
                f"{sha} has no folder `{folder}` (links are not followed): make it, or declare another `path`",
                path=path,
            )
        listed = await self._checked.local("ls-tree", "-r", "-l", "-z", "--full-tree", oid)
        return Tree(oid, objects.blobs_of(objects.entries_of(listed), folder))

    async def read(self, oids: Sequence[str]) -> Mapping[str, bytes]:
        """As the port says, in one command for all."""
        for oid in oids:
            objects.check_sha(oid)
        return await self._checked.contents(tuple(dict.fromkeys(oids)), objects.DEFINITION_BYTES_MAX)

    async def read_file(self, sha: str, path: str) -> bytes | None:
        """As the port says."""
        objects.check_sha(sha)
        folder = objects.folder_of(path)
        listed = await self._checked.local("ls-tree", "-l", "-z", "--full-tree", sha, "--", folder)
        entry = next((each for each in objects.entries_of(listed) if each.path == folder.encode()), None)
        if entry is None or (
            entry.mode != objects.LINK and entry.mode != objects.SUBMODULE and not entry.mode.startswith(b"100")
        ):
            return None
        objects.check_entry(entry, "")
        if entry.size > objects.DEFINITION_BYTES_MAX:
            raise RepositoryRefused(
                "FILE_TOO_LARGE", f"{folder} has {entry.size:,} bytes: it is not a small file", path=folder
            )
        return (await self.read([entry.oid]))[entry.oid]

    async def is_ancestor(self, older: str, newer: str) -> bool:
        """As the port says."""
        objects.check_sha(older), objects.check_sha(newer)
        if older == newer:
            return True
        if not self._copy.is_there or (await self._checked.kind(older))[1] != "commit":
            return False
        if await self._line(older, newer) is not None:
            return True
        ended = await self._copy.git("merge-base", "--is-ancestor", older, newer)
        if ended.code not in {0, 1}:
            await self._checked.suspect(ended.said)
        return ended.code == 0

    async def between(self, older: str, newer: str, limit: int) -> Sequence[Commit]:
        """As the port says."""
        objects.check_sha(newer)
        if older and (await self._checked.kind(objects.check_sha(older)))[1] != "commit":
            return []
        if older and (line := await self._line(older, newer)) is not None:
            return line[: max(limit, 0)]
        without = [f"^{older}"] if older else []
        listed = await self._checked.local(
            "rev-list", "--topo-order", f"--max-count={max(limit, 0)}", newer, *without, "--"
        )
        shas = listed.decode().split()
        raw = await self._checked.contents(shas, objects.COMMIT_BYTES_MAX)
        return [objects.commit_of(sha, raw[sha]) for sha in shas]

    async def signer(self, sha: str, signers: Signers) -> str:
        """As the port says."""
        kind = objects.signature_kind(await self._checked.raw_commit(sha))
        return await signatures.signer_of(self._commands, self._copy.folder, sha, kind, signers)

    async def write(
        self,
        base: str,
        files: Mapping[str, bytes | None],
        message: str,
        author: str,
        time: datetime,
        parents: Sequence[str] = (),
    ) -> str:
        """As the port says."""
        for sha in (base, *parents):
            objects.check_sha(sha)
        objects.check_written(tuple(files))
        stream = commit_stream(WRITTEN, base, files, message, author, time, parents)
        async with self._checked.turn:
            ended = await self._copy.git(
                "fast-import", "--quiet", "--force", "--date-format=raw", "--cat-blob-fd=1", told=stream
            )
            if ended.code:
                self._copy.sweep()
                await self._checked.suspect_in_turn(ended.said)
            sha = objects.check_sha(ended.output.decode().strip())
            await self._checked.keep(sha)
        return sha

    async def push(self, remote: Remote, sha: str, branch: str, expected: str) -> None:
        """As the port says."""
        objects.check_sha(sha)
        name = name_of(Reference(ReferenceKind.BRANCH, branch))
        if expected:
            objects.check_sha(expected)
        async with self._checked.turn:
            ended = await self._remotes.push(remote, sha, name, expected)
        if ended.code:
            raise self._refusals.of(
                f"{ended.output.decode(errors='replace')}\n{ended.said}", f"{remote.url}, branch {branch}"
            )

    async def drop(self) -> None:
        """Deletes the copy."""
        async with self._checked.turn:
            await self._checked.drop()

    async def _fetch(self, remote: Remote, reference: Reference, sha: str) -> Ended:
        """By its digest; by its reference where the host lets nothing else be asked for."""
        place = f"{TIPS}{sha[:16]}-{secrets.token_hex(4)}"
        ended = await self._remotes.fetch(remote, sha, place)
        if not ended.code:
            self._checked.note(sha)
        if ended.code and re.search("not our ref|unadvertised object|couldn't find remote ref", ended.said):
            if reference.kind is ReferenceKind.COMMIT:
                raise RepositoryRefused(
                    "REFERENCE_MISSING", f"{remote.url} has no commit {sha}, or does not let it be fetched"
                )
            ended = await self._remotes.fetch(remote, name_of(reference), place)
        return ended

    async def _fetch_by_name(self, remote: Remote, reference: Reference) -> str:
        """The commit, which is here then; empty where git did not fetch it."""
        name, place = name_of(reference), f"{TIPS}pushed-{secrets.token_hex(4)}"
        async with self._checked.turn:
            ended = await self._remotes.fetch(remote, name, place)
            sha = "" if ended.code else self._copy.tip(place)
            if not sha:
                return ""
            self._checked.note(sha)
            await self._copy.tidy()
        return sha

    async def _line(self, older: str, newer: str) -> list[Commit] | None:
        """The commits after one up to another, the newest first, where each has one parent and they are few; None: it is not as simple."""
        found: list[Commit] = []
        sha = newer
        for _ in range(LINE_MAX):
            if sha == older:
                return found
            commit = await self._checked.commit(sha)
            if len(commit.parents) != 1:
                return None
            found.append(commit)
            sha = commit.parents[0]
        return None
