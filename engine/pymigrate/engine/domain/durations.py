"""How long the steps of a plan take as far as is known, and how sure that is: what a rehearsal is played with.

A step of a dataset takes `fixed_seconds` and `row_seconds` for each row. Each draw makes every step longer or shorter by two lognormal
factors: one that everything in the draw shares, as on a slow day, and one of the dataset's own.
"""

import hashlib
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rehearsal import CopyShape
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.domain.schedule import Place

STEP_SECONDS_ASSUMED = 1.0
TURNAROUND_SECONDS = (
    0.02  # from one task's end to the next one's begin on a warm host; `benchmarks/impact.py` prints what it was
)
NORMAL = NormalDist()
SALT_BITS = 64
PLACES_CACHED_MAX = 100_000
SHARED_PART = 0.5  # of a dataset's variance, what the datasets of a draw have in common


class Basis(StrEnum):
    """How an estimate was found, the surest first."""

    HISTORY = "history"
    MEASURED = "measured"
    STATISTICS = "statistics"
    DECLARED = "declared"
    ASSUMED = "assumed"


SPREADS: Mapping[Basis, float] = {
    Basis.HISTORY: 0.06,
    Basis.MEASURED: 0.15,
    Basis.STATISTICS: 0.50,
    Basis.DECLARED: 0.40,
    Basis.ASSUMED: 1.00,
}
"""The standard deviation of the logarithm of a duration, by its basis, before any estimate of the kind was compared."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step's duration: `fixed_seconds`, and `row_seconds` for each row."""

    fixed_seconds: float = 0.0
    row_seconds: float = 0.0

    def seconds(self, rows: float) -> float:
        """How long it takes for so many rows."""
        return self.fixed_seconds + self.row_seconds * max(rows, 0.0)

    def times(self, factor: float) -> "Step":
        """The step where everything takes so many times longer."""
        return Step(self.fixed_seconds * factor, self.row_seconds * factor)


@dataclass(frozen=True, slots=True)
class Contention:
    """How many times longer a lane takes while others run: known for some numbers of lanes in all, ascending, and interpolated in
    between. Beyond the largest it grows in proportion: whatever is scarce there is shared."""

    known: tuple[tuple[int, float], ...] = ((1, 1.0),)

    def at(self, lanes: int) -> float:
        """The factor with so many lanes in all, 1 at least."""
        below, above = (1, 1.0), None
        for point in self.known:
            if point[0] <= lanes:
                below = point
            elif above is None:
                above = point
        if below[0] >= lanes:
            return max(1.0, below[1])
        if above is None:
            is_scarce = below[1] > 1.0 + 1e-9
            return max(1.0, below[1] * lanes / below[0]) if is_scarce else 1.0
        share = (lanes - below[0]) / (above[0] - below[0])
        return max(1.0, below[1] + share * (above[1] - below[1]))


NO_CONTENTION = Contention()


@dataclass(frozen=True, slots=True)
class DatasetModel:
    """A dataset's steps. `rows` and `bytes` are what is reckoned with; `verified_rows` are those that comparing reads (-1: all of them).
    `spread` is the standard deviation of the logarithm of its durations. `catch_up` is one round of an online dataset's changes."""

    rows: int
    bytes: int
    chunk_rows: float
    copy: Step
    verify: Step
    publish: Step
    basis: Basis
    spread: float
    verified_rows: float = -1.0
    catch_up: Step = Step()
    capture_seconds: float = 0.0

    @property
    def verify_seconds(self) -> float:
        """Comparing, alone."""
        return self.verify.seconds(self.rows if self.verified_rows < 0 else self.verified_rows)

    @property
    def publish_seconds(self) -> float:
        """Publishing, alone."""
        return self.publish.seconds(self.rows)

    def copy_seconds(self, lanes: int) -> float:
        """Copying, of all lanes together, each as if it were alone."""
        return self.copy.fixed_seconds * max(lanes, 1) + self.copy.row_seconds * self.rows

    def calibrated(self, copy: float, verify: float, publish: float) -> "DatasetModel":
        """The model with its steps so many times longer."""
        return replace(
            self,
            copy=self.copy.times(copy),
            verify=self.verify.times(verify),
            publish=self.publish.times(publish),
        )


