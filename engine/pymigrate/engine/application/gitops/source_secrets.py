"""The secrets that sources refer to, read through the backends of their environments as they are declared now, on threads of their own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from pymigrate.engine.application.declared_backends import declared_backends
from pymigrate.engine.application.gitops.aside import Aside, on_a_thread
from pymigrate.engine.application.references import with_their_own
from pymigrate.engine.ports.repository import HttpsLogin, Remote, SshLogin
from pymigrate.engine.ports.secrets import DeclaredSecrets, Secret, parse_secret_ref
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2, secret_backend_pb2

TIMEOUT_SECONDS_DEFAULT = 120.0
Backends = Mapping[str, secret_backend_pb2.SecretBackend]
OpenBackends = Callable[[Backends], AbstractContextManager[DeclaredSecrets]]


class SourceSecrets:
    """Reads what a source refers to, and nothing else. Raises SecretMissing, SecretRefused and SecretsUnavailable, with the reference and
    never with a value."""

    def __init__(self, store: Store, opened: OpenBackends, aside: Aside = on_a_thread) -> None:
        self._store = store
        self._opened = opened
        self._aside = aside

    async def read(
        self, source: git_source_pb2.GitSource, references: Sequence[str], *, is_again: bool = False
    ) -> list[Secret]:
        """The values, in order. `is_again`: as their backends have them now, whatever is in memory: one may have been rotated."""
        if not references:
            return []
        backends = await self._store.read(lambda unit: _backends(unit, source))
        return await self._aside(partial(self._read, backends, references, is_again=is_again))

    async def remote(self, source: git_source_pb2.GitSource, *, is_again: bool = False) -> Remote:
        """Where a source's repository is, and how one logs in there."""
        timeout = float(source.timeout_seconds or TIMEOUT_SECONDS_DEFAULT)
        match source.WhichOneof("login"):
            case "ssh":
                key = (await self.read(source, [source.ssh.private_key], is_again=is_again))[0]
                return Remote(source.url, SshLogin(key, source.ssh.known_hosts), timeout)
            case "https":
                token = await self.read(source, [source.https.token] if source.https.token else [], is_again=is_again)
                login = HttpsLogin(source.https.username, token[0] if token else None, source.https.ca_certificates)
                return Remote(source.url, login, timeout)
            case _:
                return Remote(source.url, timeout_seconds=timeout)

    def _read(self, backends: Backends, references: Sequence[str], *, is_again: bool) -> list[Secret]:
        refs = [parse_secret_ref(each, "login") for each in references]
        needed = {ref.scheme: backends[ref.scheme] for ref in refs if ref.scheme in backends}
        with self._opened(with_their_own(needed, backends)) as secrets:
            return [secrets.reread(ref) if is_again else secrets.read(ref) for ref in refs]


def _backends(unit: Unit, source: git_source_pb2.GitSource) -> Backends:
    return declared_backends(unit, f"environments/{source.environment}") if source.environment else {}
