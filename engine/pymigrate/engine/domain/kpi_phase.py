"""The figures of one phase of a run, folded from its records and from what happened to it.

A record replaces an older one of itself by its version, an event counts once by its sequence: neither order nor repetition changes
anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.kpi_arrivals import Arrivals, Arrived, LaneArrivals, second_of
from pymigrate.engine.domain.kpi_tally import (
    BYTES,
    CHUNKS,
    CONFLICTS,
    COPIED_BYTES,
    COPIED_ROWS,
    DONE,
    EXPECTED,
    FAILURE,
    LANES,
    PHASE_STATES,
    PHASES,
    PUBLISHED,
    QUARANTINED,
    REPAIRED,
    RETRIES,
    ROWS,
    UNKNOWN,
    VERIFICATION,
    Tally,
    difference,
    put,
)
from pymigrate.engine.domain.run import DatasetRun, Lane, PhaseRun, RunEvent, Task, copied
from pymigrate.engine.domain.run_states import PHASE_DONE, PHASE_ENDED, PhaseState, TaskState
from pymigrate.engine.domain.spans import Span

UNDONE = frozenset({PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.ROLLED_BACK})
AT_WORK = frozenset({PhaseState.STAGING, PhaseState.VERIFYING, PhaseState.PUBLISHING})
TO_BE_COPIED = frozenset({PhaseState.PENDING, PhaseState.READY, PhaseState.STAGING})
VERIFICATION_REASON = "VERIFICATION_FAILED"
BEGINNING = f"phase.{PhaseState.STAGING}"
ENDINGS = frozenset(f"phase.{state}" for state in PHASE_ENDED | {PhaseState.ROLLING_BACK})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: `word` is `verified`, `failed`, or `none` where nothing was asked to be read back."""

    word: str
    target_rows: int = 0
    repaired_rows: int = 0


VerdictOf = Callable[[bytes], Verdict]
PENDING = Verdict("pending")


@dataclass(slots=True)
class _Dataset:
    """A dataset: its record and lanes, what its lanes come to, and what follows from both."""

    record: DatasetRun | None = None
    verdict: Verdict = PENDING
    lanes: dict[str, Lane] = field(default_factory=dict)
    sums: Tally = field(default_factory=dict)
    derived: Tally = field(default_factory=dict)


