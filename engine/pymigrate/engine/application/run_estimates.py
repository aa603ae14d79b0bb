"""What is estimated for a run when it starts, from what is known by then: nothing is probed for it, and the run does not wait for it.

Every look is complete in itself: a run under way that has no estimate gets one, from its frozen revision and its creation on, so that
none is missed by an engine that died in between. One that has ended before the look gets it all the same, while its engine lives.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.estimating import Estimate, Place, estimates_of
from pymigrate.engine.application.impact_messages import quantiles, varying
from pymigrate.engine.application.learning import Learning
from pymigrate.engine.application.lessons import lessons_of
from pymigrate.engine.application.measuring import kept_measures
from pymigrate.engine.application.policies import lanes_max_of
from pymigrate.engine.application.rehearsing import Draw, Stage, stage_of
from pymigrate.engine.domain.drawing import Draws, downtimes
from pymigrate.engine.domain.errors import FailedPrecondition, TemporaryError
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.quantiles import Quantiles, quantiles_of
from pymigrate.engine.domain.rehearsed import PhaseTimes
from pymigrate.engine.domain.run import DatasetRun, Run, RunAggregate
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import impact_pb2, run_pb2

log = structlog.get_logger(__name__)
DRAWS = 50
# Each takes a core for some hundredths of a second. Where many runs start at once, their calls and lost hosts do not wait for estimates.
AT_ONCE_MAX = 4
RUNS_KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Played:
    """A rehearsal of the medians: the run as it is then, and when its phases were at work."""

    aggregate: RunAggregate
    phases: dict[str, PhaseTimes]
    makespan_seconds: float

    def publish_seconds(self, record: DatasetRun, estimates: dict[Place, Estimate]) -> float:
        """A dataset's share of what was published together with it."""
        together = [
            other
            for other in self.aggregate.datasets.values()
            if (other.phase, other.target_connection) == (record.phase, record.target_connection)
        ]
        total = sum(estimates[other.phase, other.id].model.publish_seconds for other in together)
        own = estimates[record.phase, record.id].model.publish_seconds
        return record.publish_seconds * (own / total if total > 0 else 1 / len(together))


class RunEstimates:
    """Estimates runs that have started."""

    def __init__(self, store: Store, board: Board, learning: Learning, lanes_max: int, draw: Draw) -> None:
        self._store = store
        self._board = board
        self._learning = learning
        self._lanes_max = lanes_max
        self._draw = draw
        self._known: set[str] = set()
        self._due: list[str] = []

    async def step(self) -> None:
        """One look: runs under way that have no estimate get one, of many a few at each look, in the order in which they came. Raises a
        TemporaryError when the store can't be used now; the next look goes on."""
        under_way = [core.run.name for core in self._board.active()]
        names = [name for name in dict.fromkeys([*self._board.take_added(), *under_way]) if name not in self._known]
        if len(self._known) + len(names) > RUNS_KNOWN_MAX:
            self._known.clear()
        self._known.update(names)
        self._due.extend(names)
        made = 0
        while self._due and made < AT_ONCE_MAX:
            name = self._due.pop(0)
            try:
                if not await self._store.read(_has_estimate(name)):
                    made += 1
                    await self._keep(name)
            except TemporaryError:
                self._due.insert(0, name)
                raise

    async def _keep(self, name: str) -> None:
        revision = await self._board.revision(name)
        run = await self._board.view(name, lambda aggregate: aggregate.run)
        try:
            estimate = await self._estimate(revision, run)
        except FailedPrecondition as error:  # what it waits for is told by the run itself
            log.info("run.not_estimated", run=name, reason=error.message)
            return
        await self._learning.keep(name, estimate)

    async def _estimate(self, revision: run_pb2.PlanRevision, run: Run) -> impact_pb2.RunEstimate:
        """Raises FailedPrecondition for a run that would wait for ever."""
        estimates, lanes_max = await self._store.read(lambda unit: read_estimates(unit, revision))
        stage = stage_of(revision, estimates, lanes_max, self._lanes_max, run.create_time)
        plain = stage_of(revision, estimates, lanes_max, self._lanes_max, run.create_time, is_calibrated=False)
        drawn = await self._draw(stage.drawing(run.create_time, 0), stage.aggregate, DRAWS)
        median, uncalibrated = _played(stage, run), _played(plain, run)
        found = impact_pb2.RunEstimate(name=run.name)
        found.makespan.CopyFrom(_outcome(quantiles_of(drawn.makespans), uncalibrated.makespan_seconds))
        for phase in sorted(median.phases):
            found.phases[phase].CopyFrom(_phase(phase, drawn, uncalibrated))
        for (phase, name), estimate in estimates.items():
            record, plain_record = median.aggregate.datasets[phase, name], uncalibrated.aggregate.datasets[phase, name]
            spread, dataset = estimate.model.spread, found.phases[phase].datasets[name]
            dataset.basis = str(estimate.basis)
            for outcome, seconds, plain_seconds in (
                (dataset.copy, record.copy_seconds, plain_record.copy_seconds),
                (dataset.verify, record.verify_seconds, plain_record.verify_seconds),
                (
                    dataset.publish,
                    median.publish_seconds(record, estimates),
                    uncalibrated.publish_seconds(plain_record, estimates),
                ),
            ):
                outcome.estimated_seconds.CopyFrom(varying(seconds, spread))
                outcome.uncalibrated_seconds = plain_seconds
        told = [f"Of {phase}/{name}: {each}." for (phase, name), e in estimates.items() for each in e.unknowns]
        found.unknowns.extend(told)
        return found


def _has_estimate(name: str) -> Callable[[Unit], bool]:
    return lambda unit: unit.estimates.get(name) is not None


def read_estimates(unit: Unit, revision: run_pb2.PlanRevision) -> tuple[dict[Place, Estimate], int]:
    """Every dataset of a run's revision as it is estimated now, and the most lanes of its environment (0: no limit)."""
    measures, lessons = kept_measures(unit, revision), lessons_of(unit, revision)
    lanes_max = lanes_max_of(unit, environment_of(revision.plan.name), revision.policy)
    return estimates_of(revision, measures, lessons), lanes_max


def _played(stage: Stage, run: Run) -> _Played:
    found, aggregate = stage.median(run.create_time)
    return _Played(aggregate, found.phases[aggregate.run.name], found.ends[aggregate.run.name])


def _phase(phase: str, drawn: Draws, plain: _Played) -> impact_pb2.PhaseOutcome:
    draws, record, plain_times = drawn.phases[phase], plain.aggregate.phases[phase], plain.phases[phase]
    down, blocked = downtimes(record, plain_times)
    durations = [end - start for start, end in zip(draws.starts, draws.ends, strict=True)]
    return impact_pb2.PhaseOutcome(
        duration=_outcome(quantiles_of(durations), plain_times.end_seconds - plain_times.start_seconds),
        downtime=_outcome(quantiles_of(draws.downtimes), down),
        write_downtime=_outcome(quantiles_of(draws.write_downtimes), blocked),
    )


def _outcome(estimated: Quantiles, uncalibrated_seconds: float) -> impact_pb2.Outcome:
    return impact_pb2.Outcome(estimated_seconds=quantiles(estimated), uncalibrated_seconds=uncalibrated_seconds)
