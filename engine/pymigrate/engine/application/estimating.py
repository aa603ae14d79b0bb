"""From what was measured, told by statistics or declared of a plan's datasets to the durations that a rehearsal is played with.

Of each figure the surest source is taken: a measurement of the dataset; its size, with the speed of measured datasets that travel alike;
what was declared; and at last what is assumed, which is told as not known. What was learned from earlier runs then makes the steps longer
or shorter.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pymigrate.engine.domain.calibration import Calibration, TrackRecord
from pymigrate.engine.domain.durations import SPREADS, Basis, Contention, DatasetModel, PlanDurations, Step
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.paths import PASSING
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2

Place = tuple[str, str]
Measures = Mapping[Place, impact_pb2.DatasetMeasure]
STEPS = ("copy", "verify", "publish")
ROWS_ASSUMED = 1_000_000
ROW_BYTES_ASSUMED = 100.0
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
SAMPLED_BYTES_MAX = 256e6
SAMPLED_PART = 2 / 7  # above that a seventh of the target is read, and as much of the source
STALE_SHARE = 0.5


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
    durations = PlanDurations(models, contentions)
    if turnarounds:
        durations = replace(durations, turnaround_seconds=statistics.median(turnarounds))
    return durations


def _contention(met: Sequence[tuple[float, Mapping[int, float]]]) -> Contention:
    """What several datasets of a pair of systems have found, weighed by their size."""
    weights: dict[int, float] = {}
    sums: dict[int, float] = {}
    for weight, slowdowns in met:
        for lanes, factor in slowdowns.items():
            weights[lanes] = weights.get(lanes, 0.0) + weight
            sums[lanes] = sums.get(lanes, 0.0) + weight * math.log(max(factor, 1.0))
    known = {lanes: math.exp(total / weights[lanes]) for lanes, total in sums.items() if lanes > 1}
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
        self._has_size = True

    def estimate(self, lessons: Lessons, *, is_online: bool) -> Estimate:
        """The estimate, from the surest that there is."""
        rows, size = self._size()
        basis, steps = self._steps(rows, size)
        learned = lessons(self._place, basis)
        model = DatasetModel(
            rows=rows,
            bytes=size,
            chunk_rows=self._chunk_rows(rows, size),
            copy=steps["copy"],
            verify=steps["verify"],
            publish=steps["publish"],
            basis=basis,
            spread=SPREADS[basis],
            verified_rows=self._verified_rows(rows, size),
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
                spread=lesson.calibration.spread_from(SPREADS[basis]),
                basis=Basis.HISTORY if lesson.is_own else basis,
            )
        return Estimate(
            model=fitted,
            uncalibrated=model,
            basis=basis,
            unknowns=tuple(dict.fromkeys(self._unknowns)),
            record=lesson.calibration.record if lesson else None,
            measure=self._measure or impact_pb2.DatasetMeasure(rows=-1, bytes=-1, replaced_bytes=-1),
            has_size=self._has_size,
        )

    def _size(self) -> tuple[int, int]:
        """Rows and bytes, of which at least an assumption is made."""
        declared, look, measure = self._dataset.declared, self._look, self._measure
        told = look.source.rows if look is not None and look.HasField("source") else -1
        measured = measure.rows if measure is not None and (measure.rows > 0 or measure.is_whole) else -1
        rows = measured if measured >= 0 and (measure is None or measure.is_whole or told < 0) else told
        if rows < 0 and declared.rows:
            rows = declared.rows
            self._unknowns.append(f"the rows of {self._dataset.source.relation}: {rows:,} were declared")
        row_bytes = _row_bytes(measure, look)
        if rows < 0 and declared.bytes:
            rows = round(declared.bytes / row_bytes)
            self._unknowns.append(
                f"the rows of {self._dataset.source.relation}: {declared.bytes:,} bytes were declared"
            )
        elif rows < 0 and look is not None and look.source.bytes > 0:
            rows = round(look.source.bytes / row_bytes)
            self._unknowns.append(
                f"the rows of {self._dataset.source.relation}: about {rows:,} were reckoned from its {look.source.bytes:,} bytes"
            )
        elif rows < 0:
            rows, self._has_size = ROWS_ASSUMED, False
            self._unknowns.append(
                f"the rows of {self._dataset.source.relation}: {rows:,} are assumed; declare its size, or let it be measured"
            )
        size = declared.bytes if declared.bytes and measured < 0 and told < 0 else round(rows * row_bytes)
        return rows, size

    def _steps(self, rows: int, size: int) -> tuple[Basis, dict[str, Step]]:
        measure, row_bytes = self._measure, size / rows if rows else ROW_BYTES_ASSUMED
        if measure is not None and measure.HasField("copy"):
            steps = {
                step: Step(getattr(measure, step).fixed_seconds, getattr(measure, step).row_seconds) for step in STEPS
            }
            return Basis.MEASURED, steps
        path = self._look.path if self._look is not None else ""
        alike = self._speeds.alike(self._revision, self._dataset, path, row_bytes)
        if self._dataset.declared.bytes_per_second:
            speed = self._dataset.declared.bytes_per_second
            copy = Step(FIXED_SECONDS["copy"], row_bytes / speed)
            self._unknowns.append(f"how fast it is copied: {speed:,.0f} bytes a second were declared")
            return Basis.DECLARED, {**_assumed(path, row_bytes), **alike, "copy": copy}
        if alike:
            return Basis.STATISTICS, alike
        self._unknowns.append("how fast it is copied: nothing like it was measured")
        return (Basis.STATISTICS if self._has_size else Basis.ASSUMED), _assumed(path, row_bytes)

    def _chunk_rows(self, rows: int, size: int) -> float:
        if self._measure is not None and self._measure.chunk_rows > 0:
            return self._measure.chunk_rows
        chunk_bytes = self._dataset.chunk_bytes or CHUNK_BYTES_ASSUMED
        return max(1.0, chunk_bytes * rows / size) if size > 0 else 1.0

    def _verified_rows(self, rows: int, size: int) -> float:
        level = self._dataset.verification
        is_sampled = level in {
            plan_pb2.VERIFICATION_LEVEL_UNSPECIFIED,
            plan_pb2.VERIFICATION_LEVEL_SAMPLED,
        }
        passes = self._look is not None and self._look.path in PASSING
        if level == plan_pb2.VERIFICATION_LEVEL_NONE:
            return 0.0
        return rows * SAMPLED_PART if is_sampled and not passes and size > SAMPLED_BYTES_MAX else float(rows)


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


def _row_bytes(measure: impact_pb2.DatasetMeasure | None, look: run_pb2.Inspection | None) -> float:
    if measure is not None and measure.rows > 0 and measure.bytes > 0:
        return measure.bytes / measure.rows
    if look is not None and look.source.rows > 0 and look.source.bytes > 0:
        return look.source.bytes / look.source.rows
    return ROW_BYTES_ASSUMED
