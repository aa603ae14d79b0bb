"""One analysis: a revision whose durations are estimated, rehearsed, and told in terms of the business."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pymigrate.engine.application.estimating import Estimate, Place
from pymigrate.engine.application.impact_messages import (
    dataset_message,
    impact_message,
    phase_message,
    resources_message,
)
from pymigrate.engine.application.landscapes import load_of, move_of
from pymigrate.engine.application.measuring import Known
from pymigrate.engine.application.rehearsing import Draw, Stage
from pymigrate.engine.domain.assessment import assess
from pymigrate.engine.domain.business import NOT_KNOWN, Move
from pymigrate.engine.domain.drawing import Draws, PhaseDraws, downtimes
from pymigrate.engine.domain.durations import Basis
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.domain.outages import PhaseTimes
from pymigrate.engine.domain.resources import Load, resources_of
from pymigrate.engine.domain.starts import best_start
from pymigrate.engine.domain.systems import Landscape
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2

TOLD_MAX = 200


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is analyzed. `estimates` has every dataset of the revision; `memory_bytes_max` is what all worker hosts may hold."""

    revision: run_pb2.PlanRevision
    estimates: Mapping[Place, Estimate]
    known: Known
    landscape: Landscape
    stage: Stage
    memory_bytes_max: int

    async def impact(self, draw: Draw, draws: int, seed: int, start: datetime, now: datetime) -> impact_pb2.Impact:
        """What it costs. Raises FailedPrecondition when it would wait for ever."""
        drawn = await draw(self.stage.drawing(start, seed), self.stage.aggregate, draws)
        # Of a thousand phases that takes seconds: the engine's calls and leases go on meanwhile.
        return await asyncio.to_thread(self._told, drawn, seed, start, now)

    def _told(self, drawn: Draws, seed: int, start: datetime, now: datetime) -> impact_pb2.Impact:
        plan = self.revision.plan
        moves = {phase: self._move(phase) for phase in sorted(plan.phases)}
        figures = assess(moves, drawn.phases, self.landscape, start)
        impact = impact_message(figures, drawn, best_start(moves, self.landscape, start, self._played))
        impact.plan, impact.plan_hash, impact.seed = plan.name, plan.plan_hash, seed
        impact.analyze_time.FromDatetime(now)
        impact.probe_seconds = self.known.seconds
        loads = {place: self._load(place) for place in sorted(self.estimates)}
        for name, each in figures.phases.items():
            datasets = {
                dataset: dataset_message(
                    estimate, self.revision.inspections[f"{name}/{dataset}"], self._unknowns((name, dataset))
                )
                for (phase, dataset), estimate in self.estimates.items()
                if phase == name
            }
            message = phase_message(each, drawn.phases[name], start, datasets)
            message.department = plan.phases[name].department
            message.downtime_policy = plan.phases[name].downtime_policy or plan_pb2.DOWNTIME_POLICY_OFFLINE
            message.rows, message.bytes = moves[name].rows, moves[name].bytes
            own = [load for (phase, _), load in loads.items() if phase == name]
            message.resources.CopyFrom(self._resources(own, drawn, drawn.phases[name].lanes_peak))
            impact.phases[name].CopyFrom(message)
        impact.resources.CopyFrom(self._resources(list(loads.values()), drawn, drawn.lanes_peak))
        told = [
            *self.known.plan_unknowns,
            *(each for move in moves.values() for each in move.unknowns),
            *figures.unknowns,
        ]
        impact.unknowns.extend(list(dict.fromkeys(told))[:TOLD_MAX])
        return impact

    def _move(self, phase: str) -> Move:
        own = {name: each for (of, name), each in self.estimates.items() if of == phase}
        is_known = all(each.has_size for each in own.values())
        return move_of(
            self.revision,
            phase,
            rows=sum(each.model.rows for each in own.values()) if is_known else NOT_KNOWN,
            size_bytes=sum(each.model.bytes for each in own.values()) if is_known else NOT_KNOWN,
            unknowns=[f"Of {phase}/{name}: {told}." for name in own for told in self._doubts((phase, name))],
        )

    def _unknowns(self, place: Place) -> list[str]:
        return list(dict.fromkeys([*self.known.unknowns.get(place, ()), *self.estimates[place].unknowns]))

    def _doubts(self, place: Place) -> list[str]:
        """What makes an estimate doubtful; what a measurement merely notes does not."""
        is_sure = self.estimates[place].has_size and self.estimates[place].basis in {Basis.HISTORY, Basis.MEASURED}
        return [] if is_sure else self._unknowns(place)

    def _load(self, place: Place) -> Load:
        estimate = self.estimates[place]
        return load_of(
            self.revision,
            *place,
            rows=estimate.model.rows if estimate.has_size else NOT_KNOWN,
            size_bytes=estimate.model.bytes if estimate.has_size else NOT_KNOWN,
            target_row_bytes=estimate.measure.target_row_bytes,
            replaced_bytes=estimate.measure.replaced_bytes,
        )

    def _resources(self, loads: list[Load], drawn: Draws, lanes_peak: int) -> impact_pb2.Resources:
        peaks = {name: min(lanes_peak, lanes) for name, lanes in drawn.connection_lanes_peak.items()}
        return resources_message(resources_of(loads, lanes_peak, peaks, self.memory_bytes_max))

    def _played(self, start: datetime) -> Mapping[str, PhaseTimes] | None:
        """The phases' times in one rehearsal from a start; None where it would wait for ever."""
        try:
            found, aggregate = self.stage.median(start)
        except FailedPrecondition:
            return None
        times: dict[str, PhaseTimes] = {}
        for name, each in found.phases[aggregate.run.name].items():
            downtime, write_downtime = downtimes(aggregate.phases[name], each)
            times[name] = PhaseDraws([each.start_seconds], [each.end_seconds], [downtime], [write_downtime])
        return times
