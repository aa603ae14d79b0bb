"""What a store in memory keeps of estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.errors import AlreadyExists
from pymigrate.engine.domain.run_states import RUN_ENDED
from pymigrate.engine.ports.estimates import KeptEstimate
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.store_tables import Tables


class MemoryMeasures:
    """Measurements."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._measures = tables.measures
        self._journal = journal

    def get(self, plan: str, place: str) -> bytes | None:
        """The newest measurement of a dataset."""
        return self._measures.get((plan, place))

    def put(self, plan: str, place: str, body: bytes) -> None:
        """Keeps it in place of an earlier one."""
        self._journal.put(self._measures, (plan, place), body)

    def list(self, plan: str) -> Mapping[str, bytes]:
        """All of a plan, ordered by place."""
        return {place: body for (of, place), body in sorted(self._measures.items()) if of == plan}


class MemoryEstimates:
    """What was estimated for runs."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._estimates = tables.estimates
        self._runs = tables.runs
        self._journal = journal

    def get(self, run: str) -> KeptEstimate | None:
        """The estimate of a run."""
        return self._estimates.get(run)

    def insert(self, estimate: KeptEstimate) -> None:
        """Raises AlreadyExists."""
        if estimate.run in self._estimates:
            raise AlreadyExists(f"{estimate.run} has an estimate already", field="name")
        self._journal.put(self._estimates, estimate.run, estimate)

    def list(self, plan: str, limit: int) -> Sequence[KeptEstimate]:
        """A page, the newest first."""
        found = [estimate for estimate in self._estimates.values() if estimate.plan == plan]
        return sorted(found, key=lambda each: (each.create_time, each.run), reverse=True)[:limit]

    def unsettled(self, limit: int) -> Sequence[str]:
        """Names of the runs whose estimate is to be settled, in order."""
        ended = (run for run in self._runs.values() if run.state in RUN_ENDED)
        due = [run.name for run in ended if (kept := self.get(run.name)) is not None and kept.attempt < run.attempt]
        return sorted(due)[:limit]

    def settle(self, run: str, attempt: int, body: bytes) -> bool:
        """Puts what happened beside the estimate; whether that was still to be done."""
        kept = self._estimates.get(run)
        if kept is None or kept.attempt >= attempt:
            return False
        self._journal.put(self._estimates, run, replace(kept, attempt=attempt, body=body))
        return True


class MemorySamples:
    """Samples of how far estimates lay off."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._samples = tables.samples
        self._journal = journal

    def add(self, environment: str, samples: Mapping[str, Sequence[Sample]]) -> None:
        """Adds those that are not there yet."""
        for key, offered in samples.items():
            for sample in offered:
                place = (environment, key, sample.run, sample.place)
                if place not in self._samples:
                    self._journal.put(self._samples, place, sample)

    def newest(self, environment: str, key: str, limit: int) -> Sequence[Sample]:
        """A page, the newest first."""
        found = [sample for place, sample in self._samples.items() if place[:2] == (environment, key)]
        return sorted(found, key=lambda each: (each.time, each.run, each.place), reverse=True)[:limit]

    def newest_below(self, environment: str, prefix: str, limit: int) -> Mapping[str, Sequence[Sample]]:
        """Pages of all keys that begin so."""
        keys = sorted({key for of, key, _, _ in self._samples if of == environment and key.startswith(prefix)})
        return {key: self.newest(environment, key, limit) for key in keys}
