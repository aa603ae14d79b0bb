"""Figures, drifts and windows beyond the bounds of rules: each crossing becomes one entry of the stream, with one more when it is over.

What holds is kept in the store, in the transaction of its entry: an engine that goes on where another one ended tells nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from pymigrate.engine.application.condition_outcomes import (
    WATCHED,
    Held,
    Key,
    Outcome,
    dropped,
    outcome_of,
    store,
    watching,
)
from pymigrate.engine.application.condition_watches import Looked
from pymigrate.engine.application.figure_values import Copying
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.rule_watches import RuleWatches
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.names import environment_of, run_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store

log = structlog.get_logger(__name__)
# Changes are looked at no more often than this, and whatever moves by time alone every TICK_SECONDS.
INTERVAL_SECONDS = 0.5
TICK_SECONDS = 5.0
LONG_AGO = float("-inf")
RUN_OVER = "Nothing more is watched, since it is over, of"
RULE_GONE = "The rule no longer watches"


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is looked at now: runs under way, and those that have ended since the last look. `over` is held of runs that neither are;
    `active` and `finished` are remembered once all of it is stored."""

    now: datetime
    dirty: set[str]
    looked: Mapping[str, RunKpis]
    over: Sequence[Key]
    active: set[str]
    finished: set[str]


class Conditions:
    """Looks at the figures of runs under way. `bell` is rung when there is something to be told."""

    def __init__(
        self,
        store: Store,
        kpis: FleetKpis,
        limits: LaneLimits,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._store = store
        self._kpis = kpis
        self._limits = limits
        self._watches = RuleWatches(store, clock)
        self._clock = clock
        self._bell = bell
        self._copying = Copying()
        self._started = clock.now()
        self._held: dict[Key, Held] | None = None
        self._ticked = LONG_AGO
        self._dirty: set[str] = set()
        self._active: set[str] = set()
        self._finished: set[str] = set()
        self._due: dict[str, datetime] = {}
        kpis.on_change(self._note)

    async def run_loop(self) -> None:
        """Looks until it is cancelled. What the store does not do now is looked at again."""
        while True:
            try:
                await self.step()
            except PyMigrateError as error:
                log.warning("conditions.not_kept", error=error.message)
            await self._clock.sleep(INTERVAL_SECONDS)

    async def step(self) -> int:
        """One look at whatever has changed, is due or moves by time; how many entries were written."""
        if self._held is None:
            stored = await self._store.read(lambda unit: unit.conditions.all())
            self._held, self._ticked = {(each.rule, each.subject): Held(each) for each in stored}, LONG_AGO
        held, is_tick = self._held, self._clock.monotonic() >= self._ticked + TICK_SECONDS
        found = self._pass(held, is_all=is_tick)
        try:
            outcomes = await self._outcomes(held, found)
            await self._keep(held, outcomes)
        except BaseException:
            self._dirty |= found.dirty
            self._held = None  # what is stored may be otherwise now
            raise
        self._active, self._finished = found.active, found.finished
        self._note_due(held, found)
        if is_tick:
            self._ticked = self._clock.monotonic()
            self._copying.keep(found.active)
        return sum(outcome.entry is not None for outcome in outcomes)

    def _note(self, run: str) -> None:
        self._dirty.add(run)

    # What is looked at ---------------------------------------------------------------------------------------------------------------

    def _pass(self, held: Mapping[Key, Held], *, is_all: bool) -> _Pass:
        """A run of which something is still to be read is left as it was."""
        now, behind = self._clock.now(), self._kpis.behind()
        dirty, self._dirty = self._dirty, set()
        current = {run.name: run for run in self._kpis.current() if run.name not in behind}
        active = {name: run for name, run in current.items() if run.is_active}
        due = {name for name, moment in self._due.items() if moment <= now}
        looked = {name: run for name, run in active.items() if is_all or name in dirty or name in due}
        looked |= self._ended(held, dirty, {name: run for name, run in current.items() if name not in active})
        over = [
            key for key in held if (run := run_of(key[1])) not in active and run not in looked and run not in behind
        ]
        finished = {name for name in (*self._finished, *looked) if name in current and name not in active}
        return _Pass(now, dirty, looked, over, set(active), finished)

    def _ended(self, held: Mapping[Key, Held], dirty: set[str], inactive: Mapping[str, RunKpis]) -> dict[str, RunKpis]:
        """The runs that have ended since they were looked at last, whichever engine did; or since this one has started, where none did."""
        watched = {subject for rule, subject in held if rule == WATCHED}
        found = watched & inactive.keys()
        for name in (dirty | self._active) & inactive.keys() - self._finished:
            record = inactive[name].record
            if record is not None and record.end_time is not None and record.end_time >= self._started:
                found.add(name)
        return {name: inactive[name] for name in sorted(found)}

    def _note_due(self, held: Mapping[Key, Held], found: _Pass) -> None:
        """When the runs under way are to be looked at again though nothing changes."""
        self._due = {
            name: moment for name, moment in self._due.items() if name in found.active and name not in found.looked
        }
        for (_, subject), known in held.items():
            name, moment = run_of(subject), known.next_time()
            if name in found.looked and moment is not None:
                self._due[name] = min(moment, self._due.get(name, moment))

    # What is found -------------------------------------------------------------------------------------------------------------------

    async def _outcomes(self, held: Mapping[Key, Held], found: _Pass) -> list[Outcome]:
        if not found.looked and not found.over:
            return []
        subjects = (*found.active, *found.looked, *(subject for _, subject in found.over))
        watched = await self._watches.of({environment_of(name) for name in subjects})
        calendars = (await self._limits.current()).calendars
        told = KpiTelling(self._kpis.outlook, found.now)
        keys: dict[str, list[Key]] = {}
        for key in held:
            keys.setdefault(run_of(key[1]), []).append(key)
        outcomes: list[Outcome] = []
        for name, run in found.looked.items():
            looked, seen = Looked(run, told, self._copying, calendars), set[Key]()
            for watch in watched[environment_of(name)]:
                for phase in watch.subjects(looked):
                    key = (watch.rule.id, looked.name(phase))
                    seen.add(key)
                    outcomes += outcome_of(held.get(key), watch, looked, phase)
            outcomes += [
                dropped(held[key], RULE_GONE, found.now) for key in keys.get(name, []) if key not in seen and key[0]
            ]
            outcomes += watching(held.get((WATCHED, name)), looked, is_watched=bool(seen))
            await self._clock.sleep(0)  # others have a turn
        for key in found.over:
            known = held[key]
            if known.watch is None:  # another engine held it
                watches = watched[environment_of(key[1])]
                known.watch = next((watch for watch in watches if watch.rule.id == key[0]), None)
            outcomes.append(dropped(known, RUN_OVER, found.now))
        return outcomes

    async def _keep(self, held: dict[Key, Held], outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        stored = await self._store.transact(lambda unit: store(unit, outcomes))
        for outcome, condition in zip(outcomes, stored, strict=True):
            if outcome.holds:
                held[outcome.key] = Held(condition, outcome.held.watch, outcome.held.value)
            else:
                del held[outcome.key]
        if any(outcome.entry is not None for outcome in outcomes):
            self._bell.ring()
