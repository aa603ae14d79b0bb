"""What the store in memory keeps, and under which keys."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TypeVar

from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.delivery import Condition, Delivery, Incident
from pymigrate.engine.domain.run import DatasetRun, Entity, Lane, PhaseRun, Run, RunEvent, Task
from pymigrate.engine.domain.run_states import TASK_OPEN
from pymigrate.engine.ports.estimates import KeptEstimate
from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.store import Resource
from pymigrate.engine.testing.feed import Consumer, Stream

E = TypeVar("E", bound=Entity)
PartKey = tuple[str, ...]
NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(each.name for each in fields(kind)) for kind in (Run, PhaseRun, DatasetRun, Lane, Task)
}


@dataclass(slots=True)
class Tables:
    """All that is kept. Parts and events lie in one dictionary a run."""

    resources: dict[str, Resource] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    revisions: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[PartKey, Entity]] = field(default_factory=dict)
    events: dict[str, dict[int, RunEvent]] = field(default_factory=dict)
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    measures: dict[tuple[str, str], bytes] = field(default_factory=dict)
    estimates: dict[str, KeptEstimate] = field(default_factory=dict)
    samples: dict[tuple[str, str, str, str], Sample] = field(default_factory=dict)
    figures: dict[str, KeptFigures] = field(default_factory=dict)
    requests: dict[tuple[str, str], tuple[bytes, bytes, datetime]] = field(default_factory=dict)
    feed: Stream = field(default_factory=Stream)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    delivery_keys: dict[str, str] = field(default_factory=dict)
    told_overdue: dict[str, bool] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    conditions: dict[tuple[str, str, str], Condition] = field(default_factory=dict)
    git_statuses: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    git_revisions: dict[tuple[str, int], tuple[str, bytes]] = field(default_factory=dict)


def is_open(entity: Entity) -> bool:
    """Whether it is a task that is still to be done."""
    return isinstance(entity, Task) and entity.state in TASK_OPEN


def key_of(entity: Entity) -> PartKey:
    """Tells the part from every other of its run."""
    match entity:
        case Run():
            return ("run",)
        case DatasetRun():
            return ("dataset", entity.phase, entity.id)
        case _:
            return (type(entity).__name__, entity.id)


def copied(entity: E) -> E:
    """Another record of the same content, so that nobody changes what is kept."""
    kind = type(entity)
    copy = kind.__new__(kind)
    for name in NAMES[kind]:
        setattr(copy, name, getattr(entity, name))
    if isinstance(copy, Run):
        copy.triggers = dict(copy.triggers)
    return copy
