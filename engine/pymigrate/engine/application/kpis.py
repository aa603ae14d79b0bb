"""The KPIs of everything, folded from the stream of changes: of each plan's newest run, and of what sums them up. What an engine before
this one saw is read from the store: figures that were kept of runs as they ended, and where there are none, records and events.

The figures of newest runs are in memory: to look at them costs no store.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.fleet_fold import FleetFold
from pymigrate.engine.application.kept_figures import kept_run
from pymigrate.engine.application.kpi_messages import nothing_yet
from pymigrate.engine.application.kpi_subjects import Subject, SubjectKind, missing, require_declared, subject_of
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.domain.errors import NotFound, TemporaryError
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.names import environment_of, parent_of
from pymigrate.engine.domain.run import Run, RunEvent
from pymigrate.engine.domain.run_keys import is_given_up
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import kpi_pb2

log = structlog.get_logger(__name__)
EVENTS_PAGE = 1_000
RUNS_PAGE = 1_000
KEPT_PAGE = 200
RETRY_SECONDS = 1.0


class FleetKpis(FleetFold):
    """The KPIs of every plan's newest run and of what lies above and below it; those of older runs when they are asked for."""

    def __init__(self, store: Store, board: Board, clock: Clock) -> None:
        super().__init__(clock)
        self._store = store
        self._behind: dict[str, None] = {}
        self._unread: dict[str, str] = {}
        self._without: dict[str, None] = {}
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
        await self._find_standing()
        if plan in self._unread:
            await self.whole(self._unread[plan])
        newest = self.newest(plan)
        has_lanes = includes_parts and subject.kind is SubjectKind.PLAN_PHASE
        run = await self.whole(newest.name, has_lanes) if newest is not None else None
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
        has_lanes = subject.kind is SubjectKind.RUN_LANE or (includes_parts and subject.kind is SubjectKind.RUN_PHASE)
        run = await self.whole(subject.name if subject.kind is SubjectKind.RUN else subject.parent, has_lanes)
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
        if run.record is not None and is_given_up(run.record):
            if self.newest(run.plan) is None:
                self._without[run.plan] = None  # the run before it counts again
                self._wake.set()
            return
        if run.first_missing_event or run.name in self._renewed:
            self._behind[run.name] = None
            self._wake.set()

    async def restore(self) -> None:
        """Finds the newest run of every plan, with the figures that were kept of it. Where there are none it is read in the background,
        or as soon as somebody asks for it: of many plans that takes longer than an engine may take to start."""
        for environment in await self._store.read(lambda unit: list(unit.resources.names("environments", ""))):
            after = ""
            while page := await self._store.read(_newest_after(environment, after)):
                for run, kept in page:
                    self._take_over(run, kept)
                after = page[-1][0].plan
                await self._clock.sleep(0)  # others have a turn
        await self.look_at_declared()
        self._wake.set()

    def _take_over(self, run: Run, kept: KeptFigures | None) -> None:
        if run.name in self._runs:
            return
        found = kept_run(kept, run)
        if found is None:
            self._unread[run.plan] = run.name
        else:
            self.put_kept(found)

    async def look_at_declared(self) -> None:
        """Leaves plans out that are no longer declared, and finds the runs of those that were declared again."""
        # Both before what is declared is read: what comes meanwhile is neither left out nor taken for old.
        counted, looked = self.counted(), self.now()
        declared = await self._store.read(_declared_plans)
        self.leave_out(counted - declared)
        for plan in sorted(self.hold_to(declared, looked)):
            await self._look_for_newest(plan)

    async def _look_for_newest(self, plan: str) -> None:
        run = await self._store.read(lambda unit: unit.runs.standing(plan))
        if run is not None:
            self._unread[plan] = run.name
            self._wake.set()

    async def _find_standing(self) -> None:
        """Finds the runs that count again, since the ones after them were given up."""
        while plan := next(iter(self._without), ""):
            await self._look_for_newest(plan)
            self._without.pop(plan, None)

    def behind(self, environment: str = "") -> set[str]:
        """The runs of which something is still to be read, of everything or of one environment: what they are part of is not whole."""
        names = {*self._behind, *self._unread.values()}
        return {name for name in names if not environment or environment_of(name) == environment}

    async def run_loop(self) -> None:
        """Reads what is missing, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._find_standing()
            while name := next(iter((*self._behind, *self._unread.values())), ""):
                try:
                    await self.whole(name)
                except NotFound:
                    self._has_read(name)
                except TemporaryError as error:
                    log.warning("kpis.behind", run=name, error=error.message)
                    await self._clock.sleep(RETRY_SECONDS)

    async def _all_of(self, environment: str) -> None:
        """Everything that is still to be read of an environment."""
        for run in sorted(self.behind(environment)):
            if run in self.behind(environment):
                await self.whole(run)

    def _has_read(self, run: str) -> None:
        plan, was_behind = parent_of(run), run in self._behind
        self._behind.pop(run, None)
        if self._unread.get(plan) == run:
            del self._unread[plan]
            was_behind = True
        if was_behind:
            self._tell(run)

    async def whole(self, name: str, has_lanes: bool = True) -> RunKpis:
        """A run with everything that happened in it; without its lanes, what was kept of it is enough. Raises NotFound."""
        known = self._runs.get(name)
        if known is not None and not known.has_lanes:
            if not has_lanes:
                return known
            self._renew(name)
        has_loaded = False
        while True:
            run = self._runs.get(name)
            if run is None or run.record is None or (name in self._renewed and not has_loaded):
                has_loaded = True
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
        self._renewed.discard(name)
        self._place(run, {})
        self._has_read(name)
        return run

    async def _no_run(self, name: str) -> NotFound:
        subject = subject_of(name)
        runs = await self._store.read(lambda unit: unit.runs.list(subject.parent, None, RUNS_PAGE))
        return missing(subject, {run.name.rpartition("/")[2] for run in runs})


def _events_from(run: str, first: int) -> Callable[[Unit], list[RunEvent]]:
    return lambda unit: list(unit.runs.events(run, first - 1, EVENTS_PAGE))


def _newest_after(environment: str, after: str) -> Callable[[Unit], list[tuple[Run, KeptFigures | None]]]:
    """A page of newest runs, each with what is kept of its plan."""

    def look(unit: Unit) -> list[tuple[Run, KeptFigures | None]]:
        runs = unit.runs.newest(environment, after, KEPT_PAGE)
        kept = {found.plan: found for found in unit.figures.of_plans(run.plan for run in runs)}
        return [(run, kept.get(run.plan)) for run in runs]

    return look


def _declared_plans(unit: Unit) -> set[str]:
    environments = unit.resources.names("environments", "")
    return {plan for environment in environments for plan in unit.resources.names("plans", environment)}


def _with_parts(message: kpi_pb2.Kpis, parts: Iterable[kpi_pb2.Kpis], includes_parts: bool) -> kpi_pb2.Kpis:
    if includes_parts:
        message.parts.extend(sorted(parts, key=lambda part: part.name))
    return message
