"""Learning from runs: what was estimated is kept when a run starts, what happened is put beside it when the run has ended, and how far
the one lay off the other is kept for the next estimate.

Every look is complete in itself: which runs are due is what the store says, so that none is missed by an engine that died in between.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import structlog

from pymigrate.engine.application.calibrations import samples_of
from pymigrate.engine.application.schedules import calendar_of, schedules_of
from pymigrate.engine.domain.actuals import NOT_YET, Actual, DatasetActuals, PhaseActuals, RunActuals, actuals_of
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.names import environment_of, no_run
from pymigrate.engine.domain.run import RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.estimates import KeptEstimate
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import impact_pb2, run_pb2

log = structlog.get_logger(__name__)
SETTLED_AT_ONCE_MAX = 20
EVENTS_PAGE = 1_000
NOTHING_YET = RunActuals(NOT_YET, {})


@dataclass(frozen=True, slots=True)
class _Settlement:
    """What is to be written of a run that has ended."""

    run: str
    attempt: int
    body: bytes
    samples: Mapping[str, Sequence[Sample]]


class Learning:
    """What is kept of estimates, and what is learned from them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def keep(self, run: str, estimate: impact_pb2.RunEstimate) -> bool:
        """Keeps what was estimated for a run, at this moment where it does not say when. False: something is kept already, and stays.
        Raises NotFound."""
        kept = impact_pb2.RunEstimate()
        kept.CopyFrom(estimate)
        if not kept.HasField("estimate_time"):
            kept.estimate_time.FromDatetime(self._clock.now())
        return await self._store.transact(lambda unit: keep_estimate(unit, run, kept))

    async def settle(self) -> list[str]:
        """Puts what happened beside the estimates of runs that have ended, and keeps what is learned from it; the names of the runs that
        it did that for. One that another engine is at too is done once."""
        due = await self._store.read(lambda unit: list(unit.estimates.unsettled(SETTLED_AT_ONCE_MAX)))
        settled = []
        for run in due:
            found = await self._store.read(_settlement_of(run))
            if found is not None and await self._store.transact(_settling(found)):
                log.info("estimate.settled", run=run, keys=len(found.samples))
                settled.append(run)
        return settled

    async def estimate_of(self, run: str) -> impact_pb2.RunEstimate:
        """What was estimated for a run, and what has happened so far. Raises NotFound."""
        return await self._store.read(lambda unit: _estimate(unit, run))


def keep_estimate(unit: Unit, run: str, estimate: impact_pb2.RunEstimate) -> bool:
    """`Learning.keep` within a unit of work."""
    record = unit.runs.get(run)
    if record is None:
        raise NotFound(f"there is no {run}", field="name")
    if unit.estimates.get(run) is not None:
        return False
    kept = impact_pb2.RunEstimate()
    kept.CopyFrom(estimate)
    kept.name = run
    _put_beside(kept, NOTHING_YET)
    unit.estimates.insert(KeptEstimate(run, record.plan, record.create_time, kept.SerializeToString()))
    return True


def run_actuals(unit: Unit, aggregate: RunAggregate, estimate: impact_pb2.RunEstimate | None = None) -> RunActuals:
    """What happened in a run so far. What was published together is shared out as the estimate has it, or by rows."""
    weights = {
        (phase, dataset): outcome.publish.estimated_seconds.p50
        for phase, found in (estimate.phases.items() if estimate else ())
        for dataset, outcome in found.datasets.items()
    }
    return actuals_of(aggregate, _events(unit, aggregate.run.name), _calendars(_revision(unit, aggregate)), weights)


def _settlement_of(run: str) -> Callable[[Unit], _Settlement | None]:
    """What is to be written of a run; None where it goes on meanwhile."""

    def look(unit: Unit) -> _Settlement | None:
        kept, aggregate = unit.estimates.get(run), unit.runs.load(run)
        if kept is None or aggregate is None or aggregate.run.state not in RUN_ENDED:
            return None
        estimate = impact_pb2.RunEstimate.FromString(kept.body)
        actuals = run_actuals(unit, aggregate, estimate)
        _put_beside(estimate, actuals)
        samples = samples_of(aggregate, estimate, actuals, _revision(unit, aggregate).connections)
        return _Settlement(run, aggregate.run.attempt, estimate.SerializeToString(), samples)

    return look


def _settling(found: _Settlement) -> Callable[[Unit], bool]:
    """Writes it; False where another engine was quicker."""

    def work(unit: Unit) -> bool:
        if not unit.estimates.settle(found.run, found.attempt, found.body):
            return False
        unit.samples.add(environment_of(found.run), found.samples)
        return True

    return work


def _estimate(unit: Unit, run: str) -> impact_pb2.RunEstimate:
    kept, aggregate = unit.estimates.get(run), unit.runs.load(run)
    if aggregate is None:
        raise NotFound(no_run(run), field="name")
    if kept is None:
        raise NotFound(f"nothing was estimated for {run} when it started", field="name")
    estimate = impact_pb2.RunEstimate.FromString(kept.body)
    if kept.attempt < aggregate.run.attempt:
        _put_beside(estimate, run_actuals(unit, aggregate, estimate))
    return estimate


# What happened beside what was estimated ---------------------------------------------------------------------------------------------


def _put_beside(estimate: impact_pb2.RunEstimate, actuals: RunActuals) -> None:
    _put(estimate.makespan, actuals.makespan)
    for name, phase in estimate.phases.items():
        found = actuals.phases.get(name, PhaseActuals())
        _put(phase.duration, found.duration)
        _put(phase.downtime, found.downtime)
        _put(phase.write_downtime, found.write_downtime)
        for dataset_id, dataset in phase.datasets.items():
            part = found.datasets.get(dataset_id, DatasetActuals())
            _put(dataset.copy, part.copy)
            _put(dataset.verify, part.verify)
            _put(dataset.publish, part.publish)
    undisturbed = [phase.write_downtime for phase in estimate.phases.values() if not phase.write_downtime.disturbance]
    errors = [outcome.error for outcome in undisturbed if not math.isnan(outcome.error)]
    estimate.drift = median(errors) if errors else math.nan


def _put(outcome: impact_pb2.Outcome, actual: Actual) -> None:
    outcome.actual_seconds, outcome.disturbance = actual.seconds, actual.disturbance
    difference = abs(outcome.estimated_seconds.p50 - actual.seconds)
    if difference == 0:
        outcome.error = 0.0
    else:
        outcome.error = difference / actual.seconds if actual.seconds else math.nan  # of nothing there is no share


# What is read ------------------------------------------------------------------------------------------------------------------------


def _revision(unit: Unit, aggregate: RunAggregate) -> run_pb2.PlanRevision:
    return run_pb2.PlanRevision.FromString(unit.runs.revision(aggregate.run.name) or b"")


def _calendars(revision: run_pb2.PlanRevision) -> Mapping[str, Sequence[Calendar]]:
    """The calendars that each phase keeps to."""
    return {name: [calendar_of(each) for each in schedules_of(revision, name)] for name in revision.plan.phases}


def _events(unit: Unit, run: str) -> Iterable[RunEvent]:
    last = 0
    while page := unit.runs.events(run, last, EVENTS_PAGE):
        yield from page
        last = page[-1].sequence
