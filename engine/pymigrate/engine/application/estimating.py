"""From what was measured, told by statistics or declared of a plan's datasets to the durations that a rehearsal is played with.

Of each figure the surest source is taken: a measurement of the dataset; its size, with the speed of measured datasets that travel alike;
what was declared; and at last what is assumed, which is told as not known. The less sure of size and speed gives the bounds. What was
learned from earlier runs then makes the steps longer or shorter.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pymigrate.engine.application import works
from pymigrate.engine.application.dataset_sizes import Size, size_of
from pymigrate.engine.application.limits import rate_of
from pymigrate.engine.domain.calibration import Calibration, TrackRecord
from pymigrate.engine.domain.durations import SPREADS, Basis, Contention, DatasetModel, PlanDurations, Step
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.paths import PASSING
from pymigrate.engine.domain.rates import Rate
from pymigrate.engine.domain.sampling import SAMPLED_BYTES_MAX, SAMPLED_ROWS_MAX, SAMPLED_SHARE
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2

Place = tuple[str, str]
Measures = Mapping[Place, impact_pb2.DatasetMeasure]
STEPS = ("copy", "verify", "publish")
LANE_BYTES_PER_SECOND: Mapping[str, float] = {
    "postgres_binary": 100e6,
    "postgres_text": 45e6,
    "csv": 90e6,
    "arrow": 70e6,
}
"""What a lane copies in a second where nothing was measured: what `benchmarks/transfer.py` finds on two cores, servers included."""
VERIFY_BYTES_PER_SECOND = 100e6
FIXED_SECONDS = {"copy": 0.3, "verify": 0.2, "publish": 0.2}
CHUNK_BYTES_ASSUMED = 20e6
CAPTURE_SECONDS = 0.3
CATCH_UP_SECONDS = 0.3
SCARCE = 1.2


@dataclass(frozen=True, slots=True)
class Learned:
    """What earlier runs have taught of a step of a dataset; `is_own`: runs of this dataset are among them."""

    calibration: Calibration
    is_own: bool


Lessons = Callable[[Place, Basis], Mapping[str, Learned]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A dataset's durations, and how they were come by. `uncalibrated` are they before what was learned, found by `basis`; `record` is that
    of the step that takes longest, None where nothing was learned. `measure` is empty where nothing was measured; `has_size` tells whether
    rows and bytes are known."""

    model: DatasetModel
    uncalibrated: DatasetModel
    basis: Basis
    unknowns: tuple[str, ...]
    record: TrackRecord | None
    measure: impact_pb2.DatasetMeasure
    has_size: bool


def estimates_of(
    revision: run_pb2.PlanRevision,
    measures: Measures,
    lessons: Lessons,
) -> dict[Place, Estimate]:
    """Every dataset's durations. `measures` are those that hold; `lessons` tells what was learned of a dataset's steps."""
    speeds = _Speeds(revision, measures)
    found: dict[Place, Estimate] = {}
    for phase, each in sorted(revision.plan.phases.items()):
        is_online = each.downtime_policy == plan_pb2.DOWNTIME_POLICY_ONLINE
        for name in sorted(each.datasets):
            made = _Making(revision, phase, name, measures.get((phase, name)), speeds)
            found[phase, name] = made.estimate(lessons, is_online=is_online)
    return found


def durations_of(
    revision: run_pb2.PlanRevision, estimates: Mapping[Place, Estimate], *, is_calibrated: bool = True
) -> PlanDurations:
    """What a rehearsal of the revision asks."""
    environment = environment_of(revision.plan.name)
    met: dict[tuple[str, str], list[tuple[float, Mapping[int, float]]]] = {}
    turnarounds = []
    for (phase, name), estimate in estimates.items():
        sides = revision.plan.phases[phase].datasets[name]
        if estimate.measure.slowdowns:
            pair = (sides.source.connection, sides.target.connection)
            met.setdefault(pair, []).append((float(max(estimate.model.bytes, 1)), estimate.measure.slowdowns))
        if estimate.measure.turnaround_seconds > 0:
            turnarounds.append(estimate.measure.turnaround_seconds)
    everywhere = _contention([entry for entries in met.values() for entry in entries])
    contentions = {}
    for each in revision.plan.phases.values():
        for sides in each.datasets.values():
            pair = (sides.source.connection, sides.target.connection)
            # What one pair of systems was found to bear is the best guess for another: worker hosts are the same.
            found = _contention(met[pair]) if pair in met else everywhere
            contentions[(environment, pair[0]), (environment, pair[1])] = found
    models = {place: each.model if is_calibrated else each.uncalibrated for place, each in estimates.items()}
    leads = {place: lead for place in models if (lead := _lead(revision, place)) > 0}
    durations = PlanDurations(models, contentions, leads=leads)
    if turnarounds:
        durations = replace(durations, turnaround_seconds=statistics.median(turnarounds))
    return durations


