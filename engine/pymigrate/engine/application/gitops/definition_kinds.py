"""The words of kinds that files may declare, in the order in which they may name one another: each names its own and those above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.kind import OUTPUT_ONLY, Kind
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS, PLANS
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_TEMPLATES,
    ON_CALL_SCHEDULES,
    SILENCES,
    STAKEHOLDERS,
)
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS

_TOP = frozenset({"Environment", "GitSource"})


@dataclass(frozen=True, slots=True)
class DefinitionKind:
    """A kind by its word, `AlertRule`."""

    word: str
    kind: Kind[Any]

    @property
    def is_top(self) -> bool:
        """Whether it lies in no environment."""
        return self.word in _TOP

    def name(self, environment: str, object_id: str) -> str:
        """The resource name of one, by the last segments of its environment's name and its own."""
        return f"{'' if self.is_top else f'environments/{environment}/'}{self.kind.collection}/{object_id}"

    def settable(self) -> list[str]:
        """The fields that a definition may set, in the order of the contract: with those that are stored apart, as a plan's phases."""
        unset = OUTPUT_ONLY | self.kind.output_only
        return [field.name for field in self.kind.message().DESCRIPTOR.fields if field.name not in unset]


DEFINITION_KINDS: Mapping[str, DefinitionKind] = {
    word: DefinitionKind(word, kind)
    for kind in (
        *(ENVIRONMENTS, SECRET_BACKENDS, CONNECTIONS, DEPARTMENTS, PLANS, NOTIFICATION_CHANNELS, STAKEHOLDERS),
        *(ON_CALL_SCHEDULES, NOTIFICATION_TEMPLATES, ALERT_RULES, SILENCES, GIT_SOURCES),
    )
    for word in [kind.message().DESCRIPTOR.name]
}
