"""By which calls each kind of object that a file may declare is read and written."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS, DefinitionKind
from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import connection_pb2, environment_pb2, git_source_pb2, notification_pb2, plan_pb2, secret_backend_pb2


@dataclass(frozen=True, slots=True)
class DeclaredKind:
    """A kind with its calls: `stub` gives the service that it is written through, `module` holds the requests' messages."""

    definition: DefinitionKind
    module: ModuleType
    stub: Callable[[Client], Any]

    @property
    def word(self) -> str:
        """`AlertRule`."""
        return self.definition.word

    @property
    def field(self) -> str:
        """`alert_rule`, as requests name it."""
        return self.definition.kind.noun

    @property
    def collection(self) -> str:
        """`alertRules`, as resource names have it."""
        return self.definition.kind.collection

    def call(self, client: Client, verb: str, **fields: Any) -> Any:
        """One call of the kind's, as `Get`."""
        request = getattr(self.module, f"{verb}{self.word}Request")(**fields)
        return getattr(self.stub(client), f"{verb}{self.word}")(request, **client.options)


_CALLS: dict[str, tuple[ModuleType, Callable[[Client], Any]]] = {
    "Environment": (environment_pb2, lambda client: client.environments),
    "SecretBackend": (secret_backend_pb2, lambda client: client.secret_backends),
    "Connection": (connection_pb2, lambda client: client.connections),
    "Department": (environment_pb2, lambda client: client.environments),
    "Plan": (plan_pb2, lambda client: client.plans),
    "GitSource": (git_source_pb2, lambda client: client.git_sources),
}
_NOTIFICATIONS = (notification_pb2, lambda client: client.notifications)
KINDS: dict[str, DeclaredKind] = {
    word: DeclaredKind(kind, *_CALLS.get(word, _NOTIFICATIONS)) for word, kind in DEFINITION_KINDS.items()
}
"""By their word."""
