"""What holds of a source: one place that turns what a pass found into conditions, in their order, and says since when each is so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pymigrate.v1 import git_source_pb2

MESSAGE_CHARACTERS_MAX = 1_000


class ConditionType(StrEnum):
    """The conditions, in the order in which a pass comes to them; `READY` is over all and is told first."""

    READY = "Ready"
    AVAILABLE = "Available"
    VERIFIED = "Verified"
    VALID = "Valid"
    APPLIED = "Applied"
    IN_SYNC = "InSync"
    REVERSED = "Reversed"


ORDER = tuple(ConditionType)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pass found of one condition."""

    is_met: bool
    reason: str
    message: str


@dataclass(slots=True)
class Findings:
    """What one pass finds. A condition that it does not come to stays as it was; `is_waiting` of what never was."""

    found: dict[ConditionType, Finding] = field(default_factory=dict)

    def meet(self, type_: ConditionType, reason: str, message: str) -> None:
        """It holds."""
        self.found[type_] = Finding(is_met=True, reason=reason, message=message)

    def miss(self, type_: ConditionType, reason: str, message: str) -> None:
        """It does not hold."""
        self.found[type_] = Finding(is_met=False, reason=reason, message=message)

    def conditions(
        self, before: Iterable[git_source_pb2.GitCondition], now: datetime
    ) -> list[git_source_pb2.GitCondition]:
        """All of them, in order. The time of one moves only when whether it holds, or the reason, does."""
        known = {each.type: each for each in before}
        listed = [_condition(type_, self._of(type_, known), known, now) for type_ in ORDER if type_ is not ORDER[0]]
        ready = self.found.get(ConditionType.READY) or _ready(listed)
        return [_condition(ConditionType.READY, ready, known, now), *listed]

    def _of(self, type_: ConditionType, known: Mapping[str, git_source_pb2.GitCondition]) -> Finding:
        if type_ in self.found:
            return self.found[type_]
        if (before := known.get(type_)) is not None:
            return Finding(before.is_met, before.reason, before.message)
        if type_ is ConditionType.REVERSED:
            return Finding(is_met=True, reason="NOTHING_TO_REVERSE", message="no commit asks for runs to be undone")
        return Finding(is_met=False, reason="WAITING", message="no pass has come so far yet")


def ready_of(conditions: Iterable[git_source_pb2.GitCondition]) -> git_source_pb2.GitCondition | None:
    """The one over all; None before the first pass."""
    return next((each for each in conditions if each.type == ConditionType.READY), None)


def first_unmet(conditions: Iterable[git_source_pb2.GitCondition]) -> git_source_pb2.GitCondition | None:
    """The first one, in their order, that does not hold."""
    return next((each for each in conditions if each.type != ConditionType.READY and not each.is_met), None)


def alike(left: git_source_pb2.GitCondition, right: git_source_pb2.GitCondition) -> bool:
    """Whether they say the same, however it is worded."""
    return (left.type, left.is_met, left.reason) == (right.type, right.is_met, right.reason)


def _ready(listed: Iterable[git_source_pb2.GitCondition]) -> Finding:
    unmet = [each for each in listed if not each.is_met]
    # What no pass has come to says nothing of why: a later one that was looked at does.
    missing = next((each for each in unmet if each.reason != "WAITING"), unmet[0] if unmet else None)
    if missing is None:
        return Finding(is_met=True, reason="READY", message="what is stored is what the repository says")
    return Finding(is_met=False, reason=missing.reason, message=missing.message)


def _condition(
    type_: ConditionType, found: Finding, known: Mapping[str, git_source_pb2.GitCondition], now: datetime
) -> git_source_pb2.GitCondition:
    condition = git_source_pb2.GitCondition(
        type=type_, is_met=found.is_met, reason=found.reason, message=found.message[:MESSAGE_CHARACTERS_MAX]
    )
    before = known.get(type_)
    if before is not None and alike(before, condition):
        condition.transition_time.CopyFrom(before.transition_time)
    else:
        condition.transition_time.FromDatetime(now)
    return condition
