"""The words of notifications: what is told (an occurrence), to whom, by which rules. Plain values without any I/O.

An occurrence is an entry of the stream as rules see it. Rules, stakeholders, schedules and silences of one environment make its directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, tzinfo
from enum import IntEnum

from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.run import Failure

LOCALE_DEFAULT = "en"


class Severity(IntEnum):
    """How grave something is, numbered as the contract does."""

    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened. `entry` is its number in the stream (0: it is in none, as in a dry run), `id` that of its CloudEvent.
    `run` is a resource name, as `subject` and `environment` are; `plan`, `phase`, `department` and `rule` are last segments. `rule` is
    the one that found it, where a figure, a drift or a window did; `figure`, `value` and `bound` say what it found."""

    id: str
    entry: int
    type: str
    subject: str
    time: datetime
    severity: Severity
    environment: str
    plan: str = ""
    run: str = ""
    phase: str = ""
    department: str = ""
    from_state: str = ""
    to_state: str = ""
    actor: str = ""
    failure: Failure | None = None
    detail: str = ""
    rule: str = ""
    figure: str = ""
    value: float = 0.0
    bound: float = 0.0

    @property
    def reason(self) -> str:
        """Why, as a constant in capitals; empty where there is no reason."""
        return self.failure.reason if self.failure is not None else ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stakeholder is reached: by a channel's last segment, from a severity on."""

    channel: str
    to: str
    severity_min: Severity = Severity.INFO


@dataclass(frozen=True, slots=True)
class Stakeholder:
    """Somebody who is told. `uid` outlives nobody: another one of the same name has another. No `departments` means all."""

    id: str
    uid: str
    display_name: str = ""
    roles: tuple[str, ...] = ()
    departments: frozenset[str] = frozenset()
    addresses: Mapping[str, Address] = field(default_factory=dict)
    locale: str = LOCALE_DEFAULT
    zone: tzinfo = UTC
    quiet_hours: tuple[WeeklyWindow, ...] = ()
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class KpiThreshold:
    """A bound that a figure crosses, and holds beyond for so long; `hysteresis` is a share of the bound."""

    figure: str
    is_above: bool
    bound: float
    hold_seconds: float = 0.0
    hysteresis: float = 0.05


@dataclass(frozen=True, slots=True)
class EventMatch:
    """Which occurrences match: everything that is given must, of a list one. `types` may end in `.*`; plans, phases and departments may
    hold `*` for any text. With `kpi`, `drift_min` or `window_closes_seconds`, those that the rule itself found match instead of `types`."""

    types: tuple[str, ...] = ()
    severity_min: Severity = Severity.INFO
    plans: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    kpi: KpiThreshold | None = None
    drift_min: float = 0.0
    window_closes_seconds: float = 0.0

    @property
    def finds(self) -> bool:
        """Whether the rule makes occurrences of its own."""
        return self.kpi is not None or self.drift_min > 0 or self.window_closes_seconds > 0


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who is told: all that any of these name, by last segments."""

    roles: tuple[str, ...] = ()
    stakeholders: tuple[str, ...] = ()
    on_call_schedules: tuple[str, ...] = ()
    includes_owners: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is named: the rule is a place for others to lie below."""
        return not (self.roles or self.stakeholders or self.on_call_schedules or self.includes_owners)


@dataclass(frozen=True, slots=True)
class Digest:
    """Times of the day, and days (0 is Monday; none means every day), at which what was gathered is told, on the recipient's clock."""

    times: tuple[time, ...]
    days: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who is told when nobody has acknowledged for so long after the message before."""

    after_seconds: float
    recipients: Recipients


@dataclass(frozen=True, slots=True)
class Rule:
    """Which occurrences are told to whom. `parent` is the rule that it lies below, empty at the top; `confirm_state` is `accepted`,
    `delivered` or `acknowledged`; `severity` stands for the occurrence's own where it is given. Seconds of 0 mean: not at all
    (`group_interval_seconds` is always set)."""

    id: str
    uid: str
    match: EventMatch
    recipients: Recipients = Recipients()
    parent: str = ""
    order: int = 0
    continues: bool = False
    template: str = ""
    group_by: tuple[str, ...] = ()
    group_wait_seconds: float = 0.0
    group_interval_seconds: float = 300.0
    repeat_interval_seconds: float = 0.0
    digest: Digest | None = None
    messages_per_hour_max: int = 0
    duplicate_seconds: float = 0.0
    escalations: tuple[Escalation, ...] = ()
    confirm_seconds_max: float = 0.0
    confirm_state: str = "accepted"
    severity: Severity | None = None
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class Rotation:
    """People who take turns of whole days from `start` on; `hours` is the part of the day that it covers, None: all of it."""

    stakeholders: tuple[str, ...]
    start: datetime
    turn_days: int
    hours: WeeklyWindow | None = None


@dataclass(frozen=True, slots=True)
class DutyOverride:
    """Somebody is on duty instead of everybody else, from `start` to before `end`."""

    stakeholder: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who is on duty when."""

    id: str
    zone: tzinfo = UTC
    rotations: Mapping[str, Rotation] = field(default_factory=dict)
    overrides: Mapping[str, DutyOverride] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silence:
    """What is not told from `start` to before `end`."""

    id: str
    match: EventMatch
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """A way out as routing and dispatch need to know it. `kind` is `smtp`, `webhook`, `apprise` or a plugin's; `messages_per_minute_max`
    of 0: no limit."""

    id: str
    kind: str
    messages_per_minute_max: int = 0
    deliveries_max: int = 20
    try_seconds_max: float = 10.0
    tries_max: int = 8


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that an environment declares of notifications, by last segments. `departments` are those that it declares."""

    environment: str
    stakeholders: Mapping[str, Stakeholder] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    silences: Mapping[str, Silence] = field(default_factory=dict)
    channels: Mapping[str, ChannelTerms] = field(default_factory=dict)
