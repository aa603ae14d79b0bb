"""What a rehearsal finds: when each phase starts and ends, and how many lanes are at work, as seconds since its start."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.domain.run_states import PHASE_DONE
from pymigrate.engine.domain.schedule import Place


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """A phase that was published in the rehearsal: its first lane's start and its publication, in seconds since the rehearsal's start;
    negative for what was before. `verify_seconds` is when an online phase began to verify: from then on nobody writes to its sources."""

    start_seconds: float
    end_seconds: float
    verify_seconds: float | None = None


@dataclass(slots=True)
class Rehearsed:
    """What happened in virtual time. `lane_changes` tells from each moment (seconds since the start) on how many lanes were at work.

    By run: `ends` in seconds since the start, and the `phases` that were published. The most lanes at once by (environment,
    connection), and by (run, phase).
    """

    start: datetime
    end: datetime
    reports: int = 0
    chunks: int = 0
    lanes: int = 0
    lanes_peak: int = 0
    lane_changes: list[tuple[float, int]] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)
    phases: dict[str, dict[str, PhaseTimes]] = field(default_factory=dict)
    connection_lanes_peak: dict[Place, int] = field(default_factory=dict)
    phase_lanes_peak: dict[tuple[str, str], int] = field(default_factory=dict)
    phase_lanes: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def makespan_seconds(self) -> float:
        """From the start to the end."""
        return (self.end - self.start).total_seconds()

    def count_lanes(self, run: str, phase: str, lanes: int, seconds: float) -> None:
        """So many more lanes of a phase are at work from now on."""
        place, peaks = (run, phase), self.phase_lanes_peak
        self.lanes += lanes
        at_once = self.phase_lanes[place] = self.phase_lanes.get(place, 0) + lanes
        if self.lanes > self.lanes_peak:
            self.lanes_peak = self.lanes
        if at_once > peaks.get(place, 0):
            peaks[place] = at_once
        changes = self.lane_changes
        if changes and changes[-1][0] == seconds:
            changes[-1] = (seconds, self.lanes)
        else:
            changes.append((seconds, self.lanes))

    def sum_up(
        self, aggregate: RunAggregate, known: Collection[str], verified: Mapping[tuple[str, str], float]
    ) -> None:
        """Takes a run's times in; the phases that were known to be done before are left out."""
        run, begun = aggregate.run, begin_times(aggregate)
        self.ends[run.name] = self._since(run.end_time or self.end)
        self.phases[run.name] = {
            phase.id: PhaseTimes(
                self._since(begun.get(phase.id, phase.start_time)),
                self._since(phase.end_time),
                verified.get((run.name, phase.id)),
            )
            for phase in aggregate.phases.values()
            if phase.id not in known
            and phase.state in PHASE_DONE
            and phase.start_time is not None
            and phase.end_time is not None
        }

    def _since(self, moment: datetime) -> float:
        return (moment - self.start).total_seconds()


def begin_times(aggregate: RunAggregate) -> dict[str, datetime]:
    """When each phase began to read its sources, of those that have: its first lane's start. One that waits for a window or for lanes
    takes no system down."""
    found: dict[str, datetime] = {}
    for dataset in aggregate.datasets.values():
        moment = dataset.start_time
        if moment is not None and (dataset.phase not in found or moment < found[dataset.phase]):
            found[dataset.phase] = moment
    return found


def done_phases(aggregate: RunAggregate) -> frozenset[str]:
    """The phases of a run that are published."""
    return frozenset(phase.id for phase in aggregate.phases.values() if phase.state in PHASE_DONE)
