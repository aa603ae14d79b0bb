"""The KPIs of everything, folded from the stream of changes: of each plan's newest run, and of what sums them up. What an engine before
this one saw is read from the store: a run's records when it is loaded, its events when they are missing.

The figures of newest runs are in memory: to look at them costs no store.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.kpi_messages import kpis_message, nothing_yet
from pymigrate.engine.application.kpi_subjects import Subject, SubjectKind, missing, require_declared, subject_of
from pymigrate.engine.application.verdicts import verdict_of
from pymigrate.engine.domain.errors import NotFound, TemporaryError
from pymigrate.engine.domain.kpi import PhaseDifference, RunKpis
from pymigrate.engine.domain.kpi_figures import (
    Figures,
    department_figures,
    environment_figures,
    lane_figures,
    phase_figures,
    run_figures,
)
from pymigrate.engine.domain.kpi_phase import PhaseKpis
from pymigrate.engine.domain.kpi_sums import EnvironmentKpis
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import kpi_pb2

log = structlog.get_logger(__name__)
OTHERS_KEPT_MAX = 64
EVENTS_PAGE = 1_000
RUNS_PAGE = 1_000
RETRY_SECONDS = 1.0


class FleetKpis:
    """The KPIs of every plan's newest run and of what lies above and below it; those of older runs when they are asked for."""

    def __init__(self, store: Store, board: Board, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._runs: dict[str, RunKpis] = {}
        self._environments: dict[str, EnvironmentKpis] = {}
        self._on_change: list[Callable[[str], None]] = []
        self._behind: dict[str, None] = {}
        self._wake = asyncio.Event()
        board.changes.follow(self._observe)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Calls back with the run's name whenever figures of it have changed."""
        self._on_change.append(callback)

    def now(self) -> datetime:
        """The moment that figures are told for: rates and downtimes go on while nothing happens."""
        return self._clock.now()

    def current(self) -> Iterator[RunKpis]:
        """The newest run of every plan that has one, ordered by the plan's name. See `kpi_figures` for what can be told of each."""
        for environment in sorted(self._environments):
            runs = self._environments[environment].runs
            yield from (runs[plan] for plan in sorted(runs))

    def environments(self) -> Iterator[EnvironmentKpis]:
        """The sums over every environment's newest runs, ordered by name."""
        yield from (self._environments[name] for name in sorted(self._environments))

    def run(self, name: str) -> RunKpis | None:
        """A run that is in memory: a plan's newest one, and whichever were looked at last."""
        return self._runs.get(name)

    def newest(self, plan: str) -> RunKpis | None:
        """The newest run of a plan."""
        environment = self._environments.get(environment_of(plan))
        return environment.runs.get(plan) if environment else None

    # What is told --------------------------------------------------------------------------------------------------------------------

    async def kpis(self, name: str, includes_parts: bool = False) -> kpi_pb2.Kpis:
        """The KPIs of a subject as they are now, and those of its parts. Raises NotFound with the nearest name."""
        subject = subject_of(name)
        match subject.kind:
            case SubjectKind.ENVIRONMENT | SubjectKind.DEPARTMENT:
                return await self._above(subject, includes_parts)
            case SubjectKind.PLAN | SubjectKind.PLAN_PHASE:
                return await self._of_plan(subject, includes_parts)
            case _:
                return await self._of_run(subject, includes_parts)

    async def _above(self, subject: Subject, includes_parts: bool) -> kpi_pb2.Kpis:
        environment, now = self._environments.get(subject.environment), self.now()
        if subject.kind is SubjectKind.DEPARTMENT:
            department = environment.departments.get(subject.id) if environment else None
            if department is None:
                await self._store.read(lambda unit: require_declared(unit, subject))
                return nothing_yet(subject.name)
            message = kpis_message(subject.name, department_figures(department, now))
            parts = [
                (f"{department.runs[run].plan}/phases/{phase.id}", phase_figures(department.runs[run], phase, now))
                for (run, _), phase in department.phases.items()
            ]
        else:
            if environment is None:
                await self._store.read(lambda unit: require_declared(unit, subject))
                return nothing_yet(subject.name)
            message = kpis_message(subject.name, environment_figures(environment, now))
            parts = [(plan, run_figures(run, now)) for plan, run in environment.runs.items()] if includes_parts else []
            parts += [
                (f"{subject.name}/departments/{name}", department_figures(each, now))
                for name, each in (environment.departments.items() if includes_parts else ())
            ]
        return _with_parts(message, parts if includes_parts else ())

    async def _of_plan(self, subject: Subject, includes_parts: bool) -> kpi_pb2.Kpis:
        plan = subject.name if subject.kind is SubjectKind.PLAN else subject.parent
        newest = self.newest(plan)
        if newest is None:
            await self._store.read(lambda unit: require_declared(unit, subject))
            return nothing_yet(subject.name)
        run = await self._whole(newest.name)
        if subject.kind is SubjectKind.PLAN:
            return self._run_message(subject.name, plan, run, includes_parts)
        if subject.id not in run.phases:  # declared since then, perhaps
            await self._store.read(lambda unit: require_declared(unit, subject))
            return nothing_yet(subject.name)
        return self._phase_message(subject.name, run, run.phases[subject.id], includes_parts)

    async def _of_run(self, subject: Subject, includes_parts: bool) -> kpi_pb2.Kpis:
        run = await self._whole(subject.name if subject.kind is SubjectKind.RUN else subject.parent)
        if subject.kind is SubjectKind.RUN:
            return self._run_message(subject.name, subject.name, run, includes_parts)
        if subject.kind is SubjectKind.RUN_PHASE:
            if subject.id not in run.phases:
                raise missing(subject, set(run.phases))
            return self._phase_message(subject.name, run, run.phases[subject.id], includes_parts)
        lanes = {name: (phase, lane) for phase in run.phases.values() for name, lane in phase.lanes().items()}
        if subject.id not in lanes:
            raise missing(subject, set(lanes))
        return kpis_message(subject.name, lane_figures(run, *lanes[subject.id], self.now()))

    def _run_message(self, name: str, parent: str, run: RunKpis, includes_parts: bool) -> kpi_pb2.Kpis:
        now = self.now()
        message = kpis_message(name, run_figures(run, now))
        phases = run.phases.values() if includes_parts else ()
        return _with_parts(message, [(f"{parent}/phases/{each.id}", phase_figures(run, each, now)) for each in phases])

    def _phase_message(self, name: str, run: RunKpis, phase: PhaseKpis, includes_parts: bool) -> kpi_pb2.Kpis:
        now = self.now()
        message = kpis_message(name, phase_figures(run, phase, now))
        lanes = phase.lanes().values() if includes_parts else ()
        return _with_parts(
            message, [(f"{run.name}/lanes/{lane.id}", lane_figures(run, phase, lane, now)) for lane in lanes]
        )

    # What happens --------------------------------------------------------------------------------------------------------------------

    def _observe(self, change: Change) -> None:
        run = self._runs.get(change.run)
        if run is None:
            run = self._runs[change.run] = RunKpis(change.run, verdict_of)
            self._forget_others()
        changes = run.take_in(change.time, change.entities, change.events)
        self._place(run, changes)
        if run.first_missing_event:
            self._behind[run.name] = None
            self._wake.set()
        self._tell(run.name)

    def _place(self, run: RunKpis, changes: dict[str, PhaseDifference]) -> None:
        """Counts a change where the run is its plan's newest; one that has become so comes in place of the one before."""
        if run.record is None:
            return
        name = environment_of(run.name)
        environment = self._environments.get(name)
        known = environment.runs.get(run.plan) if environment else None
        if environment is not None and known is run:
            environment.put(run, changes)
        elif known is None or known.record is None or _age(run) > _age(known):
            if environment is None:
                environment = self._environments[name] = EnvironmentKpis(name)
            environment.add(run)

    def _tell(self, run: str) -> None:
        for callback in self._on_change:
            callback(run)

    def _forget_others(self) -> None:
        """Of runs that neither go on nor are their plan's newest only so many are kept."""
        others = [name for name, run in self._runs.items() if not run.is_active and self.newest(run.plan) is not run]
        for name in others[: max(0, len(others) - OTHERS_KEPT_MAX)]:
            del self._runs[name]
            self._behind.pop(name, None)

    # What is read from the store -----------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Reads the newest run of every plan."""
        names = await self._store.read(_newest_names)
        for name in names:
            if name not in self._runs:
                await self._whole(name)

    async def run_loop(self) -> None:
        """Reads what is missing, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._behind:
                name = next(iter(self._behind))
                try:
                    await self._whole(name)
                except NotFound:
                    self._behind.pop(name, None)
                except TemporaryError as error:
                    log.warning("kpis.behind", run=name, error=error.message)
                    await self._clock.sleep(RETRY_SECONDS)

    async def _whole(self, name: str) -> RunKpis:
        """A run with everything that happened in it. Raises NotFound."""
        run = self._runs.get(name)
        if run is None or run.record is None:
            aggregate = await self._store.read(lambda unit: unit.runs.load(name))
            if aggregate is None:
                raise await self._no_run(name)
            self._observe(Change(name, self.now(), tuple(aggregate.entities()), is_whole=True))
            run = self._runs[name]
        while first := run.first_missing_event:
            events = await self._store.read(lambda unit: list(unit.runs.events(name, first - 1, EVENTS_PAGE)))
            if not events:
                break
            self._place(run, run.take_in(self.now(), (), events))
            self._tell(name)
        self._behind.pop(name, None)
        return run

    async def _no_run(self, name: str) -> NotFound:
        subject = subject_of(name)
        runs = await self._store.read(lambda unit: unit.runs.list(subject.parent, None, RUNS_PAGE))
        return missing(subject, {run.name.rpartition("/")[2] for run in runs})


def _age(run: RunKpis) -> tuple[datetime, str]:
    if run.record is None:
        raise ValueError(f"{run.name} is not known yet")
    return run.record.create_time, run.name


def _newest_names(unit: Unit) -> list[str]:
    """The newest run of every plan."""
    found: dict[str, str] = {}
    after = ""
    while environments := unit.resources.list("environments", "", after, RUNS_PAGE):
        after = environments[-1].name
        for environment in environments:
            before: tuple[datetime, str] | None = None
            while page := unit.runs.list(f"{environment.name}/plans/-", before, RUNS_PAGE):
                for run in page:
                    found.setdefault(run.plan, run.name)
                before = (page[-1].create_time, page[-1].name)
    return list(found.values())


def _with_parts(message: kpi_pb2.Kpis, parts: Iterable[tuple[str, Figures]]) -> kpi_pb2.Kpis:
    message.parts.extend(kpis_message(name, figures) for name, figures in sorted(parts, key=lambda part: part[0]))
    return message
