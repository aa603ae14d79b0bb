"""A bare copy of a repository on this machine: made whole or not at all, freed of what killed commands left in it, packed now and then, and
thrown away where it is damaged. It is a cache: everything in it can be fetched again."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pymigrate.engine.adapters.git.commands import LOCAL_SECONDS_MAX, OUTPUT_BYTES_MAX, Ended, GitCommands, Talk
from pymigrate.engine.domain.errors import RepositoryUnavailable
from pymigrate.engine.domain.git_names import commit_problem

TIPS = "refs/pymigrate/tips/"
WRITTEN = "refs/pymigrate/written"
TIPS_MAX = 40  # those that newer ones lead to go then
TIPS_KEPT_MAX = 500
PACKS_MAX = 40
PACKING_SECONDS_MAX = 600.0
SHA256_DIGITS = 64
DROPPED_PREFIX = "dropped-"
FRESH_PREFIX = "fresh-"
LEFT_BEHIND = (
    "*.lock",
    "refs/**/*.lock",
    "objects/pack/tmp_*",
    "objects/pack/.tmp-*",
    "objects/??/tmp_obj_*",
    "objects/incoming-*",
    "fast_import_crash_*",
)
# Besides what git may be configured to keep there.
WHOLE = ("HEAD", "config", "objects", "refs")


class Copy:
    """The copy in `folder`. Whoever calls sees to it that one changes it at a time."""

    def __init__(self, folder: Path, commands: GitCommands) -> None:
        self.folder = folder
        self._commands = commands
        self._is_swept = False
        self.generation = 0  # how often it was thrown away: whoever reads one that was reads what is no more

    @property
    def is_there(self) -> bool:
        """Whether there is one, as far as a look at it tells."""
        return all((self.folder / name).exists() for name in WHOLE)

    async def prepare(self, sha: str) -> None:
        """Makes it where there is none, or one whose digests are of another kind than this commit's."""
        object_format = "sha256" if len(sha) == SHA256_DIGITS else "sha1"
        if self.is_there and self._format() != object_format:
            await asyncio.to_thread(self.drop)
        if not self.is_there:
            await self._make(object_format)
        if not self._is_swept:
            self.sweep()

    def sweep(self) -> None:
        """Removes the locks and unfinished files of commands that were killed; none runs now."""
        for pattern in LEFT_BEHIND:
            for left in self.folder.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)
        self._is_swept = True

    def drop(self) -> None:
        """Deletes it; at any moment it is there as a whole, or it is not."""
        self._is_swept = False
        self.generation += 1
        if not self.folder.exists():
            return
        aside = tempfile.mkdtemp(prefix=DROPPED_PREFIX, dir=self.folder.parent)
        self.folder.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)

    async def holds(self, sha: str) -> bool:
        """Whether a commit is here with everything that it leads to: a reference is only set where all of it is."""
        if not self.is_there:
            return False
        ended = await self.git(
            "for-each-ref", "--count=1", f"--contains={sha}", "--format=%(refname)", "refs/pymigrate/"
        )
        return ended.code == 0 and bool(ended.output.strip())

    async def is_whole(self) -> bool:
        """Whether everything is here that its references lead to. Reads all of it: for copies that are suspected."""
        return self.is_there and (await self.git("rev-list", "--objects", "--all", "--quiet")).code == 0

    async def tidy(self) -> None:
        """Bounds what gathers with time: references, and packs, none of whose objects is ever lost by it."""
        tips = tuple(self._loose_tips())
        if len(tips) > TIPS_MAX:
            await self._forget_tips()
        if len(tuple((self.folder / "objects" / "pack").glob("*.pack"))) > PACKS_MAX:
            await self.git("repack", "-d", "-q", "--geometric=2", seconds_max=PACKING_SECONDS_MAX)

    async def git(
        self,
        *arguments: str,
        told: bytes = b"",
        seconds_max: float = LOCAL_SECONDS_MAX,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
    ) -> Ended:
        """A command that asks nobody."""
        return await self._commands.run(
            arguments, folder=self.folder, told=told, seconds_max=seconds_max, output_bytes_max=output_bytes_max
        )

    def tip(self, name: str) -> str:
        """The commit that a reference was just set to; empty where that is not told."""
        try:
            told = (self.folder / name).read_text().strip()
        except OSError:
            return ""
        return "" if commit_problem(told) else told

    def talk(self, *arguments: str) -> AbstractAsyncContextManager[Talk]:
        """A command that answers questions."""
        return self._commands.talk(arguments, self.folder)

    async def _make(self, object_format: str) -> None:
        await asyncio.to_thread(self.drop)
        fresh = Path(tempfile.mkdtemp(prefix=FRESH_PREFIX, dir=self.folder.parent))
        try:
            arguments = (
                "init",
                "--quiet",
                "--bare",
                "--template=",
                f"--object-format={object_format}",
                "--initial-branch=none",
            )
            ended = await self._commands.run(arguments, folder=fresh)
            if ended.code:
                raise RepositoryUnavailable(f"a copy can't be made: {ended.said.strip()[:200]}")
            await asyncio.to_thread(fresh.rename, self.folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._is_swept = True

    def _format(self) -> str:
        try:
            told = (self.folder / "config").read_text(errors="replace")
        except OSError:
            return ""
        found = re.search(r"objectformat\s*=\s*(\w+)", told, re.IGNORECASE)
        return found[1].lower() if found else "sha1"

    def _loose_tips(self) -> Iterator[Path]:
        yield from (self.folder / TIPS).glob("*")

    async def _forget_tips(self) -> None:
        """Keeps those that no other leads to, the newest of them; their objects stay in any case."""
        told = await self.git("for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", TIPS)
        named = [line.split(" ", 1) for line in told.output.decode().splitlines()]
        if told.code or not named:
            return
        alone = await self.git("merge-base", "--independent", *dict.fromkeys(sha for sha, _ in named))
        if alone.code:
            return
        kept = set(alone.output.decode().split())
        kept_names = [name for sha, name in named if sha in kept][:TIPS_KEPT_MAX]
        gone = {name for _, name in named} - set(kept_names)
        await self.git("update-ref", "--stdin", told="".join(f"delete {name}\n" for name in sorted(gone)).encode())
