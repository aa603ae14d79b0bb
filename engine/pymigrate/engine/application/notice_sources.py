"""Where what templates read comes from: what is declared is read from the store, at once for many messages; runs and their KPIs are in
memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.kinds import DEPARTMENTS, PLANS
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.notice_facts import Facts
from pymigrate.engine.application.notification_kinds import NOTIFICATION_TEMPLATES
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import Directory, Occurrence
from pymigrate.engine.domain.run import Lane
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.v1 import environment_pb2, kpi_pb2, notification_pb2, plan_pb2


@dataclass(frozen=True, slots=True)
class Notice:
    """A delivery and what it tells of, which is one occurrence at least. Those who are told the same share the tuple."""

    delivery: Delivery
    occurrences: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of what some messages tell of: directories by environment, everything else by resource name."""

    directories: Mapping[str, Directory]
    templates: Mapping[str, notification_pb2.NotificationTemplate]
    plans: Mapping[str, plan_pb2.Plan]
    departments: Mapping[str, environment_pb2.Department]

    def display_names(self) -> dict[str, str]:
        """What people call plans and departments, by resource name."""
        return {
            **{name: plan.display_name for name, plan in self.plans.items()},
            **{name: department.display_name for name, department in self.departments.items()},
        }


def template_name(delivery: Delivery) -> str:
    """The resource name of a delivery's template; empty where it is told by the package's own."""
    return f"{delivery.environment}/notificationTemplates/{delivery.template}" if delivery.template else ""


def read_declared(unit: Unit, directories: Directories, notices: Sequence[Notice]) -> Declared:
    """Everything that is declared of it now. What is gone by now is left out."""
    told = {id(notice.occurrences): notice.occurrences for notice in notices}.values()
    occurrences = {id(each): each for group in told for each in group}.values()
    plans = {plan_name(each) for each in occurrences if each.plan}
    departments = {department_name(each) for each in occurrences if each.department}
    templates = {template_name(notice.delivery) for notice in notices}
    return Declared(
        {
            environment: directories.of(unit, environment)
            for environment in sorted({notice.delivery.environment for notice in notices})
        },
        {found.name: NOTIFICATION_TEMPLATES.held(found) for found in _found(unit, templates)},
        {found.name: PLANS.held(found) for found in _found(unit, plans)},
        {found.name: DEPARTMENTS.held(found) for found in _found(unit, departments)},
    )


def plan_name(occurrence: Occurrence) -> str:
    """The resource name of its plan."""
    return f"{occurrence.environment}/plans/{occurrence.plan}"


def department_name(occurrence: Occurrence) -> str:
    """The resource name of its department."""
    return f"{occurrence.environment}/departments/{occurrence.department}"


class FactsFound:
    """Finds what is known of occurrences; for the messages of one moment, since what was found is kept."""

    def __init__(self, kpis: FleetKpis, declared: Declared) -> None:
        self._fleet = kpis
        self._declared = declared
        self._kpis: dict[str, kpi_pb2.Kpis | None] = {}
        self._runs: dict[tuple[str, bool], RunKpis | None] = {}

    async def of(self, occurrence: Occurrence) -> Facts:
        """What is known of what it happened to."""
        has_lane = "/lanes/" in occurrence.subject
        run = await self._run(occurrence.run, has_lane) if occurrence.run else None
        return Facts(
            self._declared.plans.get(plan_name(occurrence)) if occurrence.plan else None,
            run.record if run is not None else None,
            {} if run is None else {name: each.record for name, each in run.phases.items() if each.record is not None},
            _lane(run, last_segment(occurrence.subject)) if run is not None and has_lane else None,
            self._declared.departments.get(department_name(occurrence)) if occurrence.department else None,
            await self._kpis_of(_subject(occurrence)),
        )

    async def _run(self, name: str, has_lanes: bool) -> RunKpis | None:
        key = (name, has_lanes)
        if key not in self._runs:
            try:
                self._runs[key] = await self._fleet.whole(name, has_lanes)
            except (NotFound, InvalidDefinition):  # it is gone, or somebody who tries a rule made it up
                self._runs[key] = None
        return self._runs[key]

    async def _kpis_of(self, subject: str) -> kpi_pb2.Kpis | None:
        if not subject:
            return None
        if subject not in self._kpis:
            try:
                self._kpis[subject] = await self._fleet.kpis(subject)
            except (NotFound, InvalidDefinition):
                self._kpis[subject] = None
        return self._kpis[subject]


def _subject(occurrence: Occurrence) -> str:
    """Whose KPIs say most of it: the phase's, else the run's, else the plan's."""
    if occurrence.run:
        return f"{occurrence.run}/phases/{occurrence.phase}" if occurrence.phase else occurrence.run
    return plan_name(occurrence) if occurrence.plan else ""


def _lane(run: RunKpis, name: str) -> Lane | None:
    return next((found for phase in run.phases.values() if (found := phase.lanes().get(name)) is not None), None)


def _found(unit: Unit, names: Iterable[str]) -> list[Resource]:
    return [found for name in sorted(names) if name and (found := unit.resources.get(name)) is not None]
