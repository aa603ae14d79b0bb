"""What was stored of a run, told to whoever follows all runs: KPIs, watchers, metrics, traces.

An observer is called in the loop, after the commit and before whoever asked for the change goes on. It takes what it needs at once, since
entities change later, and neither waits nor writes. One that raises is logged, and the others are called all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from pymigrate.engine.domain.run import Entity, RunAggregate, RunEvent

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit stored of a run: the entities, each with the version that it has now, and what happened. `is_whole`: the entities are
    all that there are of the run, as they are when it begins, and when an engine takes it over or reads it again. `is_look`: nothing was
    stored, somebody looked at a run that was not in memory."""

    run: str
    time: datetime
    entities: Sequence[Entity]
    events: Sequence[RunEvent] = ()
    is_whole: bool = False
    is_look: bool = False


Observer = Callable[[Change], None]


@dataclass(slots=True)
class Changes:
    """Those who follow, in the order in which they came."""

    _observers: list[Observer] = field(default_factory=list)

    def follow(self, observer: Observer) -> None:
        """Calls the observer with every change from now on."""
        self._observers.append(observer)

    def tell(self, change: Change) -> None:
        """Calls every observer."""
        for observer in self._observers:
            try:
                observer(change)
            except Exception as error:  # a figure that can't be found stops no run
                log.exception("observer.failed", run=change.run, error=type(error).__name__)


def whole(aggregate: RunAggregate, time: datetime, events: Sequence[RunEvent] = (), *, is_look: bool = False) -> Change:
    """A run with all its parts."""
    return Change(aggregate.run.name, time, tuple(aggregate.entities()), events, is_whole=True, is_look=is_look)
