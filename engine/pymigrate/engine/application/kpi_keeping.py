"""Keeps the figures of newest runs that have ended, and holds sums to the plans that are declared: housekeeping, now and then.

What is kept is counted from one reading of the store, never from memory: so it is right whatever other engines did meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from pymigrate.engine.application.changes import whole
from pymigrate.engine.application.kept_figures import is_current, kept_figures
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.errors import TemporaryError
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_kept import summary_of
from pymigrate.engine.domain.run import RunAggregate, RunEvent
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 2.0
KEPT_AT_ONCE_MAX = 20
EVENTS_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has ended, and everything that happened in it."""

    aggregate: RunAggregate
    events: Sequence[RunEvent]


class KpiKeeping:
    """Keeps what is final."""

    def __init__(self, store: Store, kpis: FleetKpis, clock: Clock) -> None:
        self._store = store
        self._kpis = kpis
        self._clock = clock
        self._due: dict[str, None] = {}
        kpis.on_change(self._note)
        for run in kpis.current():
            self._note(run.name)

    async def run_loop(self) -> None:
        """Steps until it is cancelled. What the store does not do now is done later."""
        while True:
            try:
                await self.step()
            except TemporaryError as error:
                log.warning("kpis.not_kept", error=error.message)
            await self._clock.sleep(INTERVAL_SECONDS)

    async def step(self) -> list[str]:
        """One look; the names of the runs whose figures were kept."""
        await self._kpis.look_at_declared()
        kept = []
        for name in list(self._due)[:KEPT_AT_ONCE_MAX]:
            self._due.pop(name, None)  # what changes from now on makes it due again
            try:
                if await self._keep(name):
                    kept.append(name)
            except TemporaryError:
                self._due[name] = None
                raise
        return kept

    def _note(self, name: str) -> None:
        run = self._kpis.run(name)
        is_due = run is not None and run.has_lanes and not run.is_active and run.record is not None
        if run is not None and is_due and self._kpis.newest(run.plan) is run:
            self._due[name] = None
        else:
            self._due.pop(name, None)

    async def _keep(self, name: str) -> bool:
        """Whether there was something to keep."""
        ended = await self._store.read(lambda unit: _ended(unit, name))
        if ended is None:
            return False
        run = RunKpis(name, verdict_of)
        change = whole(ended.aggregate, self._clock.now(), ended.events)
        run.take_in(change.time, change.entities, change.events)
        phases = summary_of(run)
        if phases is None:
            return False
        figures = kept_figures(ended.aggregate.run, phases)
        return await self._store.transact(lambda unit: _put(unit, figures))


def _ended(unit: Unit, name: str) -> _Ended | None:
    """A run as it is stored; None where nothing is to be kept of it, or it is kept already."""
    record = unit.runs.get(name)
    if record is None or record.end_time is None:
        return None
    if any(is_current(kept, record) for kept in unit.figures.of_plans([record.plan])):
        return None
    aggregate = unit.runs.load(name)
    if aggregate is None:
        return None
    events: list[RunEvent] = []
    while page := unit.runs.events(name, len(events), EVENTS_PAGE):
        events += page
    return _Ended(aggregate, events)


def _put(unit: Unit, figures: KeptFigures) -> bool:
    """Keeps them where the run is still as it was and its plan's newest one."""
    newest = unit.runs.standing(figures.plan)
    if newest is None or (newest.name, newest.version) != (figures.run, figures.version):
        return False
    unit.figures.put(figures)
    return True
