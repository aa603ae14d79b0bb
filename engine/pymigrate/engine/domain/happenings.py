"""What may happen to a run: what hosts report, what is found out about them, and what people ask."""

from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.domain.run import DesiredState, Failure


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
    """A lane got this far in the target."""

    task: str
    fence: int
    chunks: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A task is done. `verification` is what a verification found, as the contract encodes it."""

    task: str
    fence: int
    verification: bytes = b""


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
class Retried:
    """Somebody wants what failed to be done again."""

    actor: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The run was accepted, or an engine took it over."""


CoreEvent = Leased | Renewed | Progressed | Succeeded | Failed | Drained | Lost | Steered | Retried | Begun
