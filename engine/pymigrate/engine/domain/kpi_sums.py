"""The figures of what lies above runs: environments and departments. Each is a sum over the newest runs of plans, kept by difference."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis, down_seconds
from pymigrate.engine.domain.kpi_arrivals import Arrivals
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.kpi_tally import Tally, negative, put


class DepartmentKpis:
    """The phases of one department, over the newest runs of an environment's plans."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tally: Tally = {}
        self.arrivals = Arrivals()
        self.phases: dict[tuple[str, str], PhaseKpis] = {}
        self.runs: dict[str, RunKpis] = {}

    def add(self, run: RunKpis, phase: PhaseKpis) -> None:
        """A phase with all that there is of it."""
        self.phases[run.name, phase.id] = phase
        self.runs[run.name] = run
        put(self.tally, phase.tally)
        self.arrivals.put(phase.arrivals.all())

    def remove(self, run: RunKpis, phase: PhaseKpis) -> None:
        """A phase that was added."""
        del self.phases[run.name, phase.id]
        self.runs.pop(run.name, None)
        put(self.tally, negative(phase.tally))
        self.arrivals.put(phase.arrivals.all(), -1)

    def put(self, change: PhaseDifference) -> None:
        """What changed of a phase that was added."""
        put(self.tally, change.tally)
        self.arrivals.put(change.arrived)

    def lag_seconds(self) -> float:
        """How far staging is behind at most; -1 where nothing catches up."""
        return max((phase.lag_seconds() for phase in self.phases.values()), default=-1.0)

    def downtime_seconds(self, now: datetime) -> float:
        """How long its sources have been down; overlapping downtimes count once."""
        return down_seconds(self.phases.values(), now)


class EnvironmentKpis:
    """The newest runs of an environment's plans."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tally: Tally = {}
        self.arrivals = Arrivals()
        self.runs: dict[str, RunKpis] = {}
        self.departments: dict[str, DepartmentKpis] = {}

    def add(self, run: RunKpis) -> None:
        """A run with all that there is of it, in place of an earlier one of its plan."""
        before = self.runs.get(run.plan)
        if before is not None:
            self.remove(before)
        self.runs[run.plan] = run
        self._put(run.phases.values())
        for department, phases in run.departments().items():
            for phase in phases:
                self._department(department).add(run, phase)

    def put(self, run: RunKpis, changes: Mapping[str, PhaseDifference]) -> None:
        """What changed of a run that was added."""
        for name, change in changes.items():
            put(self.tally, change.tally)
            self.arrivals.put(change.arrived)
            phase = run.phases[name]
            department = self._department(phase.record.department if phase.record else "")
            if change.is_new:
                department.add(run, phase)
            else:
                department.put(change)

    def lag_seconds(self) -> float:
        """How far staging is behind at most; -1 where nothing catches up."""
        return max((run.lag_seconds() for run in self.runs.values() if run.is_active), default=-1.0)

    def downtime_seconds(self, now: datetime) -> float:
        """How long departments' sources have been down; of one department overlapping downtimes count once."""
        return sum(department.downtime_seconds(now) for department in self.departments.values())

    def remove(self, run: RunKpis) -> None:
        """A run that was added."""
        del self.runs[run.plan]
        self._put(run.phases.values(), -1)
        for department, phases in run.departments().items():
            for phase in phases:
                self.departments[department].remove(run, phase)
            if not self.departments[department].phases:
                del self.departments[department]

    def _put(self, phases: Iterable[PhaseKpis], sign: int = 1) -> None:
        for phase in phases:
            if phase.record is not None:
                put(self.tally, phase.tally if sign > 0 else negative(phase.tally))
                self.arrivals.put(phase.arrivals.all(), sign)

    def _department(self, name: str) -> DepartmentKpis:
        if name not in self.departments:
            self.departments[name] = DepartmentKpis(name)
        return self.departments[name]
