"""What is asked of a repository itself: where a name leads, a fetch into the copy, a push out of it. What git answers is told as it is."""

from collections.abc import Sequence
from typing import assert_never

from pymigrate.engine.adapters.git.commands import Ended, GitCommands
from pymigrate.engine.adapters.git.copies import Copy
from pymigrate.engine.adapters.git.logins import Access, Logins
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import HttpsLogin, Remote, SshLogin
from pymigrate.engine.ports.secrets import Secret

URL = "{url}"  # stands for what git is told, which a login may change
FETCH = (
    "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
    "--no-show-forced-updates", "--no-write-commit-graph", "--force", "--",
)  # fmt: skip
PUSH = (
    "push", "--porcelain", "--quiet", "--atomic", "--no-verify", "--no-signed", "--no-follow-tags", "--no-recurse-submodules",
)  # fmt: skip


class Remotes:
    """Speaks to the repositories of one copy. Whoever fetches or pushes sees to it that nobody else changes the copy."""

    def __init__(self, copy: Copy, commands: GitCommands, logins: Logins, redactor: Redactor) -> None:
        self._copy = copy
        self._commands = commands
        self._logins = logins
        self._redactor = redactor

    async def look_up(self, remote: Remote, name: str) -> Ended:
        """Where a full name leads, and what it is a tag of; the copy need not be there."""
        return await self._ask(remote, ("ls-remote", "--quiet", "--", URL, name, f"{name}^{{}}"))

    async def fetch(self, remote: Remote, wanted: str, place: str) -> Ended:
        """Brings a commit or a full name, and sets the reference `place` to it."""
        return await self._ask_beside(remote, (*FETCH, URL, f"+{wanted}:{place}"))

    async def push(self, remote: Remote, sha: str, name: str, expected: str) -> Ended:
        """Sets a full name to a commit, where it leads to `expected` (empty: nowhere) until then."""
        return await self._ask_beside(
            remote, (*PUSH, f"--force-with-lease={name}:{expected}", "--", URL, f"{sha}:{name}")
        )

    async def _ask_beside(self, remote: Remote, arguments: Sequence[str]) -> Ended:
        """A command that uses the copy."""
        is_good = False
        try:
            ended = await self._ask(remote, arguments, is_beside_copy=True)
            is_good = not ended.code
        finally:
            if not is_good:
                self._copy.sweep()  # what was ended in the middle has left its locks, and what it had by then
        return ended

    async def _ask(self, remote: Remote, arguments: Sequence[str], *, is_beside_copy: bool = False) -> Ended:
        for secret in _secrets_of(remote):
            self._redactor.note(secret)
        async with self._logins.access(remote) as access:
            return await self._commands.run(
                _with_url(arguments, access),
                folder=self._copy.folder if is_beside_copy else None,
                environment=access.environment,
                settings=access.settings,
                seconds_max=remote.timeout_seconds,
            )


def _with_url(arguments: Sequence[str], access: Access) -> list[str]:
    return [access.url if argument == URL else argument for argument in arguments]


def _secrets_of(remote: Remote) -> tuple[Secret, ...]:
    match remote.login:
        case SshLogin(private_key=key):
            return (key,)
        case HttpsLogin(token=token):
            return () if token is None else (token,)
        case _ as unreachable:
            assert_never(unreachable)
