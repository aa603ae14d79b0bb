"""The kinds of objects that a file may declare: by which calls each is written, and how it is named."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import connection_pb2, environment_pb2, notification_pb2, plan_pb2, secret_backend_pb2

_OUTPUT_ONLY = frozenset(
    {"name", "uid", "etag", "create_time", "update_time", "managed_by", "plan_hash", "definition_hash"}
)


@dataclass(frozen=True, slots=True)
class DeclaredKind:
    """A kind by its word, `AlertRule`. `stub` gives the service that it is written through, `module` holds the requests' messages."""

    word: str
    message: Callable[[], Message]
    module: ModuleType
    stub: Callable[[Client], Any]
    output_only: frozenset[str] = frozenset()

    @property
    def field(self) -> str:
        """`alert_rule`, as requests name it."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.word).lower()

    @property
    def collection(self) -> str:
        """`alertRules`, as resource names have it."""
        return f"{self.word[0].lower()}{self.word[1:]}s"

    @property
    def is_top(self) -> bool:
        """Whether it lies in no environment."""
        return self.word == "Environment"

    def name(self, environment: str, object_id: str) -> str:
        """The resource name of one."""
        return f"{'' if self.is_top else f'environments/{environment}/'}{self.collection}/{object_id}"

    def settable(self) -> list[str]:
        """The fields that a definition may set, in the order of the contract."""
        unset = _OUTPUT_ONLY | self.output_only
        return [field.name for field in self.message().DESCRIPTOR.fields if field.name not in unset]

    def call(self, client: Client, verb: str, **fields: Any) -> Any:
        """One call of the kind's, as `Get`."""
        request = getattr(self.module, f"{verb}{self.word}Request")(**fields)
        return getattr(self.stub(client), f"{verb}{self.word}")(request, **client.options)


def _notification(word: str, message: Callable[[], Message], output_only: frozenset[str] = frozenset()) -> DeclaredKind:
    return DeclaredKind(word, message, notification_pb2, lambda client: client.notifications, output_only)


KINDS: dict[str, DeclaredKind] = {
    kind.word: kind
    for kind in (
        DeclaredKind("Environment", environment_pb2.Environment, environment_pb2, lambda client: client.environments),
        DeclaredKind(
            "SecretBackend",
            secret_backend_pb2.SecretBackend,
            secret_backend_pb2,
            lambda client: client.secret_backends,
        ),
        DeclaredKind("Connection", connection_pb2.Connection, connection_pb2, lambda client: client.connections),
        DeclaredKind("Department", environment_pb2.Department, environment_pb2, lambda client: client.environments),
        DeclaredKind("Plan", plan_pb2.Plan, plan_pb2, lambda client: client.plans),
        _notification("NotificationChannel", notification_pb2.NotificationChannel),
        _notification("Stakeholder", notification_pb2.Stakeholder),
        _notification("OnCallSchedule", notification_pb2.OnCallSchedule),
        _notification("NotificationTemplate", notification_pb2.NotificationTemplate, frozenset({"version"})),
        _notification("AlertRule", notification_pb2.AlertRule),
        _notification("Silence", notification_pb2.Silence),
    )
}
"""By their word; objects name others of their own kind, and of those above."""
