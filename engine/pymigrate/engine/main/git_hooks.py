"""What hosts of repositories post, and what they are told: wired to the sources of one engine."""

import asyncio
import random
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.gitops.host_accounts import HostAccounts
from pymigrate.engine.application.gitops.pull_requests import PullRequests
from pymigrate.engine.application.gitops.telling import Telling
from pymigrate.engine.application.gitops.webhooks import Webhooks
from pymigrate.engine.application.impacts import Impacts
from pymigrate.engine.main.git_sources import GitSources
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.git_hosts import CommitStatus, GitHosts, HostAccount
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings


class GitHooks:
    """Built once for each engine. It follows the passes of the sources."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: SystemClock,
        sources: GitSources,
        impacts: Impacts,
        redactor: Redactor,
    ) -> None:
        self._hosts = _LateHosts(settings.outgoing_allowed_parts, clock)
        accounts = HostAccounts(self._hosts, sources.secrets, redactor.clean)
        self._telling = Telling(store, accounts, clock, random.Random())
        self._pull_requests = PullRequests(store, sources.passes, impacts, accounts, clock, random.Random())
        bells, asked = sources.bells, self._pull_requests.asked
        self.webhooks = Webhooks(store, sources.secrets, sources.pushed, asked, clock, bells.is_under_way)
        sources.passes.follow(self._telling.heard)
        sources.passes.follow(self.webhooks.heard)
        sources.sources.also_tell(self.webhooks.condition)

    async def restore(self) -> None:
        """What an earlier engine may have left untold is told."""
        await self.webhooks.restore()
        await self._telling.restore()

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is done without being asked, each until it is cancelled."""
        yield self._telling.run_loop()
        yield self._pull_requests.run_loop()

    async def close(self) -> None:
        """Keeps what was posted, and ends the connections."""
        await asyncio.gather(self.webhooks.close(), self._hosts.close())


class _LateHosts:
    """Loads what speaks HTTP, and the certificates, when somebody is first told something: most engines tell nobody."""

    def __init__(self, allowed: Sequence[str], clock: Clock) -> None:
        self._allowed = allowed
        self._clock = clock
        self._opened: GitHosts | None = None
        self._opening = asyncio.Lock()

    async def tell_commit(self, account: HostAccount, status: CommitStatus) -> None:
        await (await self._hosts()).tell_commit(account, status)

    async def tell_pull_request(self, account: HostAccount, number: int, marker: str, text: str) -> None:
        await (await self._hosts()).tell_pull_request(account, number, marker, text)

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _hosts(self) -> GitHosts:
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._open)
            return self._opened

    def _open(self) -> GitHosts:
        from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
        from pymigrate.engine.adapters.channels.factory import trusted
        from pymigrate.engine.adapters.git_hosts.hosts import HttpGitHosts

        return HttpGitHosts(OutgoingAddresses(self._allowed), trusted(), self._clock)
