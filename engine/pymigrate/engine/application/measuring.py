"""What is known of a plan's datasets: what a look finds, what was measured before, and what probes measure now.

Measurements are kept, and hold as long as what they measured is declared as it was. Where nothing may be probed, a dataset that was
measured is not looked at either: what the look found is told by the measurement.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from pymigrate.engine.application.dataset_sizes import is_out_of_date
from pymigrate.engine.application.estimating import Measures, Place
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.probing import Probing, measured_hash
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import impact_pb2, run_pb2


@dataclass(frozen=True, slots=True)
class Known:
    """The measurements of datasets, what is not known of them and of the plan, as sentences, and how long probing took in seconds."""

    measures: Measures = field(default_factory=dict)
    unknowns: Mapping[Place, Sequence[str]] = field(default_factory=dict)
    plan_unknowns: Sequence[str] = ()
    seconds: float = 0.0

    def without(self, places: Collection[Place]) -> "Known":
        """The same but for datasets of which nothing of it holds."""
        return replace(
            self,
            measures={place: measure for place, measure in self.measures.items() if place not in places},
            unknowns={place: told for place, told in self.unknowns.items() if place not in places},
        )


class Measuring:
    """Measures plans, and keeps what was found."""

    def __init__(self, store: Store, inspections: Inspections, probing: Probing) -> None:
        self._store = store
        self._inspections = inspections
        self._probing = probing
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def measure(
        self, revision: run_pb2.PlanRevision, seconds_max: float, lanes_at_once: int, *, is_anew: bool
    ) -> Known:
        """What is known of each dataset, probed for at most so long (0 or less: not at all). The inspections come into the revision. Of a
        plan that is being probed the next probing waits for the end of that: both would use the same scratch relations."""
        if seconds_max <= 0:
            return await self._measure(revision, 0.0, lanes_at_once, is_anew=is_anew)
        turn = self._turns.setdefault(revision.plan.name, asyncio.Lock())
        async with turn:
            return await self._measure(revision, seconds_max, lanes_at_once, is_anew=is_anew)

    async def recall(self, revision: run_pb2.PlanRevision) -> Known:
        """What is known of each dataset from earlier measurements alone: no system is looked at, and no host is asked. For a plan that is
        only proposed: what it would connect to is nobody's choice yet."""
        kept = await self._store.read(lambda unit: kept_measures(unit, revision))
        unknowns: dict[Place, Sequence[str]] = {}
        for place in places_of(revision):
            look, measure = revision.inspections["/".join(place)], kept.get(place)
            if measure is not None:
                look.CopyFrom(inspection_told_by(measure))
            else:
                look.source.rows = look.source.bytes = -1
                unknowns[place] = ["it was not measured as it is proposed"]
        return Known(kept, unknowns)

    async def _measure(
        self, revision: run_pb2.PlanRevision, seconds_max: float, lanes_at_once: int, *, is_anew: bool
    ) -> Known:
        places, is_probed = places_of(revision), seconds_max > 0
        kept = await self._store.read(lambda unit: kept_measures(unit, revision))
        told = {} if is_probed else {place: measure for place, measure in kept.items() if measure.path}
        for place, measure in told.items():
            revision.inspections["/".join(place)].CopyFrom(inspection_told_by(measure))
        problems = await self._inspections.gather(revision, [place for place in places if place not in told])
        unknowns = {place: [problem.description for problem in found] for place, found in problems.items()}
        unseen = [place for place in places if "/".join(place) not in revision.inspections]
        for place in unseen:
            revision.inspections["/".join(place)].source.rows = -1
            revision.inspections["/".join(place)].source.bytes = -1
        if not is_probed:
            return Known(kept, unknowns)
        holding = {} if is_anew else _holding(kept, revision)
        found = await self._probing.measure(revision, places, seconds_max, holding, lanes_at_once)
        for place, measure in found.measures.items():
            look = revision.inspections["/".join(place)]
            if place in unseen:
                look.CopyFrom(inspection_told_by(measure))
                continue
            take_look(measure, look)
            if measure.is_whole and place not in holding:  # all of it was copied just now, whatever the source tells
                look.source.rows, look.source.is_exact_rows = measure.rows, True
        for place, why in found.unknowns.items():
            unknowns.setdefault(place, []).extend(why)
        fresh = {place: measure for place, measure in found.measures.items() if kept.get(place) != measure}
        if fresh:
            await self._store.transact(lambda unit: keep_measures(unit, revision.plan.name, fresh))
        return Known({**kept, **found.measures}, unknowns, tuple(found.plan_unknowns), found.seconds)


def places_of(revision: run_pb2.PlanRevision) -> list[Place]:
    """Every dataset of a revision, ordered."""
    return [(phase, name) for phase, each in sorted(revision.plan.phases.items()) for name in sorted(each.datasets)]


def kept_measures(unit: Unit, revision: run_pb2.PlanRevision) -> dict[Place, impact_pb2.DatasetMeasure]:
    """The measurements of a plan that hold for this revision of it."""
    wanted, found = set(places_of(revision)), {}
    for name, body in unit.measures.list(revision.plan.name).items():
        phase, _, dataset = name.partition("/")
        measure = impact_pb2.DatasetMeasure.FromString(body)
        if (phase, dataset) in wanted and measure.hash == measured_hash(revision, (phase, dataset)):
            found[phase, dataset] = measure
    return found


def keep_measures(unit: Unit, plan: str, measures: Measures) -> None:
    """Keeps the newest measurement of each dataset."""
    for place, measure in sorted(measures.items()):
        unit.measures.put(plan, "/".join(place), measure.SerializeToString())


def take_look(measure: impact_pb2.DatasetMeasure, look: run_pb2.Inspection) -> None:
    """Notes with a measurement what the look before it found."""
    measure.path, measure.path_reason = look.path, look.path_reason
    measure.lanes = max(1, len(look.ranges))
    row_bytes = measure.target_row_bytes
    measure.replaced_bytes = round(look.target_rows * row_bytes) if row_bytes > 0 or not look.target_rows else -1


def _holding(kept: Measures, revision: run_pb2.PlanRevision) -> dict[Place, impact_pb2.DatasetMeasure]:
    """The measurements of datasets that have about the rows that they had then."""
    return {
        place: measure
        for place, measure in kept.items()
        if not is_out_of_date(measure, revision.inspections["/".join(place)])
    }


def inspection_told_by(measure: impact_pb2.DatasetMeasure) -> run_pb2.Inspection:
    """What a look has found once, as far as a rehearsal asks for it."""
    look = run_pb2.Inspection(path=measure.path, path_reason=measure.path_reason)
    look.source.rows, look.source.bytes = measure.rows, measure.bytes
    if measure.lanes > 1:
        look.ranges.extend([""] * measure.lanes)
    if measure.target_row_bytes > 0 and measure.replaced_bytes > 0:
        look.is_target_present = True
        look.target_rows = round(measure.replaced_bytes / measure.target_row_bytes)
    return look
