"""What is told to the host of a source's repository, by the source's account there. Its token is read again once where it is not
taken."""

from collections.abc import Awaitable, Callable

from pymigrate.engine.application.gitops.webhook_secrets import ReadsSecrets
from pymigrate.engine.domain.errors import GitHostRefused
from pymigrate.engine.ports.git_hosts import CommitStatus, GitHosts, HostAccount
from pymigrate.v1 import git_source_pb2 as pb

PROVIDERS = {
    pb.GIT_PROVIDER_GITHUB: "github",
    pb.GIT_PROVIDER_GITLAB: "gitlab",
    pb.GIT_PROVIDER_BITBUCKET: "bitbucket",
}


class HostAccounts:
    """Tells hosts. `clean` takes secrets out of what is told. Raises SecretMissing, SecretRefused, SecretsUnavailable, GitHostRefused
    and GitHostUnavailable."""

    def __init__(self, hosts: GitHosts, secrets: ReadsSecrets, clean: Callable[[str], str] = str) -> None:
        self._hosts = hosts
        self._secrets = secrets
        self.clean = clean

    async def tell_commit(self, source: pb.GitSource, status: CommitStatus) -> None:
        """Sets a status."""
        cleaned = CommitStatus(status.commit, status.context, status.state, self.clean(status.description))
        await self._call(source, lambda account: self._hosts.tell_commit(account, cleaned))

    async def tell_pull_request(self, source: pb.GitSource, number: int, marker: str, text: str) -> None:
        """Comments, or replaces the comment that begins with the marker."""
        cleaned = self.clean(text)
        await self._call(source, lambda account: self._hosts.tell_pull_request(account, number, marker, cleaned))

    async def _call(self, source: pb.GitSource, work: Callable[[HostAccount], Awaitable[None]]) -> None:
        account = await self._open(source, is_again=False)
        try:
            await work(account)
        except GitHostRefused:
            fresh = await self._open(source, is_again=True)
            if fresh.token == account.token:
                raise
            await work(fresh)

    async def _open(self, source: pb.GitSource, *, is_again: bool) -> HostAccount:
        host = source.host
        (token,) = await self._secrets.read(source, [host.token], is_again=is_again)
        return HostAccount(PROVIDERS[host.provider], host.api_url, host.repository, token)
