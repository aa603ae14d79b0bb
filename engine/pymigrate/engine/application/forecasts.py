"""When a run under way will end: the rehearsal of an analysis, from where the run stands now, with the speeds that it has shown.

A dataset that is being copied is as fast for the rest as it was so far, weighed by how much of it is done; what has not begun is as fast as
was estimated. The core works on a copy: nothing of the run changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.estimating import Estimate, Place, durations_of
from pymigrate.engine.application.impact_messages import moments, quantiles
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.application.rehearsing import Draw, Stage
from pymigrate.engine.application.run_estimates import read_estimates
from pymigrate.engine.domain.drawing import DRAWS_MAX, Draws
from pymigrate.engine.domain.durations import DatasetModel, PlanDurations, Step
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.quantiles import quantiles_of
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.domain.run_states import (
    PHASE_ENDED,
    RUN_ENDED,
    DesiredState,
    LaneState,
    TaskKind,
    TaskState,
)
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import impact_pb2

DRAWS_DEFAULT = 50
SHOWN_SECONDS_MIN = 1.0
SHOWN_CHUNKS_MIN = 2
SHOWN_SPREAD = 0.06
OTHERS_TOLD_MAX = 3


@dataclass(frozen=True, slots=True)
class Forecast:
    """A run as it stood at a moment, and the rehearsals of its rest; None where it had ended."""

    aggregate: RunAggregate
    time: datetime
    draws: Draws | None = None
    unknowns: tuple[str, ...] = ()


class Forecasts:
    """The use case of forecasts."""

    def __init__(self, store: Store, board: Board, limits: LaneLimits, clock: Clock, draw: Draw) -> None:
        self._store = store
        self._board = board
        self._limits = limits
        self._clock = clock
        self._draw = draw

    async def forecast(self, request: impact_pb2.ForecastRunRequest) -> impact_pb2.RunForecast:
        """When the run and its phases end. Raises NotFound, InvalidDefinition, and FailedPrecondition for a run that would wait for
        ever."""
        if not 0 <= request.draws <= DRAWS_MAX:
            raise InvalidDefinition((Problem("draws", f"is 1 to {DRAWS_MAX:,}; 0 means {DRAWS_DEFAULT}"),))
        found = await self.drawn(request.name, request.draws or DRAWS_DEFAULT, request.seed)
        answer = impact_pb2.RunForecast(name=request.name, forecast_time=timestamp(found.time))
        if found.draws is None:
            end = timestamp(found.aggregate.run.end_time)
            answer.end_time.CopyFrom(impact_pb2.Moments(p50=end, p90=end))
            answer.remaining_seconds.CopyFrom(impact_pb2.Quantiles())
            return answer
        answer.unknowns.extend(found.unknowns)
        _tell(answer, found.draws, found.time)
        return answer

    async def drawn(self, name: str, draws: int, seed: int = 0) -> Forecast:
        """The run's rest, rehearsed so often. Raises NotFound, and FailedPrecondition for a run that would wait for ever."""
        aggregate = await self._board.view(name, RunAggregate.copied)
        now = self._clock.now()
        if aggregate.run.state in RUN_ENDED:
            return Forecast(aggregate, now)
        revision = await self._board.revision(name)
        estimates, _ = await self._store.read(lambda unit: read_estimates(unit, revision))
        unknowns = self._unknowns(aggregate, estimates)
        aggregate.run.waiting_for = ()
        durations = durations_of(revision, estimates)
        durations = replace(durations, models=shown_models(aggregate, durations, now))
        stage = Stage(aggregate, await self._limits.current(), durations)
        drawn = await self._draw(stage.drawing(now, seed), aggregate, draws)
        return Forecast(aggregate, now, drawn, tuple(unknowns))

    def _unknowns(self, aggregate: RunAggregate, estimates: Mapping[Place, Estimate]) -> list[str]:
        run, told = aggregate.run, []
        if run.desired is DesiredState.PAUSED:
            told.append("When the run is resumed: it is reckoned as if that were now.")
        told += [f"When plan {plan} succeeds: it is reckoned as if it had." for plan in run.waiting_for]
        for phase in aggregate.phases.values():
            open_gates = sorted(phase.gates.keys() - phase.approvals.keys()) if phase.state not in PHASE_ENDED else []
            told += [
                f"When gate {gate} of phase {phase.id} is approved: it is reckoned as if that were at once."
                for gate in open_gates
            ]
        others = sorted(core.run.name for core in self._board.active() if core.run.name != run.name)
        if len(others) == 1:
            told.append(f"How much {others[0]} takes of what is shared: it is left out.")
        elif others:
            names = [*others[:OTHERS_TOLD_MAX], *(["others"] if len(others) > OTHERS_TOLD_MAX else [])]
            told.append(f"How much {', '.join(names[:-1])} and {names[-1]} take of what is shared: they are left out.")
        for (phase_id, name), estimate in estimates.items():
            if aggregate.phases[phase_id].state not in PHASE_ENDED:
                told += [f"Of {phase_id}/{name}: {each}." for each in estimate.unknowns]
        return told


