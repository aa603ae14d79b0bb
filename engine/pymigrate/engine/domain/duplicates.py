"""What a rule has told lately, so that the same again is counted and not told: the same is an event of one type, subject and reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.domain.notices import Occurrence, Rule

TOLD_KEPT_MAX = 20_000
Sameness = tuple[str, str, str, str, str]


def sameness(rule: Rule, occurrence: Occurrence) -> Sameness:
    """What is equal of two occurrences that are the same to a rule."""
    return rule.id, rule.uid, occurrence.type, occurrence.subject, occurrence.reason


def is_so_recent(rule: Rule, told: datetime, occurrence: Occurrence) -> bool:
    """Whether an occurrence lies so close to one that was told at its time."""
    return abs((occurrence.time - told).total_seconds()) < rule.duplicate_seconds


@dataclass(frozen=True, slots=True)
class Lately:
    """When the event that was told happened, and the deliveries that tell it, by their resource names."""

    time: datetime
    deliveries: tuple[str, ...]


class ToldLately:
    """What is known of it: of a rule everything, once it was learned from the ledger; the least recent goes beyond TOLD_KEPT_MAX."""

    def __init__(self) -> None:
        self._known: dict[Sameness, Lately] = {}
        self._learned: set[tuple[str, str]] = set()

    def is_learned(self, rule: Rule) -> bool:
        """Whether what the rule told before is known."""
        return (rule.id, rule.uid) in self._learned

    def learn(self, rule: Rule, told: Mapping[Sameness, Lately]) -> None:
        """This is what the ledger says of a rule."""
        self._learned.add((rule.id, rule.uid))
        self.keep(told)

    def find(self, same: Sameness) -> Lately | None:
        """The last time that it was told."""
        return self._known.get(same)

    def keep(self, told: Mapping[Sameness, Lately]) -> None:
        """These were told now."""
        for same, lately in told.items():
            self._known.pop(same, None)
            self._known[same] = lately
        while len(self._known) > TOLD_KEPT_MAX:
            del self._known[next(iter(self._known))]