class PhaseKpis:
    """The fold of one phase. Every `take` returns by how much its tally changed."""

    def __init__(self, name: str, verdict_of: VerdictOf) -> None:
        self.id = name
        self.record: PhaseRun | None = None
        self.tally: Tally = {}
        self.arrivals = Arrivals()
        self.lane_failures: dict[str, Tally] = {}
        self._verdict_of = verdict_of
        self._datasets: dict[str, _Dataset] = {}
        self._lane_arrivals: dict[str, LaneArrivals] = {}
        self._failures: Tally = {}
        self._failed_tasks: set[str] = set()
        self._steps: dict[int, tuple[datetime, bool]] = {}

    # What is taken in ----------------------------------------------------------------------------------------------------------------

    def take_phase(self, record: PhaseRun) -> Tally:
        """The phase itself. Everything is counted anew: which attempt is the newest, and whether what was copied is still there, hangs on
        it."""
        if self.record is not None and self.record.version >= record.version:
            return {}
        self.record, before = copied(record), self.tally
        self.tally = self._counted()
        return difference(self.tally, before)

    def take_dataset(self, record: DatasetRun) -> Tally:
        """A dataset of it."""
        dataset = self._dataset(record.id)
        if dataset.record is not None and dataset.record.version >= record.version:
            return {}
        if dataset.record is None or dataset.record.verification != record.verification:
            dataset.verdict = self._verdict_of(record.verification) if record.verification else PENDING
        dataset.record = copied(record)
        return self._apply(self._derive(dataset))

    def take_lane(self, record: Lane, time: datetime) -> tuple[Tally, list[Arrived]]:
        """A lane of it, as it was then; and what has arrived."""
        if record.id not in self._lane_arrivals:
            self._lane_arrivals[record.id] = LaneArrivals()
        arrived = self._lane_arrivals[record.id].observe(second_of(time), record.rows, record.bytes)
        self.arrivals.put(arrived)
        dataset = self._dataset(record.dataset)
        known = dataset.lanes.get(record.id)
        if known is not None and known.version >= record.version:
            return {}, arrived
        lane = dataset.lanes[record.id] = copied(record)
        change = difference(self._of_lane(lane), self._of_lane(known) if known else {})
        put(dataset.sums, change)
        put(change, self._derive(dataset))
        return self._apply(change), arrived

    def take_task(self, record: Task) -> Tally:
        """A task: one that failed for good is a failure of its own; those that were tried again are told by events."""
        if record.state is not TaskState.FAILED or record.id in self._failed_tasks:
            return {}
        self._failed_tasks.add(record.id)
        return self._fail(record.lane, record.failure.reason if record.failure else "INTERNAL")

    def take_retry(self, lane: str, reason: str) -> Tally:
        """A failure after which a lane is tried again."""
        return self._fail(lane, reason)

    def take_step(self, event: RunEvent) -> None:
        """A step of the phase itself."""
        if event.type == BEGINNING or event.type in ENDINGS:
            self._steps[event.sequence] = (event.time, event.type == BEGINNING)

    def _fail(self, lane: str, reason: str) -> Tally:
        change = {f"{FAILURE}{reason}": 1}
        if lane:
            put(self.lane_failures.setdefault(lane, {}), change)
        put(self._failures, change)
        return self._apply(dict(change))

    # What follows --------------------------------------------------------------------------------------------------------------------

    @property
    def attempt(self) -> int:
        """The newest one; 0 while the phase itself is not known."""
        return self.record.attempt if self.record else 0

    def lanes(self) -> dict[str, Lane]:
        """The lanes of the newest attempt, by name."""
        return {
            lane.id: lane
            for dataset in self._datasets.values()
            for lane in dataset.lanes.values()
            if lane.attempt == self.attempt
        }

    def arrivals_of(self, lane: str) -> Arrivals:
        """What has arrived of one of its lanes."""
        found = Arrivals()
        if lane in self._lane_arrivals:
            found.put(self._lane_arrivals[lane].arrived())
        return found

    def lag_seconds(self) -> float:
        """How far its staging is behind at most; -1 where nothing catches up."""
        if self.record is None or not self.record.is_online or self.record.state not in AT_WORK:
            return -1.0
        return max((each.record.lag_seconds for each in self._datasets.values() if each.record), default=-1.0)

    def down_spans(self, now: datetime) -> list[Span]:
        """When its sources were down, in seconds since 1970: from the first lane of an attempt on, to its publication or its failure."""
        found, begun = self._outages()
        if begun is not None:
            found.append((begun.timestamp(), max(begun, now).timestamp()))
        return found

    def ended_down_seconds(self) -> float:
        """How long its sources were down in attempts that are over."""
        return sum(end - start for start, end in self._outages()[0])

    def _outages(self) -> tuple[list[Span], datetime | None]:
        """When its sources were down, and since when they are."""
        if self.record is None or self.record.is_live or self.record.is_online:
            return [], None
        found: list[Span] = []
        begun: datetime | None = None
        for sequence in sorted(self._steps):
            time, is_beginning = self._steps[sequence]
            if is_beginning:
                begun = time
            elif begun is not None:
                found.append((begun.timestamp(), time.timestamp()))
                begun = None
        return found, begun if self.record.state in AT_WORK else None

    def copying_times(self) -> tuple[datetime | None, datetime | None, bool]:
        """When the first lane of the newest attempt started, when the last one ended, and whether any of it is still to be copied."""
        lanes = self.lanes().values()
        start = min((lane.start_time for lane in lanes if lane.start_time), default=None)
        end = max((lane.end_time for lane in lanes if lane.end_time), default=None)
        return start, end, self.record is not None and self.record.state in TO_BE_COPIED

    def _dataset(self, name: str) -> _Dataset:
        if name not in self._datasets:
            self._datasets[name] = _Dataset()
        return self._datasets[name]

    def _apply(self, change: Tally) -> Tally:
        put(self.tally, change)
        return change

    def _counted(self) -> Tally:
        tally: Tally = dict(self._failures)
        if self.record is not None:
            tally[PHASES] = tally[PHASE_STATES[self.record.state]] = 1
            if self.record.state in PHASE_DONE:
                tally[PUBLISHED] = 1
        for dataset in self._datasets.values():
            dataset.sums = {}
            for lane in dataset.lanes.values():
                put(dataset.sums, self._of_lane(lane))
            self._derive(dataset)
            put(tally, dataset.sums)
            put(tally, dataset.derived)
        return tally

    def _of_lane(self, lane: Lane) -> Tally:
        found = {CHUNKS: lane.chunks, RETRIES: lane.retries}
        if lane.attempt == self.attempt:
            found[COPIED_ROWS], found[COPIED_BYTES] = lane.rows, lane.bytes
            found[QUARANTINED], found[LANES[lane.state]] = lane.quarantined_rows, 1
        return found

    def _derive(self, dataset: _Dataset) -> Tally:
        """Finds what follows from a dataset's record and lanes anew; what changed of it."""
        before, dataset.derived = dataset.derived, _derived(dataset, self.record)
        return difference(dataset.derived, before)


def _derived(dataset: _Dataset, phase: PhaseRun | None) -> Tally:
    record, sums = dataset.record, dataset.sums
    found: Tally = {}
    is_there = phase is not None and phase.state not in UNDONE
    rows = sums.get(COPIED_ROWS, 0)
    if is_there:
        if phase is not None and phase.is_online and dataset.verdict is not PENDING:
            rows = dataset.verdict.target_rows  # what changed since it was copied is in it
        found[ROWS], found[BYTES] = rows, sums.get(COPIED_BYTES, 0)
    if record is None:
        return found
    if record.rows_expected < 0:
        found[UNKNOWN] = 1
    else:
        found[EXPECTED] = record.rows_expected
        if phase is not None and phase.state in PHASE_DONE:
            found[DONE] = record.rows_expected
        elif is_there:
            found[DONE] = min(rows, record.rows_expected)
    found[CONFLICTS], found[REPAIRED] = record.conflicts, dataset.verdict.repaired_rows
    has_failed = record.quarantine is not None and record.quarantine.reason == VERIFICATION_REASON
    found[f"{VERIFICATION}{'failed' if has_failed else dataset.verdict.word}"] = 1
    return found


def failures_of(tally: Mapping[str, int]) -> int:
    """Failures in all."""
    return sum(count for name, count in tally.items() if name.startswith(FAILURE))
