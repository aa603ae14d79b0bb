"""What runs teach about the next estimate: samples of how far an estimate lay off, under which keys they are kept, and what follows.

A sample is kept for the dataset or phase itself, and for its like in the environment: the same path between the same kinds of systems,
the same step, estimated in the same way.
"""

from collections.abc import Iterable, Mapping, Sequence

from pymigrate.engine.domain.actuals import PhaseActuals, RunActuals
from pymigrate.engine.domain.calibration import Calibration, Sample, combined
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import connection_pb2, impact_pb2

COPY, VERIFY, PUBLISH, DOWNTIME = "copy", "verify", "publish", "downtime"
SAMPLES_READ_MAX = 50
SAMPLES_OF_A_KIND_MAX = 5  # of one run: a plan of many datasets must not push out what other runs told


def kind_key(path: str, source: str, target: str, step: str, basis: str) -> str:
    """What a dataset's step has in common with its like. `source` and `target` are kinds of systems, such as `postgres`; `step` is
    `copy`, `verify` or `publish`; `basis` is how it was estimated, as of an impact."""
    return f"{path}|{source}|{target}|{step}|{basis}"


def dataset_key(plan: str, phase: str, dataset: str, step: str, basis: str) -> str:
    """A dataset's step itself. `plan` is a resource name."""
    return f"{_place(plan, phase, dataset)}|{step}|{basis}"


def downtime_kind_key(policy: str) -> str:
    """What a phase's downtime has in common with that of others: the policy, as `policy_of` tells it."""
    return f"{policy}|{DOWNTIME}"


def downtime_key(plan: str, phase: str) -> str:
    """A phase's downtime itself: the time in which nobody writes to its sources."""
    return f"{_place(plan, phase)}|{DOWNTIME}"


def policy_of(aggregate: RunAggregate, phase: str) -> str:
    """A phase's downtime policy as its records tell it: `offline`, `read_only` or `online`."""
    record = aggregate.phases[phase]
    if record.is_online:
        return "online"
    return "read_only" if record.is_live else "offline"


class PlanCalibrations:
    """What earlier runs teach about a plan's datasets and phases, within a unit of work: the plan's own samples are read at once, those
    of a kind when they are first asked for."""

    def __init__(self, unit: Unit, plan: str) -> None:
        self._unit = unit
        self._plan = plan
        self._environment = environment_of(plan)
        self._own = unit.samples.newest_below(self._environment, f"{plan}/phases/", SAMPLES_READ_MAX)
        self._alike: dict[str, Sequence[Sample]] = {}

    def dataset(
        self, phase: str, dataset: str, step: str, basis: str, path: str, source: str, target: str
    ) -> Calibration | None:
        """What is learned of a dataset's step, as of `kind_key`; None where nothing is yet."""
        own, alike = dataset_key(self._plan, phase, dataset, step, basis), kind_key(path, source, target, step, basis)
        return self._combined(_place(self._plan, phase, dataset), own, alike)

    def has_own(self, phase: str, dataset: str, step: str, basis: str) -> bool:
        """Whether anything is learned of the dataset's step from its own runs."""
        return dataset_key(self._plan, phase, dataset, step, basis) in self._own

    def downtime(self, phase: str, policy: str) -> Calibration | None:
        """What is learned of a phase's downtime, as of `downtime_kind_key`; None where nothing is yet."""
        return self._combined(_place(self._plan, phase), downtime_key(self._plan, phase), downtime_kind_key(policy))

    def _combined(self, place: str, own: str, alike: str) -> Calibration | None:
        if alike not in self._alike:
            self._alike[alike] = self._unit.samples.newest(self._environment, alike, SAMPLES_READ_MAX)
        return combined(place, self._own.get(own, ()), self._alike[alike])


def samples_of(
    aggregate: RunAggregate,
    estimate: impact_pb2.RunEstimate,
    actuals: RunActuals,
    connections: Mapping[str, connection_pb2.Connection],
) -> dict[str, list[Sample]]:
    """What is learned from a run by key: from each phase that was published, and what nothing disturbed of it. `estimate` holds what
    happened already."""
    own: dict[str, list[Sample]] = {}
    alike: dict[str, list[Sample]] = {}
    for phase, estimated in sorted(estimate.phases.items()):
        found = actuals.phases.get(phase)
        if found is None or found.end_time is None:
            continue
        keys = downtime_key(aggregate.run.plan, phase), downtime_kind_key(policy_of(aggregate, phase))
        _add(own, alike, keys, _sample(aggregate, found, _place(aggregate.run.plan, phase), estimated.write_downtime))
        for dataset, outcome in sorted(estimated.datasets.items()):
            _add_dataset(own, alike, aggregate, connections, (phase, dataset), found, outcome)
    return own | {key: _weightiest(samples) for key, samples in alike.items()}


def _add_dataset(
    own: dict[str, list[Sample]],
    alike: dict[str, list[Sample]],
    aggregate: RunAggregate,
    connections: Mapping[str, connection_pb2.Connection],
    place: tuple[str, str],
    found: PhaseActuals,
    outcome: impact_pb2.DatasetOutcome,
) -> None:
    record, plan, (phase, dataset) = aggregate.datasets.get(place), aggregate.run.plan, place
    if record is None:
        return
    source = connections[record.source_connection].WhichOneof("system") or ""
    target = connections[record.target_connection].WhichOneof("system") or ""
    for step, each in ((COPY, outcome.copy), (VERIFY, outcome.verify), (PUBLISH, outcome.publish)):
        keys = (
            dataset_key(plan, phase, dataset, step, outcome.basis),
            kind_key(record.path, source, target, step, outcome.basis),
        )
        _add(own, alike, keys, _sample(aggregate, found, _place(plan, phase, dataset), each))


def _add(
    own: dict[str, list[Sample]], alike: dict[str, list[Sample]], keys: tuple[str, str], samples: Iterable[Sample]
) -> None:
    for sample in samples:
        own.setdefault(keys[0], []).append(sample)
        alike.setdefault(keys[1], []).append(sample)


def _sample(aggregate: RunAggregate, phase: PhaseActuals, place: str, outcome: impact_pb2.Outcome) -> Iterable[Sample]:
    """The sample that an outcome gives, or none."""
    if outcome.disturbance or phase.end_time is None:
        return
    estimated = outcome.estimated_seconds
    sample = Sample(
        run=aggregate.run.name,
        place=place,
        time=phase.end_time,
        estimated_p50_seconds=estimated.p50,
        estimated_p90_seconds=estimated.p90,
        uncalibrated_seconds=outcome.uncalibrated_seconds or estimated.p50,
        actual_seconds=outcome.actual_seconds,
    )
    if sample.is_sound:
        yield sample


def _weightiest(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda each: (-each.estimated_p50_seconds, each.place))[:SAMPLES_OF_A_KIND_MAX]


def _place(plan: str, phase: str, dataset: str = "") -> str:
    return f"{plan}/phases/{phase}/datasets/{dataset}" if dataset else f"{plan}/phases/{phase}"
