"""The copies of all sources, in a folder of the engine's own, which an engine that was killed may have left unfinished."""

import re
import shutil
from pathlib import Path

from pymigrate.engine.adapters.git.commands import FILE_BYTES_MAX, GitCommands
from pymigrate.engine.adapters.git.copies import DROPPED_PREFIX, FRESH_PREFIX
from pymigrate.engine.adapters.git.logins import Logins
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.ports.redaction import Redactor

UID = re.compile(r"[a-z0-9-]{1,64}")
HOME = "home"
RESERVED = frozenset({HOME})


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
