"""Hosts of repositories in memory: what they were told, and how they fail as a test says."""

from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount


@dataclass
class MemoryGitHosts:
    """`failures` are raised in order, before anything is taken; `tokens` are those that calls were made with. A comment is kept by number
    and marker."""

    statuses: list[CommitStatus] = field(default_factory=list)
    comments: dict[tuple[int, str], str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    failures: list[PyMigrateError] = field(default_factory=list)
    told_count: int = 0

    async def tell_commit(self, account: HostAccount, status: CommitStatus) -> None:
        """Sets a status."""
        self._called(account)
        self.statuses.append(status)

    async def tell_pull_request(self, account: HostAccount, number: int, marker: str, text: str) -> None:
        """Comments, or replaces the comment."""
        self._called(account)
        self.told_count += 1
        self.comments[number, marker] = text

    async def close(self) -> None:
        """Nothing is open."""

    def _called(self, account: HostAccount) -> None:
        self.tokens.append(account.token.reveal())
        if self.failures:
            raise self.failures.pop(0)
