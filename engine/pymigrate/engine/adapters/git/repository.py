"""The port over the installed git: one bare copy for each source, from which everything is read by commit. Nothing is checked out."""

import asyncio
import re
import secrets
import shutil
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar, assert_never

import structlog

from pymigrate.engine.adapters.git import objects, signatures
from pymigrate.engine.adapters.git.commands import FILE_BYTES_MAX, Ended, GitCommands
from pymigrate.engine.adapters.git.copies import DROPPED_PREFIX, FRESH_PREFIX, TIPS, WRITTEN, Copy
from pymigrate.engine.adapters.git.logins import Access, Logins
from pymigrate.engine.adapters.git.reading import CopyDamaged, ObjectMissing, ObjectReader
from pymigrate.engine.adapters.git.refusals import Refusals, is_broken, is_disk_full
from pymigrate.engine.adapters.git.writing import commit_stream
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.domain.git_names import NAME_CHARACTERS_MAX, branch_problem
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import (
    Commit,
    HttpsLogin,
    Reference,
    ReferenceKind,
    Remote,
    Signers,
    SshLogin,
    Tree,
)
from pymigrate.engine.ports.secrets import Secret

log = structlog.get_logger(__name__)
T = TypeVar("T")
UID = re.compile(r"[a-z0-9-]{1,64}")
HOME = "home"
HELD_MAX = 10_000
COMMITS_MAX = 8  # which may have long messages
LINE_MAX = 100
RESERVED = frozenset({HOME})
FETCH = (
    "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
    "--no-show-forced-updates", "--no-write-commit-graph", "--force", "--",
)  # fmt: skip
PUSH = (
    "push",
    "--porcelain",
    "--quiet",
    "--atomic",
    "--no-verify",
    "--no-signed",
    "--no-follow-tags",
    "--no-recurse-submodules",
)


