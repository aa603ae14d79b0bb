"""Draws: a plan rehearsed again and again with other durations, and what that says about its ends, downtimes and critical path.

Each draw has a source of chance of its own, derived from the seed and its number, so that it is the same whoever finds it and in
whichever order: `Drawing.draw` may be called anywhere, and `gather` puts the draws together.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.calendar import Almanac
from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.precedence import Precedence
from pymigrate.engine.domain.rehearsal import Durations, Rehearsal
from pymigrate.engine.domain.rehearsed import PhaseTimes
from pymigrate.engine.domain.run import PhaseRun, RunAggregate
from pymigrate.engine.domain.schedule import Limits, Scheduler

DRAWS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Draw:
    """One rehearsal of a run: its makespan in seconds, its phases by name, their slacks in seconds, the critical path in order, the lanes
    at work over time, and the most lanes at once in all, by connection and by phase."""

    number: int
    makespan_seconds: float
    phases: Mapping[str, PhaseTimes]
    slacks: Mapping[str, float]
    critical_path: tuple[str, ...]
    lane_changes: Sequence[tuple[float, int]]
    lanes_peak: int
    connection_lanes_peak: Mapping[str, int]
    phase_lanes_peak: Mapping[str, int]


@dataclass(slots=True)
class PhaseDraws:
    """A phase over all draws, one entry a draw, in seconds: since the start (negative: before it) for `starts` and `ends`.

    `downtimes` are how long its sources are down, `write_downtimes` how long nobody writes to them. `slacks` tell how much later it may
    end without delaying the end of the whole; `critical_share` in which share of the draws it lay on the critical path.
    """

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    downtimes: list[float] = field(default_factory=list)
    write_downtimes: list[float] = field(default_factory=list)
    slacks: list[float] = field(default_factory=list)
    critical_share: float = 0.0
    lanes_peak: int = 0


@dataclass(slots=True)
class Draws:
    """A run over all draws. `makespans` has one entry a draw, in seconds; `critical_path` is the most frequent one, and `lane_changes`
    are those of the draw with the median makespan (of an even number the lower one). The most lanes are those of any draw."""

    start: datetime
    makespans: list[float] = field(default_factory=list)
    phases: dict[str, PhaseDraws] = field(default_factory=dict)
    critical_path: tuple[str, ...] = ()
    lane_changes: list[tuple[float, int]] = field(default_factory=list)
    lanes_peak: int = 0
    connection_lanes_peak: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Twins:
    """Fresh cores of runs as they are now, each time anew. May be sent to another process."""

    cores: Sequence[RunCore]

    def __call__(self) -> list[RunCore]:
        """Nothing of them is shared but what never changes."""
        return [core.twin(random.Random(0)) for core in self.cores]


@dataclass(frozen=True, slots=True)
class Drawing:
    """What draws are made from. `cores` gives fresh cores each time, that of the run in question first; `durations` those of one draw.
    May be sent to another process where those may."""

    cores: Callable[[], Sequence[RunCore]]
    limits: Limits
    durations: Callable[[random.Random], Durations]
    start: datetime
    seed: int = 0

    def draw(self, number: int, almanac: Almanac | None = None) -> Draw:
        """One draw. Raises FailedPrecondition when the run would wait for ever."""
        rng = random.Random(f"{self.seed}/{number}")
        cores = self.cores()
        durations, scheduler = self.durations(rng), Scheduler(rng, almanac)
        found = Rehearsal(cores, self.limits, durations, scheduler, self.start).run()
        run = cores[0].run.name
        phases = found.phases[run]
        connections: dict[str, int] = {}
        for (_, name), lanes in found.connection_lanes_peak.items():
            connections[name] = max(connections.get(name, 0), lanes)
        return Draw(
            number=number,
            makespan_seconds=found.ends[run],
            phases=phases,
            slacks=slacks(phases, cores[0].aggregate.phases),
            critical_path=critical_path(phases, cores[0].aggregate.phases),
            lane_changes=found.lane_changes,
            lanes_peak=found.lanes_peak,
            connection_lanes_peak=connections,
            phase_lanes_peak={phase: lanes for (name, phase), lanes in found.phase_lanes_peak.items() if name == run},
        )

    def part(self, numbers: Iterable[int]) -> list[Draw]:
        """Some of the draws, for whoever spreads them."""
        almanac = Almanac()
        return [self.draw(number, almanac) for number in numbers]


def gather(draws: Iterable[Draw], aggregate: RunAggregate, start: datetime) -> Draws:
    """All draws of a run put together, in the order of their numbers."""
    ordered = sorted(draws, key=lambda draw: draw.number)
    found = Draws(start, [draw.makespan_seconds for draw in ordered])
    paths = Counter(draw.critical_path for draw in ordered)
    on_path = Counter(phase for draw in ordered for phase in draw.critical_path)
    for draw in ordered:
        for name, times in draw.phases.items():
            downtime, write_downtime = downtimes(aggregate.phases[name], times)
            phase = found.phases.setdefault(name, PhaseDraws())
            phase.starts.append(times.start_seconds)
            phase.ends.append(times.end_seconds)
            phase.downtimes.append(downtime)
            phase.write_downtimes.append(write_downtime)
            phase.slacks.append(draw.slacks[name])
            phase.lanes_peak = max(phase.lanes_peak, draw.phase_lanes_peak.get(name, 0))
        found.lanes_peak = max(found.lanes_peak, draw.lanes_peak)
        for name, lanes in draw.connection_lanes_peak.items():
            found.connection_lanes_peak[name] = max(found.connection_lanes_peak.get(name, 0), lanes)
    for name, phase in found.phases.items():
        phase.critical_share = on_path[name] / len(ordered)
    if ordered:
        most = max(paths.values())
        found.critical_path = min(path for path, count in paths.items() if count == most)
        median = sorted(ordered, key=lambda draw: draw.makespan_seconds)[(len(ordered) - 1) // 2]
        found.lane_changes = list(median.lane_changes)
    return found


def drawn(drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
    """So many draws, 1 to DRAWS_MAX, one after the other."""
    return gather(drawing.part(range(draws)), aggregate, drawing.start)


def downtimes(phase: PhaseRun, times: PhaseTimes) -> tuple[float, float]:
    """How long a phase's sources are down, and how long nobody writes to them, in seconds.

    `offline`: both from its start to its publication; `read_only`: they are never down; `online`: writes are blocked from the beginning
    of the verification on.
    """
    whole = times.end_seconds - times.start_seconds
    if phase.is_online:
        return 0.0, times.end_seconds - (times.start_seconds if times.verify_seconds is None else times.verify_seconds)
    return (0.0 if phase.is_live else whole), whole


def critical_path(phases: Mapping[str, PhaseTimes], runs: Mapping[str, PhaseRun]) -> tuple[str, ...]:
    """The phases, in order, that the end was waited for: back from the one that ended last, along the dependency that ended last."""
    path: list[str] = []
    waiting = list(phases)
    while waiting:
        last = min(waiting, key=lambda name: (-phases[name].end_seconds, name))
        path.append(last)
        waiting = [name for name in runs[last].dependencies if name in phases]
    return tuple(reversed(path))


def slacks(phases: Mapping[str, PhaseTimes], runs: Mapping[str, PhaseRun]) -> dict[str, float]:
    """How much later each phase may end without delaying the last one, in seconds, when nothing but dependencies is waited for: the
    phases take as long as they took, what was before the start left out."""
    precedence = Precedence({name: [need for need in runs[name].dependencies if need in phases] for name in phases})
    return precedence.criticality(
        {name: times.end_seconds - max(times.start_seconds, 0.0) for name, times in phases.items()}
    ).slacks