def _lead(revision: run_pb2.PlanRevision, place: Place) -> float:
    """How long the first chunk of a lane is to take whose systems limit bytes, while all lanes of its dataset are at work."""
    sides = revision.plan.phases[place[0]].datasets[place[1]]
    source, target = (rate_of(revision.connections[side.connection]) for side in (sides.source, sides.target))
    lanes = max(1, len(revision.inspections["/".join(place)].ranges))
    rate = Rate(source.tighter(target).bytes_per_second).shared(lanes)
    return rate.seconds(works.held_chunk_bytes(revision, *place), 0)


def _contention(met: Sequence[tuple[float, Mapping[int, float]]]) -> Contention:
    """What several datasets of a pair of systems have found, weighed by their size."""
    weights: dict[int, float] = {}
    sums: dict[int, float] = {}
    for weight, slowdowns in met:
        for lanes, factor in slowdowns.items():
            weights[lanes] = weights.get(lanes, 0.0) + weight
            sums[lanes] = sums.get(lanes, 0.0) + weight * math.log(max(factor, 1.0))
    known = {lanes: math.exp(total / weights[lanes]) for lanes, total in sorted(sums.items()) if lanes > 1}
    for fewer, more in pairwise(known):
        # What is scarce for fewer lanes is shared by more: where less than that was measured, one of the two is wrong.
        shared = known[fewer] * more / fewer
        if known[fewer] > SCARCE and known[more] < shared:
            known[more] = math.sqrt(known[more] * shared)
    return Contention(tuple(sorted({1: 1.0, **known}.items())))


class _Speeds:
    """What measured datasets of the plan have shown of their like, by path and systems: seconds for a byte, by step."""

    def __init__(self, revision: run_pb2.PlanRevision, measures: Measures) -> None:
        self._met: dict[tuple[str, str, str], list[impact_pb2.DatasetMeasure]] = {}
        for (phase, name), measure in sorted(measures.items()):
            if phase in revision.plan.phases and name in revision.plan.phases[phase].datasets:
                sides = revision.plan.phases[phase].datasets[name]
                self._met.setdefault(_kind(revision, sides, measure.path), []).append(measure)

    def alike(
        self, revision: run_pb2.PlanRevision, sides: plan_pb2.Dataset, path: str, row_bytes: float
    ) -> dict[str, Step]:
        """The median steps of measured datasets that travel alike, for rows of such a size; empty where there are none."""
        met = [each for each in self._met.get(_kind(revision, sides, path), []) if each.rows > 0 and each.bytes > 0]
        if not met:
            return {}
        return {
            step: Step(
                statistics.median(getattr(each, step).fixed_seconds for each in met),
                statistics.median(getattr(each, step).row_seconds * each.rows / each.bytes for each in met) * row_bytes,
            )
            for step in STEPS
        }


def _kind(revision: run_pb2.PlanRevision, sides: plan_pb2.Dataset, path: str) -> tuple[str, str, str]:
    kinds = [revision.connections[side.connection].WhichOneof("system") or "" for side in (sides.source, sides.target)]
    return path, kinds[0], kinds[1]


