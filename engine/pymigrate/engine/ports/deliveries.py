"""What the engine keeps of notifications: deliveries (the ledger), incidents that escalate, and conditions that hold.

Entities are written where the stored version is their own, as those of runs are; a write adds one to it. One that is given twice in the
same call is written once. The store keeps no references to them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pymigrate.engine.domain.delivery import Condition, Delivery, DeliveryState, Incident

# What is still to be done of deliveries, by the engine or by a person.
STANDING = (
    DeliveryState.WAITING,
    DeliveryState.PENDING,
    DeliveryState.SENDING,
    DeliveryState.DEAD,
    DeliveryState.UNDELIVERABLE,
)
# Whom it tells by which rule, and since when: with others it were another delivery.
WRITTEN_ONCE = ("environment", "rule", "stakeholder", "address", "thread", "key", "create_time")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of an environment are listed: everything that is given must match. Names are last segments, `run` is a resource
    name."""

    environment: str
    stakeholder: str = ""
    rule: str = ""
    state: DeliveryState | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryTally:
    """What became of deliveries of a rule by a channel that stand so. Of `agreed` ones, which had to be confirmed by a time, some were
    `in_time` and some are or were `late`; of the others the time is not over. `confirm_seconds` tells of each that is confirmed how long
    after it became due it was, in no order."""

    rule: str
    channel: str
    state: DeliveryState
    count: int
    agreed: int
    in_time: int
    late: int
    confirm_seconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class DeliveryStanding:
    """How many deliveries stand so; of those that are still to be sent, when the first of them becomes or became due."""

    state: DeliveryState
    count: int
    oldest_due_time: datetime | None


class Deliveries(Protocol):
    """Deliveries by their resource name. Of two units that insert at once, each without having seen the other one's, one is done again:
    so a thread has no two open deliveries."""

    def get(self, name: str) -> Delivery | None:
        """The delivery of that name, whole."""
        ...

    def get_all(self, names: Collection[str]) -> Sequence[Delivery]:
        """Those of these names that there are, whole, ordered by name."""
        ...

    def insert(self, deliveries: Iterable[Delivery]) -> None:
        """Stores new ones, and sets their version to 1. One whose key is taken is left out: it was made before, and its version stays 0.
        Raises AlreadyExists for a name that another one has."""
        ...

    def save(self, deliveries: Iterable[Delivery]) -> None:
        """Writes each where the stored version is its own. Raises StaleWrite; the caller then drops what it has and reads it again. What
        a delivery is for never changes: WRITTEN_ONCE stays as it was inserted."""
        ...

    def newest(self, threads: Collection[str]) -> Mapping[str, Delivery]:
        """Of each of these threads that has any, the delivery that waits, else the newest (by create_time, name): of engines whose clocks
        differ, one may make a delivery that seems older than what it follows."""
        ...

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """At most `limit` waiting ones whose `due_time` is not after `now`: the gravest first, then the earliest due, then by name."""
        ...

    def claimable(self, channel: str, environment: str, now: datetime, limit: int) -> Sequence[Delivery]:
        """At most `limit` of a channel that are pending with a `next_try_time` not after `now`, or sending with a lease that has ended by
        then: the gravest first, then by that time, then by name."""
        ...

    def channels_with_work(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Environment and channel of all that `claimable` would give something for, in order."""
        ...

    def in_sending(self, environment: str, channel: str, now: datetime) -> int:
        """How many of a channel a dispatcher has, with a lease that has not ended."""
        ...

    def tried_since(self, environment: str, channel: str, time: datetime) -> int:
        """How many of a channel were claimed last at or after `time`."""
        ...

    def frozen_since(
        self, environment: str, rule: str, addresses: Collection[tuple[str, str]], time: datetime
    ) -> Mapping[tuple[str, str], int]:
        """How many of a rule were frozen at or after `time`, or wait to be, for each of these pairs of stakeholder and address that has
        any; tests and escalations are not counted."""
        ...

    def next_time(self) -> datetime | None:
        """When next one becomes due, may be tried or loses its lease: the least of those times; None when nothing waits."""
        ...

    def list(self, only: DeliveryFilter, before: tuple[datetime, str] | None, limit: int) -> Sequence[Delivery]:
        """At most `limit`, the newest first, older than `before` (create_time, name). Their bodies are left out, so that their version is
        0: they are to be shown, and can't be saved."""
        ...

    def of_incident(self, incident: str) -> Sequence[Delivery]:
        """Those of an incident, in the order in which they were made; none of the empty one."""
        ...

    def tallies(self, environment: str, since: datetime, now: datetime) -> Sequence[DeliveryTally]:
        """What became, until `now`, of those that became due from `since` to `now`, ordered by rule, channel and state."""
        ...

    def standing(self, environment: str) -> Sequence[DeliveryStanding]:
        """What of an environment is still to be sent or was given up: one for each of the states STANDING that has any, in that order."""
        ...

    def overdue(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """At most `limit` whose `confirm_by_time` is not after `now`, that were not confirmed as agreed by then, and that were not told
        so (see `note_overdue`); the earliest first. One that was confirmed since is among them: it was late."""
        ...

    def note_overdue(self, names: Collection[str]) -> None:
        """These were told to be overdue: `overdue` gives them never again."""
        ...

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets at most `limit` that were made before that time and of which nothing is to be done any more, the oldest first; says how
        many."""
        ...


class Incidents(Protocol):
    """What escalates."""

    def get(self, incident: str) -> Incident | None:
        """The incident of that id."""
        ...

    def open_of(self, threads: Collection[str]) -> Mapping[str, Incident]:
        """The incident of each of these threads that has one under way, which has a `next_time`; the newest, where several have."""
        ...

    def insert(self, incidents: Iterable[Incident]) -> None:
        """Stores new ones, and sets their version to 1. Raises AlreadyExists."""
        ...

    def save(self, incidents: Iterable[Incident]) -> None:
        """Writes each where the stored version is its own. Raises StaleWrite."""
        ...

    def due(self, now: datetime, limit: int) -> Sequence[Incident]:
        """At most `limit` whose `next_time` is not after `now`, the earliest first."""
        ...

    def next_time(self) -> datetime | None:
        """When the next step of any is due; None when nothing escalates."""
        ...

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets at most `limit` that were opened before that time and have ended, the oldest first; says how many."""
        ...


class Conditions(Protocol):
    """What is beyond a bound now: one for each environment, rule and subject."""

    def all(self) -> Sequence[Condition]:
        """All of them, ordered by environment, rule and subject."""
        ...

    def put(self, condition: Condition) -> None:
        """Stores it where the stored version is its own (0: there is none). Raises StaleWrite."""
        ...

    def delete(self, condition: Condition) -> None:
        """Forgets it; forgetting an unknown one changes nothing."""
        ...
