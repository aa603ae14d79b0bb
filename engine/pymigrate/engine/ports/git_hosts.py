"""Those who host repositories, as far as they are told something: statuses of commits, and comments of pull requests."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pymigrate.engine.ports.secrets import Secret


class StatusState(StrEnum):
    """How it stands with a commit."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """What is said of a commit. `context` names who says it, such as `pymigrate/prod`; a later one of the same context takes its place.
    `description` is cut to what the host takes."""

    commit: str
    context: str
    state: StatusState
    description: str


@dataclass(frozen=True, slots=True)
class HostAccount:
    """How a host's API is called for one repository. `provider` is `github`, `gitlab` or `bitbucket`."""

    provider: str
    api_url: str
    repository: str
    token: Secret


class GitHosts(Protocol):
    """The hosts' APIs. Raise GitHostUnavailable (with how long to wait) and GitHostRefused."""

    async def tell_commit(self, account: HostAccount, status: CommitStatus) -> None:
        """Sets a status."""
        ...

    async def tell_pull_request(self, account: HostAccount, number: int, marker: str, text: str) -> None:
        """Comments on a pull request, in Markdown; a comment of ours with the same marker is replaced by it, and left alone where it says
        the same."""
        ...

    async def close(self) -> None:
        """Ends the connections."""
        ...