def shown_models(aggregate: RunAggregate, durations: PlanDurations, now: datetime) -> dict[Place, DatasetModel]:
    """The models with the speeds, chunks and row sizes that datasets under way have shown, and never fewer rows than have come."""
    environment, lanes = environment_of(aggregate.run.name), _lanes_at_work(aggregate)
    found: dict[Place, DatasetModel] = {}
    for place, model in durations.models.items():
        record = aggregate.datasets[place]
        own = [
            lane
            for lane in aggregate.lanes.values()
            if (lane.phase, lane.dataset) == place and lane.attempt == aggregate.phases[place[0]].attempt
        ]
        rows, chunks = sum(lane.rows for lane in own), sum(lane.chunks for lane in own)
        under_way = [
            (now - task.leased_time).total_seconds()
            for task in aggregate.tasks.values()
            if task.kind is TaskKind.COPY
            and task.state is TaskState.LEASED
            and (task.phase, task.datasets[0]) == place
            and task.leased_time is not None
        ]
        seconds = record.copy_seconds + sum(under_way)
        if under_way and rows > 0 and chunks >= SHOWN_CHUNKS_MIN * len(own) and seconds >= SHOWN_SECONDS_MIN:
            begun = sum(lane.state is not LaneState.PENDING for lane in own)
            sides = ((environment, record.source_connection), (environment, record.target_connection))
            slowdown = durations.slowdown(sides[0], lanes, sides[1], lanes, lanes)
            shown = max(0.0, seconds - model.copy.fixed_seconds * begun) / rows / slowdown
            share = min(1.0, rows / model.rows) if model.rows > 0 else 1.0
            weight = max(share, min(1.0, seconds / 10.0))
            row_seconds = shown * weight + model.copy.row_seconds * (1.0 - weight)
            spread = SHOWN_SPREAD * weight + model.spread * (1.0 - weight)
            model = replace(model, copy=Step(model.copy.fixed_seconds, row_seconds), spread=spread)
        model = replace(model, rows=max(model.rows, rows))
        if rows > 0 and chunks > 0:  # what is done is counted in chunks: they have to be as large as those that come
            row_bytes = sum(lane.bytes for lane in own) / rows
            model = replace(model, chunk_rows=rows / chunks, bytes=round(row_bytes * model.rows))
        found[place] = model
    return found


def _lanes_at_work(aggregate: RunAggregate) -> int:
    return max(1, sum(task.state is TaskState.LEASED for task in aggregate.tasks.values()))


def _tell(answer: impact_pb2.RunForecast, drawn: Draws, now: datetime) -> None:
    makespan = quantiles_of(drawn.makespans)
    answer.end_time.CopyFrom(moments(now, makespan))
    answer.remaining_seconds.CopyFrom(quantiles(makespan))
    for name, draws in drawn.phases.items():
        ends = quantiles_of(draws.ends)
        answer.phases[name].CopyFrom(
            impact_pb2.PhaseForecast(
                end_time=moments(now, ends),
                remaining_seconds=quantiles(ends),
                downtime_seconds=quantiles(quantiles_of(draws.downtimes)),
                write_downtime_seconds=quantiles(quantiles_of(draws.write_downtimes)),
            )
        )
