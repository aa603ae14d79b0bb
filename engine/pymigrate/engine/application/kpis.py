"""The KPIs of everything, folded from the stream of changes: of each plan's newest run, and of what sums them up. What an engine before
this one saw is read from the store: a run's records when it is loaded, its events when they are missing.

The figures of newest runs are in memory: to look at them costs no store.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.fleet_fold import FleetFold
from pymigrate.engine.application.kinds import children
from pymigrate.engine.application.kpi_messages import nothing_yet
from pymigrate.engine.application.kpi_subjects import Subject, SubjectKind, missing, require_declared, subject_of
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.domain.errors import NotFound, TemporaryError
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.names import environment_of, parent_of
from pymigrate.engine.domain.run import RunEvent
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import kpi_pb2

log = structlog.get_logger(__name__)
OTHERS_KEPT_MAX = 64
EVENTS_PAGE = 1_000
RUNS_PAGE = 1_000
RETRY_SECONDS = 1.0


class FleetKpis(FleetFold):
    """The KPIs of every plan's newest run and of what lies above and below it; those of older runs when they are asked for."""

    def __init__(self, store: Store, board: Board, clock: Clock) -> None:
        super().__init__(clock)
        self._store = store
        self._behind: dict[str, None] = {}
        self._unread: dict[str, str] = {}
        self._wake = asyncio.Event()
        board.changes.follow(self._follow)

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
        await self._all_of(subject.environment)
        environment, now = self._environments.get(subject.environment), self.now()
        if subject.kind is SubjectKind.DEPARTMENT:
            department = environment.departments.get(subject.id) if environment else None
            if department is not None:
                told = KpiTelling(self.outlook, now)
                return _with_parts(
                    told.department(subject.name, department), told.of_department(department), includes_parts
                )
        elif environment is not None:
            told = KpiTelling(self.outlook, now)
            return _with_parts(
                told.environment(subject.name, environment), told.of_environment(environment), includes_parts
            )
        await self._store.read(lambda unit: require_declared(unit, subject))
        return nothing_yet(subject.name)

    async def _of_plan(self, subject: Subject, includes_parts: bool) -> kpi_pb2.Kpis:
        plan = subject.name if subject.kind is SubjectKind.PLAN else subject.parent
        if plan in self._unread:
            await self.whole(self._unread[plan])
        newest = self.newest(plan)
        run = await self.whole(newest.name) if newest is not None else None
        if run is None or (subject.kind is SubjectKind.PLAN_PHASE and subject.id not in run.phases):
            await self._store.read(
                lambda unit: require_declared(unit, subject)
            )  # a phase that was declared since, perhaps
            return nothing_yet(subject.name)
        told = KpiTelling(self.outlook, self.now())
        if subject.kind is SubjectKind.PLAN:
            return _with_parts(told.run(subject.name, run), told.of_run(plan, run), includes_parts)
        phase = run.phases[subject.id]
        return _with_parts(told.phase(subject.name, run, phase), told.of_phase(run, phase), includes_parts)

    async def _of_run(self, subject: Subject, includes_parts: bool) -> kpi_pb2.Kpis:
        run = await self.whole(subject.name if subject.kind is SubjectKind.RUN else subject.parent)
        told = KpiTelling(self.outlook, self.now())
        if subject.kind is SubjectKind.RUN:
            return _with_parts(told.run(subject.name, run), told.of_run(subject.name, run), includes_parts)
        if subject.kind is SubjectKind.RUN_PHASE:
            if subject.id not in run.phases:
                raise missing(subject, set(run.phases))
            phase = run.phases[subject.id]
            return _with_parts(told.phase(subject.name, run, phase), told.of_phase(run, phase), includes_parts)
        lanes = {name: (phase, lane) for phase in run.phases.values() for name, lane in phase.lanes().items()}
        if subject.id not in lanes:
            raise missing(subject, set(lanes))
        return told.lane(subject.name, run, *lanes[subject.id])

    # What is read from the store -----------------------------------------------------------------------------------------------------

    def _follow(self, change: Change) -> None:
        run = self.observe(change)
        if run.first_missing_event:
            self._behind[run.name] = None
            self._wake.set()

    async def restore(self) -> None:
        """Finds the newest run of every plan. What has ended is read in the background, or as soon as somebody asks for it: of many
        plans that takes longer than an engine may take to start."""
        newest = await self._store.read(_newest_runs)
        self._unread = {plan: run for plan, run in newest.items() if run not in self._runs}
        self._wake.set()

    async def run_loop(self) -> None:
        """Reads what is missing, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while name := next(iter((*self._behind, *self._unread.values())), ""):
                try:
                    await self.whole(name)
                except NotFound:
                    self._has_read(name)
                except TemporaryError as error:
                    log.warning("kpis.behind", run=name, error=error.message)
                    await self._clock.sleep(RETRY_SECONDS)

    async def _all_of(self, environment: str) -> None:
        """Everything that ended in an environment before this engine."""
        for plan, run in list(self._unread.items()):
            if environment_of(plan) == environment and plan in self._unread:
                await self.whole(run)

    def _has_read(self, run: str) -> None:
        self._behind.pop(run, None)
        plan = parent_of(run)
        if self._unread.get(plan) == run:
            del self._unread[plan]

    async def whole(self, name: str) -> RunKpis:
        """A run with everything that happened in it. Raises NotFound."""
        while True:
            run = self._runs.get(name)
            if run is None or run.record is None:
                aggregate = await self._store.read(lambda unit: unit.runs.load(name))
                if aggregate is None:
                    raise await self._no_run(name)
                run = self.observe(Change(name, self.now(), tuple(aggregate.entities()), is_whole=True))
            if not (first := run.first_missing_event):
                break
            events = await self._store.read(_events_from(name, first))
            if not events:  # the records are of a later moment than this reading
                break
            self.observe(Change(name, self.now(), (), events))
        self._has_read(name)
        return run

    async def _no_run(self, name: str) -> NotFound:
        subject = subject_of(name)
        runs = await self._store.read(lambda unit: unit.runs.list(subject.parent, None, RUNS_PAGE))
        return missing(subject, {run.name.rpartition("/")[2] for run in runs})


def _events_from(run: str, first: int) -> Callable[[Unit], list[RunEvent]]:
    return lambda unit: list(unit.runs.events(run, first - 1, EVENTS_PAGE))


def _newest_runs(unit: Unit) -> dict[str, str]:
    """The newest run of every plan, by plan."""
    found: dict[str, str] = {}
    for environment in children(unit, "environments", ""):
        before: tuple[datetime, str] | None = None
        while page := unit.runs.list(f"{environment.name}/plans/-", before, RUNS_PAGE):
            for run in page:
                found.setdefault(run.plan, run.name)
            before = (page[-1].create_time, page[-1].name)
    return found


def _with_parts(message: kpi_pb2.Kpis, parts: Iterable[kpi_pb2.Kpis], includes_parts: bool) -> kpi_pb2.Kpis:
    if includes_parts:
        message.parts.extend(sorted(parts, key=lambda part: part.name))
    return message
