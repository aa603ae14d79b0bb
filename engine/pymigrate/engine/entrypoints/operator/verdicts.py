"""What a pass found out about a custom resource, as conditions that kstatus and `kubectl wait` understand.

`Ready` is always told. `Reconciling`, `Stalled` and `Suspended` are told where they are True alone, and with the first two Ready is not;
these exclude each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pymigrate.engine.domain.errors import Problem
from pymigrate.v1.custom_resource_pb2 import ObjectStatus, RunStatus

REASON_CHARACTERS_MAX = 128
MESSAGE_CHARACTERS_MAX = 1_024
PROBLEMS_MAX = 10
Status = ObjectStatus | RunStatus


class ConditionType(StrEnum):
    """What holds of a resource."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    APPROVED = "Approved"
    VERIFIED = "Verified"


@dataclass(frozen=True, slots=True)
class Condition:
    """One of them. `holds` is None where it is not known. The reason is one word in CamelCase."""

    type: ConditionType
    holds: bool | None
    reason: str
    message: str = ""

    @property
    def status(self) -> str:
        """As the API says it."""
        return "Unknown" if self.holds is None else str(self.holds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a pass. `status` holds the fields beside observedGeneration and conditions; `late_fields` are those of it, as JSON names
    them, that may be written late where nothing else turned. `is_told`: whether it is worth an Event when the reason turns."""

    conditions: Sequence[Condition]
    status: Status
    look_again_seconds: float | None = None
    late_fields: frozenset[str] = frozenset()
    is_told: bool = True

    def __post_init__(self) -> None:
        if wrong := wrong_of(self.conditions):
            raise ValueError(wrong)

    def condition(self, type_: ConditionType) -> Condition | None:
        """The condition of a type, where it is told."""
        return next((each for each in self.conditions if each.type is type_), None)

    def after(self, seconds: float | None) -> "Verdict":
        """The same, looked at again then, or when it says itself if that is sooner."""
        times = [each for each in (seconds, self.look_again_seconds) if each is not None]
        return replace(self, look_again_seconds=min(times) if times else None)


@dataclass(frozen=True, slots=True)
class Findings:
    """What passes end in, around the fields of a status."""

    status: Status
    others: Sequence[Condition] = field(default_factory=tuple)

    def ready(self, reason: str, message: str) -> Verdict:
        """The newest generation holds."""
        return self._verdict(Condition(ConditionType.READY, holds=True, reason=reason, message=message))

    def reconciling(self, reason: str, message: str) -> Verdict:
        """There is something to be done, without a person."""
        return self._verdict(
            Condition(ConditionType.READY, holds=False, reason=reason, message=message),
            Condition(ConditionType.RECONCILING, holds=True, reason=reason, message=message),
        )

    def stalled(self, reason: str, message: str) -> Verdict:
        """A person must act."""
        return self._verdict(
            Condition(ConditionType.READY, holds=False, reason=reason, message=message),
            Condition(ConditionType.STALLED, holds=True, reason=reason, message=message),
        )

    def suspended(self, reason: str, message: str, *, ready: bool | None = None) -> Verdict:
        """It is left alone."""
        return self._verdict(
            Condition(ConditionType.READY, holds=ready, reason=reason, message=message),
            Condition(ConditionType.SUSPENDED, holds=True, reason=reason, message=message),
        )

    def _verdict(self, *conditions: Condition) -> Verdict:
        return Verdict((*conditions, *self.others), self.status)


def wrong_of(conditions: Sequence[Condition]) -> str:
    """What kstatus would misread; empty: nothing."""
    held = {each.type: each.holds for each in conditions}
    if len(held) < len(conditions):
        return "a condition is told twice"
    if ConditionType.READY not in held:
        return "Ready is always told"
    if held.get(ConditionType.RECONCILING) and held.get(ConditionType.STALLED):
        return "what needs a person does not go on by itself"
    if held[ConditionType.READY] and (held.get(ConditionType.RECONCILING) or held.get(ConditionType.STALLED)):
        return "what is not done is not ready"
    return ""


def problems_text(problems: Sequence[Problem]) -> str:
    """`path: what is wrong`, of the first, and how many there are besides."""
    told = [f"{each.field}: {each.description}" if each.field else each.description for each in problems[:PROBLEMS_MAX]]
    if (more := len(problems) - len(told)) > 0:
        told.append(f"and {more:,} more")
    return "; ".join(told)
