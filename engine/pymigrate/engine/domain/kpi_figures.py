"""What is told of a subject: its figures as they are at a moment."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_arrivals import NOW_SECONDS, STILL, WINDOW_SECONDS, Arrivals, Rate
from pymigrate.engine.domain.kpi_phase import PhaseKpis, failures_of
from pymigrate.engine.domain.kpi_sums import DepartmentKpis, EnvironmentKpis
from pymigrate.engine.domain.kpi_tally import (
    BYTES,
    CONFLICTS,
    COPIED_BYTES,
    COPIED_ROWS,
    EXPECTED,
    FAILURE,
    QUARANTINED,
    REPAIRED,
    RETRIES,
    ROWS,
    UNKNOWN,
    VERIFICATION,
    completion,
    failure_rate,
    group,
)
from pymigrate.engine.domain.run import Lane
from pymigrate.engine.domain.run_states import PHASE_DONE, LaneState, RunState

_LANE = "lane/"
_PHASE = "phase/"


@dataclass(frozen=True, slots=True)
class Figures:
    """A subject's figures. `rows_expected` is -1 where any part is not known, `lag_seconds` where nothing catches up; `state` is None where
    several runs are summed up."""

    rows: int
    bytes: int
    rows_expected: int
    completion: float
    now: Rate = STILL
    window: Rate = STILL
    average: Rate = STILL
    failures: int = 0
    failures_by_reason: Mapping[str, int] = field(default_factory=dict)
    failure_rate: float = 0.0
    retries: int = 0
    lanes: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    verifications: Mapping[str, int] = field(default_factory=dict)
    quarantined_rows: int = 0
    conflicts: int = 0
    repaired_rows: int = 0
    lag_seconds: float = -1.0
    downtime_seconds: float = 0.0
    state: RunState | None = None
    run: str = ""
    update_time: datetime | None = None


def run_figures(run: RunKpis, now: datetime) -> Figures:
    """A run's."""
    average = _average(run.tally, run, run.phases.values(), now)
    return _figures(run.tally, run.arrivals, now, average, run.lag_seconds(), run.downtime_seconds(now), [run], run)


def phase_figures(run: RunKpis, phase: PhaseKpis, now: datetime) -> Figures:
    """Those of a phase of a run."""
    downtime = sum(end - start for start, end in phase.down_spans(now))
    average = _average(phase.tally, run, [phase], now)
    return _figures(phase.tally, phase.arrivals, now, average, phase.lag_seconds(), downtime, [run], run)


def department_figures(department: DepartmentKpis, now: datetime) -> Figures:
    """A department's. Its average is the sum over the runs that are under way."""
    runs = list(department.runs.values())
    averages = [
        _average(phase.tally, run, [phase], now)
        for (name, _), phase in department.phases.items()
        if (run := department.runs[name]).is_active
    ]
    lag, downtime = department.lag_seconds(), department.downtime_seconds(now)
    return _figures(department.tally, department.arrivals, now, _sum(averages), lag, downtime, runs)


def environment_figures(environment: EnvironmentKpis, now: datetime) -> Figures:
    """An environment's. Its average is the sum over the runs that are under way."""
    runs = list(environment.runs.values())
    averages = [_average(run.tally, run, run.phases.values(), now) for run in runs if run.is_active]
    lag, downtime = environment.lag_seconds(), environment.downtime_seconds(now)
    return _figures(environment.tally, environment.arrivals, now, _sum(averages), lag, downtime, runs)


