"""A copy that is looked at as soon as it says what no whole one says: a damaged one is thrown away and fetched again, and whoever asked is
told so. What is known to be in it is remembered, so that asking again costs nothing."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import structlog

from pymigrate.engine.adapters.git import objects
from pymigrate.engine.adapters.git.commands import GitCommands
from pymigrate.engine.adapters.git.copies import TIPS, Copy
from pymigrate.engine.adapters.git.reading import CopyDamaged, ObjectMissing, ObjectReader
from pymigrate.engine.adapters.git.refusals import Refusals, is_disk_full
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.repository import Commit

log = structlog.get_logger(__name__)
T = TypeVar("T")
HELD_MAX = 10_000
COMMITS_MAX = 8  # which may have long messages


class CheckedCopy:
    """One at a time changes the copy, and has `turn`; any number read it."""

    def __init__(self, folder: Path, commands: GitCommands, refusals: Refusals) -> None:
        self.copy = Copy(folder, commands)
        self.reader = ObjectReader(self.copy)
        self.turn = asyncio.Lock()
        self._refusals = refusals
        self._commits: dict[str, Commit] = {}  # of those that were read last
        self._held: set[str] = set()  # known to be here

    async def holds(self, sha: str) -> bool:
        """Whether a commit is here with all that it leads to."""
        if sha in self._held and self.copy.is_there:
            return True
        if not self.copy.is_there or await self._is_missing(sha) or not await self.copy.holds(sha):
            return False
        self.note(sha)
        return True

    def note(self, sha: str) -> None:
        """A reference to a commit is set, and so all of it is here."""
        if len(self._held) >= HELD_MAX:
            self._held.clear()
        self._held.add(sha)

    async def keep(self, sha: str) -> None:
        """What was made here is here, as what was fetched is. Whoever calls has the turn."""
        ended = await self.copy.git("update-ref", f"{TIPS}{sha}", sha)
        if ended.code:
            await self.suspect_in_turn(ended.said)
        self.note(sha)

    async def commit(self, sha: str) -> Commit:
        """One commit. Raises RepositoryRefused with COMMIT_MISSING."""
        if sha not in self._commits:
            if len(self._commits) >= COMMITS_MAX:
                self._commits.clear()
            self._commits[sha] = objects.commit_of(sha, await self.raw_commit(sha))
        return self._commits[sha]

    async def raw_commit(self, sha: str) -> bytes:
        """A commit as git keeps it. Raises RepositoryRefused with COMMIT_MISSING."""
        objects.check_sha(sha)
        raw = None
        if self.copy.is_there:
            raw = await self._checked(self.reader.commit(sha, objects.COMMIT_BYTES_MAX))
        if raw is None:
            raise RepositoryRefused("COMMIT_MISSING", f"commit {sha} is not here: it has to be fetched first")
        return raw

    async def kind(self, name: str) -> tuple[str, str]:
        """The digest and the kind of what a name leads to; empty for nothing."""
        if not self.copy.is_there:
            return "", ""
        return await self._checked(self.reader.kind(name))

    async def contents(self, oids: Sequence[str], bytes_max: int) -> Mapping[str, bytes]:
        """What objects hold. Raises RepositoryRefused for larger ones."""
        return await self._checked(self.reader.contents(oids, bytes_max))

    async def local(self, *arguments: str) -> bytes:
        """What a command says that asks nobody, and never fails in a whole copy."""
        ended = await self.copy.git(*arguments)
        if ended.code:
            await self.suspect(ended.said)
        return ended.output

    async def suspect(self, said: str) -> NoReturn:
        """Looks at the copy, which said something that it never says when it is whole; always raises."""
        async with self.turn:
            await self.suspect_in_turn(said)

    async def suspect_in_turn(self, said: str) -> NoReturn:
        """As `suspect`, for who has the turn."""
        if not await self.copy.is_whole():
            await self._throw_away(said)
        if is_disk_full(said):
            raise self._refusals.of(said, "the copy on this machine")
        raise RepositoryRefused(
            "COMMIT_MISSING",
            f"what is asked for is not here: it has to be fetched first ({self._refusals.quoted(said)})",
        )

    async def drop_damaged(self, said: str) -> str:
        """Deletes a copy that is damaged; what it said, as it may be told. Whoever calls has the turn."""
        told = self._refusals.quoted(said)
        log.warning("git.copy_thrown_away", copy=self.copy.folder.name, said=told)
        await self.drop()
        return told

    async def drop(self) -> None:
        """Deletes the copy. Whoever calls has the turn."""
        self._held.clear()
        self._commits.clear()
        await asyncio.to_thread(self.copy.drop)

    async def _is_missing(self, sha: str) -> bool:
        """Whether the copy does not even have the commit itself, which is soon told."""
        try:
            return not (await self.reader.kind(sha))[1]
        except CopyDamaged:
            return False  # which whoever reads more of it finds, and mends

    async def _checked(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except ObjectMissing as missing:
            await self.suspect(str(missing))
        except CopyDamaged as damage:
            async with self.turn:
                await self._throw_away(str(damage))

    async def _throw_away(self, said: str) -> NoReturn:
        """Whoever fetches next makes a new one."""
        told = await self.drop_damaged(said)
        raise RepositoryUnavailable(
            f"the copy on this machine was damaged and is thrown away; it is fetched again ({told})"
        )
