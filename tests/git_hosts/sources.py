"""A source as it is stored, and its secrets in memory."""

import asyncio
from collections.abc import Sequence
from typing import Any

from pymigrate.engine.application.gitops.git_source_kinds import COLLECTION
from pymigrate.engine.ports.secrets import Secret, parse_secret_ref
from pymigrate.engine.ports.store import Resource, Store
from pymigrate.engine.testing.clock import START
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import git_source_pb2 as pb

NAME = "gitSources/warehouse"
UID = "5d7c0f6e"
SECRET = "It's a Secret to Everybody"
TOKEN = "a-token-of-the-test"


def source(provider: int = pb.GIT_PROVIDER_GITHUB, **changed: Any) -> pb.GitSource:
    """One with a webhook, whose host is told everything."""
    repository = "acme/data/definitions" if provider == pb.GIT_PROVIDER_GITLAB else "acme/definitions"
    made = pb.GitSource(
        name=NAME,
        url="https://git.example.com/acme/definitions.git",
        branch="main",
        webhook=pb.GitWebhook(provider=provider, secrets=["env://HOOK"]),  # type: ignore[arg-type]  # one of the enum
        host=pb.GitHost(
            provider=provider,  # type: ignore[arg-type]  # one of the enum
            repository=repository,
            token="env://TOKEN",
            reports_commits=True,
            reports_pull_requests=True,
        ),
    )
    made.MergeFrom(pb.GitSource(**changed))
    return made


async def keep(store: Store, declared: pb.GitSource, version: int = 1) -> pb.GitSource:
    """Stores a source, in the place of the one before where there is one; as it is read."""
    resource = Resource(
        NAME, COLLECTION, "", UID, version, declared.SerializeToString(), START, START, managed_by="api"
    )
    if version == 1:
        await store.transact(lambda unit: unit.resources.insert(resource))
    else:
        await store.transact(lambda unit: unit.resources.update(resource, version - 1))
    found = pb.GitSource()
    found.CopyFrom(declared)
    found.uid = UID
    return found


class SecretsOfSources:
    """Reads from memory, as soon as it may go on. `asked` has how each reading was asked for."""

    def __init__(self, memory: MemorySecrets | None = None) -> None:
        self.memory = memory or MemorySecrets({"HOOK": SECRET, "TOKEN": TOKEN})
        self.asked: list[bool] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, source: pb.GitSource, references: Sequence[str], *, is_again: bool = False) -> list[Secret]:
        """The values."""
        del source
        self.asked.append(is_again)
        await self.go_on.wait()
        refs = [parse_secret_ref(each, "secrets") for each in references]
        return [self.memory.reread(ref) if is_again else self.memory.read(ref) for ref in refs]