class GitRepository:
    """As the port says. One at a time changes the copy; any number read it."""

    def __init__(self, folder: Path, commands: GitCommands, logins: Logins, redactor: Redactor) -> None:
        self._copy = Copy(folder, commands)
        self._commands = commands
        self._logins = logins
        self._redactor = redactor
        self._refusals = Refusals(redactor)
        self._reader = ObjectReader(self._copy)
        self._turn = asyncio.Lock()
        self._commits: dict[str, Commit] = {}  # of those that were read last
        self._held: set[str] = set()  # known to be here, so that asking again costs nothing

    @property
    def folder(self) -> Path:
        """Where the copy is, or would be."""
        return self._copy.folder

    def opened(self) -> AbstractAsyncContextManager[None]:
        """As the port says."""
        return self._reader.opened()

    async def find(self, remote: Remote, reference: Reference) -> str:
        """As the port says. A commit leads to itself: whether it is there, fetching it says."""
        if reference.kind is ReferenceKind.COMMIT:
            return objects.check_sha(reference.text.lower())
        name = _name_of(reference)
        ended = await self._ask(remote, ("ls-remote", "--quiet", "--", "{url}", name, f"{name}^{{}}"), None)
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
                f"{remote.url} has no {_words(reference)}, or is a page and no repository: make it, or declare another",
            )
        return objects.check_sha(sha)

    async def fetch(self, remote: Remote, reference: Reference, sha: str) -> None:
        """As the port says."""
        objects.check_sha(sha)
        async with self._turn:
            await self._copy.prepare(sha)
            if await self._holds(sha):
                return
            ended = await self._fetch(remote, reference, sha)
            if ended.code and is_broken(ended.said) and not await self._copy.is_whole():
                log.warning("git.copy_thrown_away", copy=self._copy.folder.name, said=self._refusals.quoted(ended.said))
                await self._forget()
                await self._copy.prepare(sha)
                ended = await self._fetch(remote, reference, sha)
            if ended.code:
                raise self._refusals.of(ended.said, remote.url)
            if not await self._holds(sha):
                raise RepositoryUnavailable(
                    f"{remote.url}: {_words(reference)} moved away from {sha} while it was fetched"
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
        return await self._holds(objects.check_sha(sha))

    async def commit(self, sha: str) -> Commit:
        """As the port says."""
        if sha not in self._commits:
            if len(self._commits) >= COMMITS_MAX:
                self._commits.clear()
            self._commits[sha] = objects.commit_of(sha, await self._raw_commit(sha))
        return self._commits[sha]

    async def tree(self, sha: str, path: str) -> Tree:
        """As the port says."""
        objects.check_sha(sha)
        folder = objects.folder_of(path)
        root = f"{sha}:{folder}"
        oid, kind = await self._kind(root)
        if kind != "tree":
            await self._raw_commit(sha)
            raise RepositoryRefused(
                "FOLDER_MISSING",
                f"{sha} has no folder `{folder}` (links are not followed): make it, or declare another `path`",
                path=path,
            )
        listed = await self._local("ls-tree", "-r", "-l", "-z", "--full-tree", oid)
        return Tree(oid, objects.blobs_of(objects.entries_of(listed), folder))

    async def read(self, oids: Sequence[str]) -> Mapping[str, bytes]:
        """As the port says, in one command for all."""
        for oid in oids:
            objects.check_sha(oid)
        return await self._checked(self._reader.contents(tuple(dict.fromkeys(oids)), objects.DEFINITION_BYTES_MAX))

    async def read_file(self, sha: str, path: str) -> bytes | None:
        """As the port says."""
        objects.check_sha(sha)
        folder = objects.folder_of(path)
        listed = await self._local("ls-tree", "-l", "-z", "--full-tree", sha, "--", folder)
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
        if not self._copy.is_there or (await self._kind(older))[1] != "commit":
            return False
        if await self._line(older, newer) is not None:
            return True
        ended = await self._copy.git("merge-base", "--is-ancestor", older, newer)
        if ended.code not in {0, 1}:
            await self._suspect(ended.said)
        return ended.code == 0

    async def between(self, older: str, newer: str, limit: int) -> Sequence[Commit]:
        """As the port says."""
        objects.check_sha(newer)
        if older and (await self._kind(objects.check_sha(older)))[1] != "commit":
            return []
        if older and (line := await self._line(older, newer)) is not None:
            return line[: max(limit, 0)]
        without = [f"^{older}"] if older else []
        listed = await self._local("rev-list", "--topo-order", f"--max-count={max(limit, 0)}", newer, *without, "--")
        shas = listed.decode().split()
        raw = await self._checked(self._reader.contents(shas, objects.COMMIT_BYTES_MAX))
        return [objects.commit_of(sha, raw[sha]) for sha in shas]

    async def _line(self, older: str, newer: str) -> list[Commit] | None:
        """The commits after one up to another, the newest first, where each has one parent and they are few; None: it is not as simple."""
        found: list[Commit] = []
        sha = newer
        for _ in range(LINE_MAX):
            if sha == older:
                return found
            commit = await self.commit(sha)
            if len(commit.parents) != 1:
                return None
            found.append(commit)
            sha = commit.parents[0]
        return None

    async def signer(self, sha: str, signers: Signers) -> str:
        """As the port says."""
        kind = objects.signature_kind(await self._raw_commit(sha))
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
        async with self._turn:
            ended = await self._copy.git(
                "fast-import", "--quiet", "--force", "--date-format=raw", "--cat-blob-fd=1", told=stream
            )
            if ended.code:
                self._copy.sweep()
                await self._suspect_locked(ended.said)
            sha = objects.check_sha(ended.output.decode().strip())
            await self._keep(sha)
        return sha

    async def push(self, remote: Remote, sha: str, branch: str, expected: str) -> None:
        """As the port says."""
        objects.check_sha(sha)
        name = _name_of(Reference(ReferenceKind.BRANCH, branch))
        lease = f"--force-with-lease={name}:{objects.check_sha(expected) if expected else ''}"
        async with self._turn:
            ended = await self._ask(remote, (*PUSH, lease, "--", "{url}", f"{sha}:{name}"), self._copy.folder)
        if ended.code:
            raise self._refusals.of(
                f"{ended.output.decode(errors='replace')}\n{ended.said}", f"{remote.url}, branch {branch}"
            )

    async def drop(self) -> None:
        """Deletes the copy."""
        async with self._turn:
            await self._forget()

    async def _holds(self, sha: str) -> bool:
        if sha in self._held and self._copy.is_there:
            return True
        if not self._copy.is_there or await self._is_missing(sha) or not await self._copy.holds(sha):
            return False
        self._note(sha)
        return True

    async def _is_missing(self, sha: str) -> bool:
        """Whether the copy does not even have the commit itself, which is soon told."""
        try:
            return not (await self._reader.kind(sha))[1]
        except CopyDamaged:
            return False  # which whoever reads more of it finds, and mends

    def _note(self, sha: str) -> None:
        if len(self._held) >= HELD_MAX:
            self._held.clear()
        self._held.add(sha)

    async def _keep(self, sha: str) -> None:
        """What was made here is here, as what was fetched is."""
        ended = await self._copy.git("update-ref", f"{TIPS}{sha}", sha)
        if ended.code:
            await self._suspect_locked(ended.said)
        self._note(sha)

    async def _fetch(self, remote: Remote, reference: Reference, sha: str) -> Ended:
        """By its digest; by its reference where the host lets nothing else be asked for."""
        place = f"{TIPS}{sha[:16]}-{secrets.token_hex(4)}"
        ended = await self._ask(remote, (*FETCH, "{url}", f"+{sha}:{place}"), self._copy.folder)
        if not ended.code:
            self._note(sha)  # a reference to it is set, and so all of it is here
        if ended.code and re.search("not our ref|unadvertised object|couldn't find remote ref", ended.said):
            if reference.kind is ReferenceKind.COMMIT:
                raise RepositoryRefused(
                    "REFERENCE_MISSING", f"{remote.url} has no commit {sha}, or does not let it be fetched"
                )
            ended = await self._ask(remote, (*FETCH, "{url}", f"+{_name_of(reference)}:{place}"), self._copy.folder)
        return ended

    async def _fetch_by_name(self, remote: Remote, reference: Reference) -> str:
        """The commit, which is here then; empty where git did not fetch it."""
        name, place = _name_of(reference), f"{TIPS}pushed-{secrets.token_hex(4)}"
        async with self._turn:
            ended = await self._ask(remote, (*FETCH, "{url}", f"+{name}:{place}"), self._copy.folder)
            sha = "" if ended.code else self._copy.tip(place)
            if not sha:
                return ""
            self._note(sha)
            await self._copy.tidy()
        return sha

    async def _ask(self, remote: Remote, arguments: Sequence[str], folder: Path | None) -> Ended:
        """A command that speaks to the repository, whose url stands for `{url}`."""
        for secret in _secrets_of(remote):
            self._redactor.note(secret)
        is_good = False
        async with self._logins.access(remote) as access:
            try:
                ended = await self._commands.run(
                    _with_url(arguments, access),
                    folder=folder,
                    environment=access.environment,
                    settings=access.settings,
                    seconds_max=remote.timeout_seconds,
                )
                is_good = not ended.code
            finally:
                if folder is not None and not is_good:
                    self._copy.sweep()  # what was ended in the middle has left its locks, and what it had by then
        return ended

    async def _raw_commit(self, sha: str) -> bytes:
        objects.check_sha(sha)
        raw = None
        if self._copy.is_there:
            raw = await self._checked(self._reader.commit(sha, objects.COMMIT_BYTES_MAX))
        if raw is None:
            raise RepositoryRefused("COMMIT_MISSING", f"commit {sha} is not here: it has to be fetched first")
        return raw

    async def _kind(self, name: str) -> tuple[str, str]:
        if not self._copy.is_there:
            return "", ""
        return await self._checked(self._reader.kind(name))

    async def _checked(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except ObjectMissing as missing:
            await self._suspect(str(missing))
        except CopyDamaged as damage:
            async with self._turn:
                await self._throw_away(str(damage))

    async def _local(self, *arguments: str) -> bytes:
        ended = await self._copy.git(*arguments)
        if ended.code:
            await self._suspect(ended.said)
        return ended.output

    async def _suspect(self, said: str) -> NoReturn:
        async with self._turn:
            await self._suspect_locked(said)

    async def _suspect_locked(self, said: str) -> NoReturn:
        """Looks at the copy, which said something that it never says when it is whole; always raises."""
        if not await self._copy.is_whole():
            await self._throw_away(said)
        if is_disk_full(said):
            raise self._refusals.of(said, "the copy on this machine")
        raise RepositoryRefused(
            "COMMIT_MISSING",
            f"what is asked for is not here: it has to be fetched first ({self._refusals.quoted(said)})",
        )

    async def _throw_away(self, said: str) -> NoReturn:
        """Whoever fetches next makes a new one."""
        told = self._refusals.quoted(said)
        log.warning("git.copy_thrown_away", copy=self._copy.folder.name, said=told)
        await self._forget()
        raise RepositoryUnavailable(
            f"the copy on this machine was damaged and is thrown away; it is fetched again ({told})"
        )

    async def _forget(self) -> None:
        self._held.clear()
        self._commits.clear()
        await asyncio.to_thread(self._copy.drop)


class GitRepositories:
    """The copies in a folder of the engine's own. Nothing is started, and git is not looked for, before one is used."""

    def __init__(
        self, folder: Path, redactor: Redactor, program: str = "git", pack_bytes_max: int = FILE_BYTES_MAX
    ) -> None:
        self._folder = folder
        self._redactor = redactor
        self._logins = Logins(folder)
        self._commands = GitCommands(folder / HOME, program, pack_bytes_max)
        self._repositories: dict[str, GitRepository] = {}
        self._is_ready = False

    def of(self, uid: str) -> GitRepository:
        """As the port says."""
        if UID.fullmatch(uid) is None or uid in RESERVED:
            raise ValueError(f"{uid!r} is no uid of a source")
        self._make_ready()
        if uid not in self._repositories:
            self._repositories[uid] = GitRepository(self._folder / uid, self._commands, self._logins, self._redactor)
        return self._repositories[uid]

    async def drop(self, uid: str) -> None:
        """As the port says."""
        await self.of(uid).drop()
        self._repositories.pop(uid, None)

    def _make_ready(self) -> None:
        """Makes the folder, and removes what an engine that was killed has left in it."""
        if self._is_ready:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / HOME).mkdir(mode=0o700, exist_ok=True)
        self._logins.sweep()
        for prefix in (DROPPED_PREFIX, FRESH_PREFIX):
            for left in self._folder.glob(f"{prefix}*"):
                shutil.rmtree(left, ignore_errors=True)
        self._is_ready = True


def _name_of(reference: Reference) -> str:
    """The full name. Raises RepositoryRefused with REFERENCE_MISSING for what git allows no reference to be called."""
    text = name = reference.text
    match reference.kind:
        case ReferenceKind.DEFAULT:
            return "HEAD"
        case ReferenceKind.BRANCH:
            name = f"refs/heads/{text}"
        case ReferenceKind.TAG:
            name = f"refs/tags/{text}"
        case ReferenceKind.NAME:
            pass
        case ReferenceKind.COMMIT:
            raise RepositoryRefused("REFERENCE_MISSING", f"{text} is a commit, and no name")
        case _ as unreachable:
            assert_never(unreachable)
    problem = branch_problem(text) or ("" if name.startswith("refs/") else "must begin with `refs/`")
    if problem:
        raise RepositoryRefused(
            "REFERENCE_MISSING", f"{text[:NAME_CHARACTERS_MAX]!r} is no {reference.kind}: it {problem}"
        )
    return name


def _words(reference: Reference) -> str:
    if reference.kind is ReferenceKind.DEFAULT:
        return "branch that it says is its own (HEAD)"
    return f"{'reference' if reference.kind is ReferenceKind.NAME else reference.kind} `{reference.text}`"


def _with_url(arguments: Sequence[str], access: Access) -> list[str]:
    return [access.url if argument == "{url}" else argument for argument in arguments]


def _secrets_of(remote: Remote) -> tuple[Secret, ...]:
    match remote.login:
        case SshLogin(private_key=key):
            return (key,)
        case HttpsLogin(token=token):
            return () if token is None else (token,)
        case _ as unreachable:
            assert_never(unreachable)
