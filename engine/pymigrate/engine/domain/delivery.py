"""A message to one address of one stakeholder: where it stands, every try, and what may become of it.

    WAITING ─ frozen ─→ PENDING ─ claimed ─→ SENDING ─→ ACCEPTED ─→ DELIVERED ─→ ACKNOWLEDGED
                           ↑───── again ────────┤
                           └── redriven ─ DEAD ←┘          UNDELIVERABLE and SUPPRESSED are made so; the first may be redriven,
                                                           and what is still to go out becomes the second when somebody else acts

A delivery gathers occurrences while it waits; its content is frozen when it is due, and stays. Entities change in place, as those of runs
do: `version` is the store's, and 0 until it is stored.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.domain.run import Failure

ENTRIES_MAX = 1_000
TRIES_KEPT_MAX = 100
# How many of the times of acknowledgement, delivery and acceptance, in this order, confirm what was agreed.
CONFIRMING_TIMES = {"acknowledged": 1, "delivered": 2, "accepted": 3}


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    PENDING = "pending"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    UNDELIVERABLE = "undeliverable"
    SUPPRESSED = "suppressed"


STILL_OPEN = frozenset({DeliveryState.WAITING, DeliveryState.PENDING, DeliveryState.SENDING})


class TryOutcome(StrEnum):
    """What came of a try. `unknown`: the answer was lost after the message was handed over, so that it may have arrived."""

    ACCEPTED = "accepted"
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeliveryTry:
    """One try by a dispatcher, `seconds` long, and what the channel answered."""

    time: datetime
    seconds: float
    outcome: TryOutcome
    answer: str
    dispatcher: str


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent, as it was rendered: `template` is a last segment or `default-{role}`, `digest` the SHA-256 of subject, body and
    HTML."""

    subject: str = ""
    body: str = ""
    html: str = ""
    template: str = ""
    template_version: int = 0
    digest: str = ""


@dataclass(slots=True)
class Delivery:
    """One delivery. `name` is a resource name, as `environment` is; `rule`, `stakeholder`, `address` and `channel` are last segments (a
    test of a channel has no rule and no stakeholder). `thread` is what it may gather into: rule, group, stakeholder and address, hashed.
    `entries` are numbers of the stream, at most ENTRIES_MAX of the `entry_count` that it tells of, and `duplicates` more were the same as
    one of them. `key` is what a receiver tells repetitions by. `lease` and `lease_until` are the claim's. `template_role` is the role
    that it is told in.
    """

    name: str
    environment: str
    state: DeliveryState
    rule: str
    stakeholder: str
    address: str
    channel: str
    to: str
    thread: str
    key: str
    severity: Severity
    create_time: datetime
    due_time: datetime
    entries: list[int] = field(default_factory=list)
    entry_count: int = 0
    duplicates: int = 0
    run: str = ""
    template: str = ""
    template_role: str = ""
    incident: str = ""
    escalation: int = 0
    needs_acknowledgement: bool = False
    content: Content = Content()
    tries: list[DeliveryTry] = field(default_factory=list)
    try_count: int = 0
    lease: str = ""
    lease_until: datetime | None = None
    dispatcher: str = ""
    next_try_time: datetime | None = None
    last_try_time: datetime | None = None
    frozen_time: datetime | None = None
    accept_time: datetime | None = None
    deliver_time: datetime | None = None
    acknowledge_time: datetime | None = None
    acknowledger: str = ""
    failure: Failure | None = None
    may_be_repeated: bool = False
    confirm_by_time: datetime | None = None
    confirm_state: str = "accepted"
    version: int = 0

    @property
    def confirm_time(self) -> datetime | None:
        """When it came as far as was agreed; None where it did not yet."""
        return confirm_time_of(self.confirm_state, self.acknowledge_time, self.deliver_time, self.accept_time)

    @property
    def is_confirmed(self) -> bool:
        """Whether it came as far as was agreed."""
        return self.confirm_time is not None

    @property
    def is_in_time(self) -> bool:
        """Whether it came so far by the time that was agreed, if one was."""
        time = self.confirm_time
        return time is not None and (self.confirm_by_time is None or time <= self.confirm_by_time)

    @property
    def claim_time(self) -> datetime | None:
        """When a dispatcher may claim it next: at its next try, or where one has it, when that one's lease ends; None where it is not to be
        sent."""
        match self.state:
            case DeliveryState.PENDING:
                return self.next_try_time
            case DeliveryState.SENDING:
                return self.lease_until
            case _:
                return None


def confirm_time_of(
    confirm_state: str,
    acknowledge_time: datetime | None,
    deliver_time: datetime | None,
    accept_time: datetime | None,
) -> datetime | None:
    """When it came as far as was agreed, which is the first of the times that say so: who acknowledges it has it, and what a recipient has
    was accepted."""
    times = (acknowledge_time, deliver_time, accept_time)[: CONFIRMING_TIMES[confirm_state]]
    return min((time for time in times if time is not None), default=None)


@dataclass(slots=True)
class Incident:
    """What escalates: opened by the first occurrence of a rule's group, ended by an acknowledgement or with its last step. `thread` is
    rule and group, hashed; `step` counts the escalations that were told; `next_time` is when the next one is due, None when it has
    ended."""

    id: str
    environment: str
    rule: str
    thread: str
    open_time: datetime
    entries: list[int] = field(default_factory=list)
    step: int = 0
    next_time: datetime | None = None
    acknowledge_time: datetime | None = None
    acknowledger: str = ""
    version: int = 0


@dataclass(slots=True)
class Condition:
    """Whether a figure, a drift or a window is beyond a rule's bound: `subject` is a resource name. `since` is when it went beyond (it
    holds from `since` + hold on), `told_time` when it was told last, None while it was not. Without a rule it says that a run is watched
    since then."""

    environment: str
    rule: str
    subject: str
    since: datetime
    told_time: datetime | None = None
    version: int = 0