@dataclass(slots=True)
class PlanDurations:
    """What a rehearsal asks: the models by (phase, dataset), how lanes from one connection into another disturb each other, and how many
    times longer a draw makes a dataset's steps. `step_seconds` tell how long calls outside databases take, by (phase, step). A
    lane of a dataset whose systems limit it waits before its first chunk for a part of its `leads`, by chance: `salt` is a draw's, and
    without one the last of its lanes waits for as long as is to be expected."""

    models: Mapping[tuple[str, str], DatasetModel]
    contentions: Mapping[tuple[Place, Place], Contention] = field(default_factory=dict)
    turnaround_seconds: float = TURNAROUND_SECONDS
    step_seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    factors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    leads: Mapping[tuple[str, str], float] = field(default_factory=dict)
    salt: int | None = None
    _slowdowns: dict[tuple[Place, Place, int], float] = field(default_factory=dict)

    def drawn(self, rng: random.Random) -> "PlanDurations":
        """The same with other durations, by chance. What one dataset's are does not depend on which others there are, so that a plan
        and a variant of it differ by what was changed alone."""
        shared, salt = rng.gauss(0.0, 1.0), rng.getrandbits(SALT_BITS)
        factors = {}
        for place, model in self.models.items():
            own = NORMAL.inv_cdf(_uniform(salt ^ _number_of(*place)))
            mixed = math.sqrt(SHARED_PART) * shared + math.sqrt(1.0 - SHARED_PART) * own
            factors[place] = math.exp(model.spread * mixed)
        return replace(self, factors=factors, salt=salt)

    def copy(self, core: RunCore, task: Task) -> CopyShape:
        """The rows of a lane's part, in chunks."""
        place = (task.phase, task.datasets[0])
        model, parts = self.models[place], max(1, len(core.aggregate.datasets[place].ranges))
        rows, size = model.rows / parts, model.bytes / parts
        chunks = max(1, round(rows / model.chunk_rows)) if model.chunk_rows > 0 and rows > 0 else 1
        # Opening and closing is work as chunks are, and disturbed as they are.
        seconds = (model.copy.row_seconds * rows + model.copy.fixed_seconds) * self._factor(place)
        fixed = self.turnaround_seconds + self._lead(place, task, parts)
        return CopyShape(chunks, round(rows), round(size), seconds / chunks, fixed)

    def seconds(self, core: RunCore, task: Task) -> float:
        """How long a task takes that is no copy, alone."""
        match task.kind:
            case TaskKind.VERIFY:
                return self.turnaround_seconds + self._sum(task, lambda model: model.verify_seconds)
            case TaskKind.PUBLISH:
                return self.turnaround_seconds + self._sum(task, lambda model: model.publish_seconds)
            case TaskKind.CATCH_UP:
                return self.turnaround_seconds + self._sum(task, lambda model: model.catch_up.seconds(model.rows))
            case TaskKind.CAPTURE:
                return self.turnaround_seconds + self._sum(task, lambda model: model.capture_seconds)
            case TaskKind.STEP | TaskKind.UNDO:
                return self.step_seconds.get((task.phase, task.detail), STEP_SECONDS_ASSUMED)
            case _:
                return self.turnaround_seconds

    def slowdown(self, source: Place, source_lanes: int, target: Place, target_lanes: int, lanes: int) -> float:
        """What was measured with so many lanes in all: the probes ran together as the plan's lanes do."""
        key = (source, target, lanes)
        found = self._slowdowns.get(key)
        if found is None:
            found = self._slowdowns[key] = self.contentions.get((source, target), NO_CONTENTION).at(lanes)
        return found

    def _lead(self, place: tuple[str, str], task: Task, lanes: int) -> float:
        seconds = self.leads.get(place, 0.0)
        if not seconds:
            return 0.0
        share = lanes / (lanes + 1) if self.salt is None else _uniform(self.salt ^ _number_of(place[0], task.lane))
        return seconds * share

    def _factor(self, place: tuple[str, str]) -> float:
        return self.factors.get(place, 1.0)

    def _sum(self, task: Task, seconds: Callable[[DatasetModel], float]) -> float:
        places = [(task.phase, dataset) for dataset in task.datasets]
        return sum(seconds(self.models[place]) * self._factor(place) for place in places)


@lru_cache(maxsize=PLACES_CACHED_MAX)
def _number_of(phase: str, dataset: str) -> int:
    """A number of SALT_BITS for a dataset, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{phase}/{dataset}".encode()).digest()[: SALT_BITS // 8])


def _uniform(number: int) -> float:
    """A number above 0 and below 1 that looks like chance (splitmix64's finalizer, Steele et al. 2014)."""
    mask = (1 << SALT_BITS) - 1
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & mask
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & mask
    number ^= number >> 31
    return ((number >> 11) + 0.5) * 2.0**-53
