"""All hosts behind one port, over connections that lead only where they may."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.outgoing_http import OutgoingTransport
from pymigrate.engine.adapters.git_hosts import bitbucket, github, gitlab
from pymigrate.engine.adapters.git_hosts.calling import CALL_SECONDS_MAX, HostClient
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.git_hosts import CommitStatus, HostAccount

KEPT_MAX = 10


@dataclass(frozen=True, slots=True)
class _Host:
    tell_commit: Callable[[HostClient, HostAccount, CommitStatus], Awaitable[None]]
    tell_pull_request: Callable[[HostClient, HostAccount, int, str, str], Awaitable[None]]


HOSTS: Mapping[str, _Host] = {
    "github": _Host(github.tell_commit, github.tell_pull_request),
    "gitlab": _Host(gitlab.tell_commit, gitlab.tell_pull_request),
    "bitbucket": _Host(bitbucket.tell_commit, bitbucket.tell_pull_request),
}


class HttpGitHosts:
    """`addresses` says what may be connected to, `trust` whose certificates are good."""

    def __init__(self, addresses: OutgoingAddresses, trust: ssl.SSLContext, clock: Clock) -> None:
        transport = OutgoingTransport(addresses, trust, KEPT_MAX)
        http = httpx.AsyncClient(transport=transport, timeout=CALL_SECONDS_MAX, trust_env=False, follow_redirects=False)
        self._client = HostClient(http, clock)

    async def tell_commit(self, account: HostAccount, status: CommitStatus) -> None:
        """Sets a status; nothing where the host says the same already."""
        await HOSTS[account.provider].tell_commit(self._client, account, status)

    async def tell_pull_request(self, account: HostAccount, number: int, marker: str, text: str) -> None:
        """Comments on a pull request, or changes our comment."""
        await HOSTS[account.provider].tell_pull_request(self._client, account, number, marker, text)

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.http.aclose()
