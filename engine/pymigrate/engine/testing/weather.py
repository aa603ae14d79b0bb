"""What goes wrong in a simulation, and when: spells of trouble, drawn by chance, each of one kind and at one place.

Whoever could be hit asks. After `calm_at` nothing goes wrong any more.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

SPELLS_MAX = 6
KINDS_MAX = 7
EARLY = 1.4
LONG_SECONDS = 30.0


class Trouble(StrEnum):
    """Every kind of fault."""

    ENGINE_CRASH = "engine_crash"
    ENGINE_STOPPED = "engine_stopped"
    STORE_FAILING = "store_failing"
    NOTIFIER_DOWN = "notifier_down"
    HOST_CRASH = "host_crash"
    HOST_STOPPED = "host_stopped"
    HOST_SLOW = "host_slow"
    CLOCK_SKEW = "clock_skew"
    ENGINE_PARTITION = "engine_partition"
    ANSWERS_LOST = "answers_lost"
    REPORTS_DOUBLED = "reports_doubled"
    REPORTS_REORDERED = "reports_reordered"
    SOURCE_GONE = "source_gone"
    SOURCE_SLOW = "source_slow"
    SOURCE_CHANGED = "source_changed"
    TARGET_GONE = "target_gone"
    TARGET_PARTITION = "target_partition"
    COMMIT_UNKNOWN = "commit_unknown"
    DISK_FULL = "disk_full"
    LOCK_CONFLICT = "lock_conflict"
    SECRET_EXPIRED = "secret_expired"  # noqa: S105 (no secret)


OUTLASTING = frozenset({Trouble.HOST_STOPPED, Trouble.ENGINE_PARTITION})
HOST_TROUBLES = frozenset(
    {Trouble.HOST_CRASH, Trouble.HOST_STOPPED, Trouble.HOST_SLOW, Trouble.CLOCK_SKEW, Trouble.ENGINE_PARTITION}
    | {Trouble.ANSWERS_LOST, Trouble.REPORTS_DOUBLED, Trouble.REPORTS_REORDERED, Trouble.TARGET_PARTITION}
)
SOURCE_TROUBLES = frozenset({Trouble.SOURCE_GONE, Trouble.SOURCE_SLOW, Trouble.SOURCE_CHANGED})
TARGET_TROUBLES = frozenset({Trouble.TARGET_GONE, Trouble.COMMIT_UNKNOWN, Trouble.DISK_FULL, Trouble.LOCK_CONFLICT})


@dataclass(frozen=True, slots=True)
class Spell:
    """A time of trouble. `place` is the host, system or secret that it hits; empty: all of them. `strength` is how likely it strikes
    whoever asks, from 0 to 1."""

    kind: Trouble
    start: float
    seconds: float
    place: str = ""
    strength: float = 1.0

    def covers(self, place: str, now: float) -> bool:
        """Whether it is at work there and then."""
        return self.start <= now < self.start + self.seconds and self.place in {"", place}


class Weather:
    """All the trouble of one simulation."""

    def __init__(self, spells: Iterable[Spell], calm_at: float, now: Callable[[], float], rng: random.Random) -> None:
        self.calm_at = calm_at
        self.spells = tuple(sorted(spells, key=lambda spell: (spell.start, spell.kind, spell.place)))
        self.strikes: dict[Trouble, int] = {}
        self._now = now
        self._rng = rng
        self._by_kind = {kind: [spell for spell in self.spells if spell.kind is kind] for kind in Trouble}

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self._now() >= self.calm_at

    def is_on(self, kind: Trouble, place: str = "") -> bool:
        """Whether trouble of this kind is at work there now."""
        is_on = any(spell.covers(place, self._now()) for spell in self._by_kind[kind]) and not self.is_calm
        if is_on:
            self.struck(kind)
        return is_on

    def strikes_at(self, kind: Trouble, place: str = "") -> bool:
        """Whether it strikes whoever asks now, by its strength."""
        if not self._by_kind[kind] or self.is_calm:
            return False
        for spell in self._by_kind[kind]:
            if spell.covers(place, self._now()) and self._rng.random() < spell.strength:
                self.struck(kind)
                return True
        return False

    def struck(self, kind: Trouble) -> None:
        """Trouble of this kind hit somebody."""
        self.strikes[kind] = self.strikes.get(kind, 0) + 1


def draw(
    rng: random.Random,
    calm_at: float,
    hosts: Sequence[str],
    sources: Sequence[str],
    targets: Sequence[str],
    kinds: Sequence[Trouble] = tuple(Trouble),
) -> list[Spell]:
    """Some kinds of trouble, a few spells of each: a seed that has seen little of everything has seen nothing. What makes a host a
    zombie may last longer than a lease."""
    spells: list[Spell] = []
    for kind in rng.sample(list(kinds), rng.randint(min(2, len(kinds)), min(KINDS_MAX, len(kinds)))):
        for _ in range(rng.randint(1, SPELLS_MAX)):
            place = ""
            if kind in HOST_TROUBLES and rng.random() < 0.8:
                place = rng.choice(hosts)
            elif kind in SOURCE_TROUBLES:
                place = rng.choice(sources)
            elif kind in TARGET_TROUBLES:
                place = rng.choice(targets)
            start = calm_at * 0.9 * rng.random() ** EARLY  # most is to do in the beginning
            longest = max(calm_at / 3, LONG_SECONDS if kind in OUTLASTING else 0.0)
            seconds = rng.choice([rng.uniform(0.2, 3.0), rng.uniform(3.0, longest)])
            spells.append(Spell(kind, start, seconds, place, rng.choice([0.1, 0.3, 0.6, 1.0])))
    return spells