def lane_figures(run: RunKpis, phase: PhaseKpis, lane: Lane, now: datetime) -> Figures:
    """Those of a lane of a run."""
    failures = phase.lane_failures.get(lane.id, {})
    count = failures_of(failures)
    is_published = phase.record is not None and phase.record.state in PHASE_DONE
    share = (
        1.0 if is_published else completion({"phases": 1, "expected": max(lane.rows_expected, 0), "done": lane.rows})
    )
    end = None if lane.state in {LaneState.PENDING, LaneState.RUNNING, LaneState.STALLED} else lane.end_time
    arrivals = phase.arrivals_of(lane.id)
    return Figures(
        rows=lane.rows,
        bytes=lane.bytes,
        rows_expected=lane.rows_expected,
        completion=share,
        now=arrivals.rate(now, NOW_SECONDS),
        window=arrivals.rate(now, WINDOW_SECONDS),
        average=_over(lane.rows, lane.bytes, lane.start_time, end or _until(run, now)),
        failures=count,
        failures_by_reason=group(failures, FAILURE),
        failure_rate=count / (lane.chunks + count) if count else 0.0,
        retries=lane.retries,
        lanes={str(lane.state): 1},
        phases={str(phase.record.state): 1} if phase.record else {},
        runs={str(run.record.state): 1} if run.record else {},
        quarantined_rows=lane.quarantined_rows,
        state=run.record.state if run.record else None,
        run=run.name,
        update_time=_updated([run]),
    )


def _figures(
    tally: Mapping[str, int],
    arrivals: Arrivals,
    now: datetime,
    average: Rate,
    lag_seconds: float,
    downtime_seconds: float,
    runs: Sequence[RunKpis],
    only: RunKpis | None = None,
) -> Figures:
    failures = failures_of(tally)
    return Figures(
        rows=tally.get(ROWS, 0),
        bytes=tally.get(BYTES, 0),
        rows_expected=-1 if tally.get(UNKNOWN) else tally.get(EXPECTED, 0),
        completion=completion(tally),
        now=arrivals.rate(now, NOW_SECONDS),
        window=arrivals.rate(now, WINDOW_SECONDS),
        average=average,
        failures=failures,
        failures_by_reason=group(tally, FAILURE),
        failure_rate=failure_rate(tally, failures),
        retries=tally.get(RETRIES, 0),
        lanes=group(tally, _LANE),
        phases=group(tally, _PHASE),
        runs=dict(sorted(Counter(str(run.record.state) for run in runs if run.record).items())),
        verifications=group(tally, VERIFICATION),
        quarantined_rows=tally.get(QUARANTINED, 0),
        conflicts=tally.get(CONFLICTS, 0),
        repaired_rows=tally.get(REPAIRED, 0),
        lag_seconds=lag_seconds,
        downtime_seconds=downtime_seconds,
        state=only.record.state if only is not None and only.record else None,
        run=only.name if only is not None else "",
        update_time=_updated(runs),
    )


def _average(tally: Mapping[str, int], run: RunKpis, phases: Iterable[PhaseKpis], now: datetime) -> Rate:
    """From the first lane's start until now, or until the last one's end where nothing is left to be copied."""
    times = [phase.copying_times() for phase in phases]
    start = min((start for start, _, _ in times if start), default=None)
    end = max((end for _, end, _ in times if end), default=None)
    is_left = run.is_active and any(is_left for _, _, is_left in times)
    until = _until(run, now) if is_left or end is None else end
    return _over(tally.get(COPIED_ROWS, 0), tally.get(COPIED_BYTES, 0), start, until)


def _until(run: RunKpis, now: datetime) -> datetime:
    """What is not over goes on until now, or until the run's end."""
    return now if run.record is None or run.record.end_time is None else run.record.end_time


def _over(rows: int, size_bytes: int, start: datetime | None, end: datetime) -> Rate:
    seconds = 0.0 if start is None else (end - start).total_seconds()
    return STILL if seconds <= 0 else Rate(rows / seconds, size_bytes / seconds)


def _sum(rates: Iterable[Rate]) -> Rate:
    found = list(rates)
    return Rate(sum(each.rows_per_second for each in found), sum(each.bytes_per_second for each in found))


def _updated(runs: Iterable[RunKpis]) -> datetime | None:
    records = (run.record for run in runs if run.record is not None)
    return max((record.update_time or record.create_time for record in records), default=None)
