"""The KPIs of subjects in memory as messages: figures at a moment, with what is expected beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pymigrate.engine.application.kpi_messages import kpis_message
from pymigrate.engine.domain.kpi import RunKpis, down_seconds
from pymigrate.engine.domain.kpi_figures import (
    department_figures,
    environment_figures,
    lane_figures,
    phase_figures,
    run_figures,
)
from pymigrate.engine.domain.kpi_outlook import UNKNOWN, Outlook, RunOutlook, together
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.kpi_sums import DepartmentKpis, EnvironmentKpis
from pymigrate.engine.domain.run import Lane
from pymigrate.engine.domain.run_states import PHASE_ENDED, LaneState
from pymigrate.v1 import kpi_pb2


@dataclass(frozen=True, slots=True)
class KpiTelling:
    """Tells KPIs as they are at a moment. `outlook` gives what is expected of a run."""

    outlook: Callable[[str], RunOutlook]
    now: datetime

    def run(self, name: str, run: RunKpis) -> kpi_pb2.Kpis:
        """A run, or the plan whose newest one it is."""
        return kpis_message(name, run_figures(run, self.now), self.expected_of_run(run))

    def phase(self, name: str, run: RunKpis, phase: PhaseKpis) -> kpi_pb2.Kpis:
        """A phase of a run."""
        return kpis_message(name, phase_figures(run, phase, self.now), self.expected_of_phase(run, phase))

    def lane(self, name: str, run: RunKpis, phase: PhaseKpis, lane: Lane) -> kpi_pb2.Kpis:
        """A lane of a run."""
        estimated = self.outlook(run.name).lanes.get((lane.phase, lane.dataset))
        expected = _copying_seconds(lane, self.now)
        outlook = replace(UNKNOWN, estimated=estimated, expected_seconds=expected)
        return kpis_message(name, lane_figures(run, phase, lane, self.now), outlook)

    def department(self, name: str, department: DepartmentKpis) -> kpi_pb2.Kpis:
        """A department over the newest runs."""
        parts: list[tuple[Outlook, float]] = []
        broken: list[Outlook] = []
        phases: dict[str, list[PhaseKpis]] = {}
        for (name_of_run, _), phase in department.phases.items():
            phases.setdefault(name_of_run, []).append(phase)
        for run in department.runs.values():
            own = phases.get(run.name, [])
            expected = self.outlook(run.name).departments.get(department.name, UNKNOWN)
            if expected.end is not None and all(_has_ended(phase) for phase in own):
                expected = expected.without_forecast()
            parts.append((expected, down_seconds(own, self.now)))
            broken.extend(self.expected_of_phase(run, phase) for phase in own)
        return kpis_message(name, department_figures(department, self.now), together(parts).broken_by(broken))

    def environment(self, name: str, environment: EnvironmentKpis) -> kpi_pb2.Kpis:
        """An environment over the newest runs."""
        runs = environment.runs.values()
        outlook = together([(self.expected_of_run(run), run.downtime_seconds(self.now)) for run in runs])
        return kpis_message(name, environment_figures(environment, self.now), outlook)

    def of_environment(self, environment: EnvironmentKpis) -> Iterator[kpi_pb2.Kpis]:
        """Its plans and departments."""
        for plan, run in environment.runs.items():
            yield self.run(plan, run)
        for name, department in environment.departments.items():
            yield self.department(f"{environment.name}/departments/{name}", department)

    def of_department(self, department: DepartmentKpis) -> Iterator[kpi_pb2.Kpis]:
        """Its phases."""
        for (name, _), phase in department.phases.items():
            run = department.runs[name]
            yield self.phase(f"{run.plan}/phases/{phase.id}", run, phase)

    def of_run(self, parent: str, run: RunKpis) -> Iterator[kpi_pb2.Kpis]:
        """The phases of a run, named after it or its plan."""
        for phase in run.phases.values():
            yield self.phase(f"{parent}/phases/{phase.id}", run, phase)

    def of_phase(self, run: RunKpis, phase: PhaseKpis) -> Iterator[kpi_pb2.Kpis]:
        """The lanes of a phase."""
        for lane in phase.lanes().values():
            yield self.lane(f"{run.name}/lanes/{lane.id}", run, phase, lane)

    def expected_of_run(self, run: RunKpis) -> Outlook:
        """What is expected of a run, with what is broken by now."""
        expected = self.outlook(run.name).whole
        if expected.end is not None and not run.is_active:
            expected = expected.without_forecast()
        return expected.broken_by(self.expected_of_phase(run, phase) for phase in run.phases.values())

    def expected_of_phase(self, run: RunKpis, phase: PhaseKpis) -> Outlook:
        """What is expected of a phase, with what is broken by now."""
        expected = self.outlook(run.name).phases.get(phase.id, UNKNOWN)
        if expected.end is not None and _has_ended(phase):
            expected = expected.without_forecast()
        if expected.budget_seconds < 0:
            return expected
        return expected.after(down_seconds([phase], self.now))


def _has_ended(phase: PhaseKpis) -> bool:
    """A forecast is some seconds old: what it was made of may have ended since."""
    return phase.record is not None and phase.record.state in PHASE_ENDED


def _copying_seconds(lane: Lane, now: datetime) -> float | None:
    """What copying took; while it is under way, what it takes at the speed that it has shown. None before anything has come."""
    if lane.start_time is None:
        return None
    if lane.state is LaneState.DONE and lane.end_time is not None:
        return (lane.end_time - lane.start_time).total_seconds()
    if lane.rows <= 0 or lane.rows_expected <= 0:
        return None
    return (now - lane.start_time).total_seconds() * max(1.0, lane.rows_expected / lane.rows)
