"""What comes next in a plan's newest run: ends and publications as they are forecast, windows as they are declared, and its sealing."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.domain.calendar import Calendar, are_open, next_opening, open_spans
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.run import PhaseRun
from pymigrate.engine.domain.run_states import PHASE_ENDED, PhaseState
from pymigrate.v1 import impact_pb2, kpi_pb2

MOMENT = timedelta(microseconds=1)
Place = tuple[str, str]


def plan_milestones(
    run: RunKpis,
    kpis: kpi_pb2.Kpis,
    phases: Mapping[str, kpi_pb2.Kpis],
    calendars: Mapping[Place, Calendar],
    now: datetime,
) -> list[kpi_pb2.Milestone]:
    """The milestones of a run, which is its plan's newest one. `kpis` are its own, `phases` those of its phases, and `calendars` those of
    plans and their phases, by (plan, phase) and (plan, "")."""
    if run.record is None:
        return []
    found: list[kpi_pb2.Milestone] = []
    left = {name: phase.record for name, phase in sorted(run.phases.items()) if phase.record is not None}
    if run.is_active:
        left = {name: phase for name, phase in left.items() if phase.state not in PHASE_ENDED}
        found += [*_expected(run, kpis, phases, left), *_windows(run, left, calendars, now)]
    is_sealable = any(phase.state is PhaseState.PUBLISHED for phase in left.values())
    if not run.is_active and is_sealable and run.record.seal_time is not None:
        found.append(_certain(run.plan, run.name, "RUN_SEALED", run.record.seal_time))
    return found


def _expected(
    run: RunKpis, kpis: kpi_pb2.Kpis, phases: Mapping[str, kpi_pb2.Kpis], left: Mapping[str, PhaseRun]
) -> Iterator[kpi_pb2.Milestone]:
    if kpis.HasField("end_time"):
        yield kpi_pb2.Milestone(plan=run.plan, subject=run.name, kind="RUN_ENDED", time=kpis.end_time)
    for name in left:
        if name in phases and phases[name].HasField("end_time"):
            subject = f"{run.name}/phases/{name}"
            yield kpi_pb2.Milestone(plan=run.plan, subject=subject, kind="PHASE_PUBLISHED", time=phases[name].end_time)


def _windows(
    run: RunKpis, left: Mapping[str, PhaseRun], calendars: Mapping[Place, Calendar], now: datetime
) -> Iterator[kpi_pb2.Milestone]:
    """The next time at which what is left may begin to be worked on, or must stop: of the plan, and of phases with windows of their own."""
    whole = [calendars[run.plan, ""]] if (run.plan, "") in calendars else []
    yield from _window(run.plan, run.name, whole, now)
    for name in left:
        if (run.plan, name) in calendars:
            own = [*whole, calendars[run.plan, name]]
            yield from _window(run.plan, f"{run.name}/phases/{name}", own, now)


def _window(plan: str, subject: str, calendars: Sequence[Calendar], now: datetime) -> Iterator[kpi_pb2.Milestone]:
    if not calendars:
        return
    if not are_open(calendars, now):
        opening = next_opening(calendars, now)
        if opening is not None:
            yield _certain(plan, subject, "WINDOW_OPENS", opening)
        return
    for _, close in open_spans(calendars, now, now + MOMENT):
        if close is not None:
            yield _certain(plan, subject, "WINDOW_CLOSES", close)


def _certain(plan: str, subject: str, kind: str, moment: datetime) -> kpi_pb2.Milestone:
    time = timestamp(moment)
    return kpi_pb2.Milestone(plan=plan, subject=subject, kind=kind, time=impact_pb2.Moments(p50=time, p90=time))
