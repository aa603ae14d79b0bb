"""What may happen to a run: what hosts report, what is found out about them, and what people ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.run import Failure
from pymigrate.engine.domain.run_states import DesiredState


@dataclass(frozen=True, slots=True)
class Leased:
    """A host was given a task."""

    task: str
    host: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Renewed:
    """A host still has a task. Not stored: an engine that takes over grants every lease anew."""

    task: str
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Progressed:
    """A lane got this far in the target, or staging that catches up is so far behind, with so many changes applied."""

    task: str
    fence: int
    chunks: int
    rows: int
    bytes: int
    lag_seconds: float = 0.0
    changes: int = 0
    quarantined_rows: int = 0
    secret_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A task is done. `verification` is what a verification found, as the contract encodes it; `is_prepared` whether a publication is
    kept prepared; `conflicts` counts rows by dataset that a merge found there with other content; `schema_notes` tell by dataset
    what could not be declared; `warning` is what somebody should look into although it is done."""

    task: str
    fence: int
    verification: bytes = b""
    is_prepared: bool = False
    conflicts: Mapping[str, int] = field(default_factory=dict)
    schema_notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warning: Failure | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A task failed."""

    task: str
    fence: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Drained:
    """A task stopped at a checkpoint because it was asked to."""

    task: str
    fence: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The host that has a task is gone, or its lease ran out."""

    task: str


@dataclass(frozen=True, slots=True)
class Steered:
    """Somebody wants the run to run, to pause or to end."""

    desired: DesiredState
    actor: str


@dataclass(frozen=True, slots=True)
class Scaled:
    """Somebody limits how many lanes of the run are at work at once; 0: no limit of its own."""

    lanes_max: int
    actor: str


@dataclass(frozen=True, slots=True)
class Retried:
    """Somebody wants what failed to be done again. `ranges` and `rows` are what another look at the sources found, by phase and
    dataset: what the lanes copy, one range each, and how many rows are expected."""

    actor: str
    ranges: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Approved:
    """Somebody approves a gate of a phase."""

    phase: str
    gate: str
    actor: str


@dataclass(frozen=True, slots=True)
class RollbackAsked:
    """Somebody wants a phase and what needs it undone; with no phase, the whole run."""

    actor: str
    phase: str = ""


@dataclass(frozen=True, slots=True)
class SealAsked:
    """Somebody, or time, wants the way back of published phases dropped; with none named, of all that are published."""

    actor: str
    phases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A run is undone for good: the same plan with the same triggers is another run from now on."""

    actor: str


@dataclass(frozen=True, slots=True)
class PlanSucceeded:
    """The newest run of another plan, which this one waits for, has succeeded. `plan` is its last segment."""

    plan: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The run was accepted, or an engine took it over."""


Asked = Steered | Scaled | Retried | Approved | RollbackAsked | SealAsked | GivenUp
Reported = Renewed | Progressed | Succeeded | Failed | Drained
CoreEvent = Asked | Reported | Leased | Lost | PlanSucceeded | Begun
