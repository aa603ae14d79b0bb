"""How the host of a source's repository is called, and its token, which is read again once where the host does not take it."""

from collections.abc import Awaitable, Callable

from pymigrate.engine.application.gitops.webhooks import ReadsSecrets
from pymigrate.engine.domain.errors import GitHostRefused
from pymigrate.engine.ports.git_hosts import HostAccount
from pymigrate.v1 import git_source_pb2 as pb

PROVIDERS = {
    pb.GIT_PROVIDER_GITHUB: "github",
    pb.GIT_PROVIDER_GITLAB: "gitlab",
    pb.GIT_PROVIDER_BITBUCKET: "bitbucket",
}


class HostAccounts:
    """Opens accounts. Raises SecretMissing, SecretRefused and SecretsUnavailable beside what the calls raise."""

    def __init__(self, secrets: ReadsSecrets) -> None:
        self._secrets = secrets

    async def call(self, source: pb.GitSource, work: Callable[[HostAccount], Awaitable[None]]) -> None:
        """Does something at the host of a source."""
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
