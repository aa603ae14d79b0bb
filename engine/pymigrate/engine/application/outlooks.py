"""What is expected of runs, found in the background: their ends, their downtime against what was agreed, and how far estimates lie off.

A run under way is looked at again every few seconds, one that has ended once more; all of it takes at most a fifth of a core.
"""

import asyncio
from collections.abc import Iterator

import structlog

from pymigrate.engine.application.forecasts import Forecast, Forecasts
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.landscapes import landscape_of, move_of
from pymigrate.engine.domain.assessment import assess
from pymigrate.engine.domain.drawing import Draws
from pymigrate.engine.domain.errors import PermanentError, PyMigrateError
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_expecting import Estimated, Expecting, Rehearsals
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.systems import Landscape
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import impact_pb2, run_pb2

log = structlog.get_logger(__name__)
INTERVAL_SECONDS = 5.0
PAUSE_SECONDS = 0.2
CORE_SHARE = 0.2
DRAWS = 30
# Phases times draws: with more of them they would be spread over processes, and over more than one core.
REHEARSED_MAX = 4_500


class Outlooks:
    """Looks ahead, run by run."""

    def __init__(self, store: Store, kpis: FleetKpis, forecasts: Forecasts, clock: Clock) -> None:
        self._store = store
        self._kpis = kpis
        self._forecasts = forecasts
        self._clock = clock
        self._looked: dict[str, float] = {}

    async def run_loop(self) -> None:
        """Looks until it is cancelled, with pauses that leave the core to others."""
        while True:
            begun = self._clock.monotonic()
            await self.step()
            spent = self._clock.monotonic() - begun
            await self._clock.sleep(max(PAUSE_SECONDS, spent * (1.0 / CORE_SHARE - 1.0)))

    async def step(self) -> str:
        """Looks at the run that is due first; its name, empty where none is due. What can't be found now is tried again later."""
        run = next(self._due(), None)
        if run is None:
            return ""
        self._looked[run.name] = self._clock.monotonic()
        try:
            await self._look(run)
        except PyMigrateError as error:
            log.info("outlook.not_found", run=run.name, reason=error.message)
        return run.name

    def _due(self) -> Iterator[RunKpis]:
        """Those under way that were looked at longest ago; then those that have ended since, or before this engine."""
        runs = list(self._kpis.current())
        names = {run.name for run in runs}
        self._looked = {name: when for name, when in self._looked.items() if name in names}
        before = self._clock.monotonic() - INTERVAL_SECONDS
        due = [run for run in runs if self._looked.get(run.name, float("-inf")) <= before]
        yield from sorted((run for run in due if run.is_active), key=lambda run: self._looked.get(run.name, 0.0))
        yield from (run for run in due if not run.is_active and not self._kpis.outlook(run.name).is_final)

    async def _look(self, run: RunKpis) -> None:
        revision, landscape, estimated = await self._store.read(lambda unit: _read(unit, run.name))
        moves = {name: move_of(revision, name) for name in revision.plan.phases}
        rehearsals = None
        forecast = await self._forecast(run) if run.is_active else None
        if forecast is not None and forecast.draws is not None and forecast.draws.phases:
            draws: Draws = forecast.draws
            figures = await asyncio.to_thread(assess, moves, draws.phases, landscape, forecast.time)
            rehearsals = Rehearsals(draws, figures, forecast.time)
        found = Expecting(run, moves, landscape, estimated, self._clock.now(), rehearsals)
        self._kpis.put_outlook(run.name, found.outlook())

    async def _forecast(self, run: RunKpis) -> Forecast | None:
        """None for a run that would wait for ever: that is told by the run itself."""
        draws = max(1, min(DRAWS, REHEARSED_MAX // max(1, len(run.phases))))
        try:
            return await self._forecasts.drawn(run.name, draws)
        except PermanentError as error:
            log.info("run.not_forecast", run=run.name, reason=error.message)
            return None


def _read(unit: Unit, run: str) -> tuple[run_pb2.PlanRevision, Landscape, Estimated]:
    revision = run_pb2.PlanRevision.FromString(unit.runs.revision(run) or b"")
    kept = unit.estimates.get(run)
    estimate = impact_pb2.RunEstimate.FromString(kept.body) if kept else None
    estimated = _estimated(estimate, revision) if estimate else Estimated()
    return revision, landscape_of(unit, environment_of(run)), estimated


def _estimated(estimate: impact_pb2.RunEstimate, revision: run_pb2.PlanRevision) -> Estimated:
    lanes = {}
    for phase, outcome in estimate.phases.items():
        for name, dataset in outcome.datasets.items():
            place = f"{phase}/{name}"
            ranges = len(revision.inspections[place].ranges) if place in revision.inspections else 0
            found = dataset.copy.estimated_seconds
            lanes[phase, name] = Quantiles(found.p50 / max(1, ranges), found.p90 / max(1, ranges))
    phases = {name: _quantiles(outcome.duration.estimated_seconds) for name, outcome in estimate.phases.items()}
    return Estimated(_quantiles(estimate.makespan.estimated_seconds), phases, lanes)


def _quantiles(found: impact_pb2.Quantiles) -> Quantiles:
    return Quantiles(found.p50, found.p90)
