"""The commit that a promotion pushes, by how a repository is laid out: the commit that is pinned by a file, a branch
for each environment, or a folder for each. It is made in the copy on this machine; nothing is pushed here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.application.gitops.conditions import Findings
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.source_reading import SourceReading, reference_of
from pymigrate.engine.application.kinds import PLANS
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.repository import Reference, ReferenceKind, Repository
from pymigrate.v1 import git_source_pb2

AUTHOR = "PyMigrate <pymigrate@localhost>"


@dataclass(frozen=True, slots=True)
class Made:
    """A commit that is ready to be pushed on top of `head`, where the source's branch leads to. `read_commit`: the one that the source then
    reads its definitions of. `is_unchanged`: the source is there already, and nothing was made. `is_ours`: it is no
    commit of a person's."""

    sha: str
    head: str
    read_commit: str
    is_unchanged: bool = False
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is promoted: a commit, from one source to the other."""

    before: git_source_pb2.GitSource
    source: git_source_pb2.GitSource
    commit: str
    message: str
    time: datetime


class PromotionLayouts:
    """Makes commits in the copy of the source that is promoted to. Raises Stopped for what is wrong with the repository."""

    def __init__(self, reading: SourceReading) -> None:
        self._reading = reading

    async def make(self, promoted: Promoted) -> Made:
        """The commit. Raises FailedPrecondition where the two sources can't be told apart, or lie in different repositories."""
        before, source = promoted.before, promoted.source
        if before.url != source.url:
            raise FailedPrecondition(
                f"{source.name} and {before.name} lie in different repositories: promote by a change there, or declare both in one"
            )
        head = await self._reading.head(source, Findings())
        copy = self._reading.repository(source)
        if not await copy.has(promoted.commit):
            await self._reading.head(source, Findings(), reference_of(before))
        if not await copy.has(promoted.commit):
            await self._reading.head(source, Findings(), Reference(ReferenceKind.COMMIT, promoted.commit))
        if source.promotion.pin_file:
            return await self._pinned(copy, promoted, head)
        if source.path != before.path:
            return await self._copied(copy, promoted, head)
        if reference_of(source) == reference_of(before):
            raise FailedPrecondition(
                f"{source.name} and {before.name} read the same folder of the same branch: set promotion.pin_file, so that each has"
                " a commit of its own"
            )
        return await self._merged(copy, promoted, head)

    async def are_same(self, source: git_source_pb2.GitSource, sha: str, other: str) -> bool:
        """Whether two commits that are here are the same to a source: its folder, and its pin."""
        copy, path, pin = self._reading.repository(source), source.path, source.promotion.pin_file
        if await self._oids(copy, sha, path) != await self._oids(copy, other, path):
            return False
        return not pin or await copy.read_file(sha, pin) == await copy.read_file(other, pin)

    async def _pinned(self, copy: Repository, promoted: Promoted, head: str) -> Made:
        """The file says which commit is applied. One that is pinned already and holds the same is left."""
        path = promoted.source.promotion.pin_file
        if promoted.commit != head and not await copy.is_ancestor(promoted.commit, head):
            raise FailedPrecondition(
                f"commit {promoted.commit[:12]} is not on the branch of {promoted.source.name}: its pin could not lead there"
            )
        held = ((await copy.read_file(head, path)) or b"").decode("ascii", errors="replace").strip()
        if held == promoted.commit or (held and await copy.has(held) and await self._are_alike(copy, promoted, held)):
            return Made("", head, held, is_unchanged=True)
        sha = await self._write(copy, promoted, head, {path: f"{promoted.commit}\n".encode()})
        return Made(sha, head, promoted.commit)

    async def _copied(self, copy: Repository, promoted: Promoted, head: str) -> Made:
        """The files of plans are as they are in the folder of the source before, and no others."""
        wanted = await self._read_in(promoted.source, promoted.before.path, promoted.commit)
        held = await self._read_in(promoted.source, promoted.source.path, head)
        new, old = plan_files(wanted, promoted.before.path), plan_files(held, promoted.source.path)
        files: dict[str, bytes | None] = {_at(promoted.source.path, path): None for path in old - new}
        oids = await self._oids(copy, promoted.commit, promoted.before.path)
        known = await self._oids(copy, head, promoted.source.path)
        changed = [path for path in sorted(new) if known.get(path) != oids[path]]
        content = await copy.read([oids[path] for path in changed]) if changed else {}
        files |= {_at(promoted.source.path, path): content[oids[path]] for path in changed}
        if not files:
            return Made("", head, head, is_unchanged=True)
        sha = await self._write(copy, promoted, head, files)
        return Made(sha, head, sha)

    async def _merged(self, copy: Repository, promoted: Promoted, head: str) -> Made:
        """The branch moves forward to the commit; where it has commits of its own, one leads to both that holds exactly its folder."""
        path = promoted.source.path
        wanted, held = await self._oids(copy, promoted.commit, path), await self._oids(copy, head, path)
        if wanted == held:
            return Made("", head, head, is_unchanged=True)
        if await copy.is_ancestor(head, promoted.commit):
            return Made(promoted.commit, head, promoted.commit, is_ours=False)
        changed = [name for name in sorted(wanted) if held.get(name) != wanted[name]]
        content = await copy.read([wanted[name] for name in changed]) if changed else {}
        files: dict[str, bytes | None] = {_at(path, name): None for name in held.keys() - wanted.keys()}
        files |= {_at(path, name): content[wanted[name]] for name in changed}
        sha = await self._write(copy, promoted, head, files, (promoted.commit,))
        return Made(sha, head, sha)

    async def _write(
        self,
        copy: Repository,
        promoted: Promoted,
        head: str,
        files: Mapping[str, bytes | None],
        parents: tuple[str, ...] = (),
    ) -> str:
        author = promoted.source.promotion.author or AUTHOR
        return await copy.write(head, files, promoted.message, author, promoted.time, parents)

    async def _read_in(self, source: git_source_pb2.GitSource, path: str, sha: str) -> DefinitionsRead:
        """What a folder declares, as the source that is promoted to would read it."""
        placed = git_source_pb2.GitSource()
        placed.CopyFrom(source)
        placed.path = path
        _, read = await self._reading.read(placed, sha, Findings())
        return read

    async def _are_alike(self, copy: Repository, promoted: Promoted, sha: str) -> bool:
        path = promoted.source.path
        return await self._oids(copy, sha, path) == await self._oids(copy, promoted.commit, path)

    @staticmethod
    async def _oids(copy: Repository, sha: str, path: str) -> dict[str, str]:
        """The files of definitions in a folder, with their digests."""
        return {blob.path: blob.oid for blob in (await copy.tree(sha, path)).blobs}


def plan_files(read: DefinitionsRead, folder: str) -> set[str]:
    """The files that declare plans, by their paths within the folder. Raises FailedPrecondition where one declares
    anything else, for that is another matter in each environment."""
    files = {each.file for each in read.definitions if each.kind is PLANS}
    mixed = sorted({each.file for each in read.definitions if each.file in files and each.kind is not PLANS})
    if mixed:
        raise FailedPrecondition(
            f"{mixed[0]} declares plans and other objects: give plans files of their own, which can be copied as they are"
        )
    return {path.removeprefix(f"{folder}/") if folder else path for path in files}


def _at(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