class _Making:
    """One dataset's estimate while it is made."""

    def __init__(
        self,
        revision: run_pb2.PlanRevision,
        phase: str,
        name: str,
        measure: impact_pb2.DatasetMeasure | None,
        speeds: _Speeds,
    ) -> None:
        self._place = (phase, name)
        self._dataset = revision.plan.phases[phase].datasets[name]
        self._revision = revision
        self._measure = measure
        self._speeds = speeds
        place = f"{phase}/{name}"
        self._look = revision.inspections.get(place)
        self._unknowns = list(measure.unknowns) if measure is not None else []

    def estimate(self, lessons: Lessons, *, is_online: bool) -> Estimate:
        """The estimate, from the surest that there is."""
        size = size_of(self._dataset, self._measure, self._look)
        self._unknowns.extend(size.unknowns)
        basis, speed_spread, steps = self._steps(size)
        spread = max(size.spread, speed_spread)
        learned = lessons(self._place, basis)
        model = DatasetModel(
            rows=size.rows,
            bytes=size.bytes,
            chunk_rows=self._chunk_rows(size),
            copy=steps["copy"],
            verify=steps["verify"],
            publish=steps["publish"],
            basis=basis,
            spread=spread,
            verified_rows=self._verified_rows(size),
            catch_up=Step(CATCH_UP_SECONDS) if is_online else Step(),
            capture_seconds=CAPTURE_SECONDS if is_online else 0.0,
        )
        if is_online:
            self._unknowns.append("how much changes in the source meanwhile: the tail is reckoned without changes")
        fitted = model.calibrated(*(learned[step].calibration.factor if step in learned else 1.0 for step in STEPS))
        longest = max(STEPS, key=lambda step: _seconds_of(fitted, step))
        lesson = learned.get(longest)
        if lesson is not None:
            fitted = replace(
                fitted,
                spread=lesson.calibration.spread_from(spread),
                basis=Basis.HISTORY if lesson.is_own else basis,
            )
        return Estimate(
            model=fitted,
            uncalibrated=model,
            basis=basis,
            unknowns=tuple(dict.fromkeys(self._unknowns)),
            record=lesson.calibration.record if lesson else None,
            measure=self._measure or impact_pb2.DatasetMeasure(rows=-1, bytes=-1, replaced_bytes=-1),
            has_size=size.is_known,
        )

    def _steps(self, size: Size) -> tuple[Basis, float, dict[str, Step]]:
        """The steps, how they were found, and how far they spread by that."""
        measure = self._measure
        if measure is not None and measure.HasField("copy") and (measure.copy.row_seconds > 0 or not size.rows):
            steps = {
                step: Step(getattr(measure, step).fixed_seconds, getattr(measure, step).row_seconds) for step in STEPS
            }
            return Basis.MEASURED, SPREADS[Basis.MEASURED], steps
        path = self._look.path if self._look is not None else ""
        alike = self._speeds.alike(self._revision, self._dataset, path, size.row_bytes)
        assumed = _assumed(path, size.row_bytes)
        if self._dataset.declared.bytes_per_second:
            speed = self._dataset.declared.bytes_per_second
            copy = Step(FIXED_SECONDS["copy"], size.row_bytes / speed)
            self._unknowns.append(f"how fast it is copied: {speed:,.0f} bytes a second were declared")
            return Basis.DECLARED, SPREADS[Basis.DECLARED], {**assumed, **alike, "copy": copy}
        if not alike:
            self._unknowns.append("how fast it is copied: nothing like it was measured")
        basis = Basis.STATISTICS if size.basis is Basis.MEASURED else size.basis
        return basis, SPREADS[Basis.STATISTICS], alike or assumed

    def _chunk_rows(self, size: Size) -> float:
        row_bytes = size.bytes / size.rows if size.rows > 0 else 0.0
        if self._measure is not None and self._measure.chunk_rows > 0:
            rows = self._measure.chunk_rows
        else:
            rows = (self._dataset.chunk_bytes or CHUNK_BYTES_ASSUMED) / row_bytes if row_bytes > 0 else 1.0
        held = works.held_chunk_bytes(self._revision, *self._place)
        if held and row_bytes > 0:
            rows = min(rows, held / row_bytes)
        return max(1.0, rows)

    def _verified_rows(self, size: Size) -> float:
        """The rows that comparing reads; a measurement of counting tells itself what rows cost then."""
        passes = self._look is not None and self._look.path in PASSING
        match self._dataset.verification:
            case plan_pb2.VERIFICATION_LEVEL_NONE:
                return 0.0
            case plan_pb2.VERIFICATION_LEVEL_COUNT if self._measure is None:
                return 0.0
            case plan_pb2.VERIFICATION_LEVEL_UNSPECIFIED | plan_pb2.VERIFICATION_LEVEL_SAMPLED:
                if passes or size.bytes <= SAMPLED_BYTES_MAX:
                    return float(size.rows)
                return 2 * min(size.rows / SAMPLED_SHARE, SAMPLED_ROWS_MAX)  # of the target, and as much of the source
            case _:
                return float(size.rows)


def _seconds_of(model: DatasetModel, step: str) -> float:
    match step:
        case "copy":
            return model.copy_seconds(1)
        case "verify":
            return model.verify_seconds
        case _:
            return model.publish_seconds


def _assumed(path: str, row_bytes: float) -> dict[str, Step]:
    speed = LANE_BYTES_PER_SECOND.get(path, LANE_BYTES_PER_SECOND["arrow"])
    return {
        "copy": Step(FIXED_SECONDS["copy"], row_bytes / speed),
        "verify": Step(FIXED_SECONDS["verify"], row_bytes / VERIFY_BYTES_PER_SECOND),
        "publish": Step(FIXED_SECONDS["publish"]),
    }
