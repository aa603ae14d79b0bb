"""The whole picture: every plan with its KPIs, risks and next milestones, found anew only where something happens, and watched.

A plan's part is kept until its run changes; what goes on by itself, rates, downtimes and forecasts, is told anew for runs under way.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from pymigrate.engine.application.dashboard_milestones import plan_milestones
from pymigrate.engine.application.dashboard_risks import plan_risks
from pymigrate.engine.application.kinds import PLANS, children
from pymigrate.engine.application.kpi_messages import nothing_yet
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.application.watching import Told, Topics
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.kpi_arrivals import WINDOW_SECONDS
from pymigrate.engine.domain.names import environment_of, last_segment, nearest, parent_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import kpi_pb2

INTERVAL_SECONDS = 0.4
# How often it is looked at while nothing happens: plans are declared, and windows open.
TICK_SECONDS = 5.0
PAGE = 1_000
RISKS_MAX = 1_000
MILESTONES_MAX = 1_000
GONE_KEPT_MAX = 1_000
PLANS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class _Part:
    """What is told of one plan. `revision`: since when it is told so. `is_moving`: it changes by itself."""

    status: kpi_pb2.PlanStatus
    risks: list[kpi_pb2.Risk]
    milestones: list[kpi_pb2.Milestone]
    revision: int
    is_moving: bool

    def is_as(self, other: "_Part | None") -> bool:
        """Whether another one tells the same."""
        return other is not None and (self.status, self.risks, self.milestones) == (
            other.status,
            other.risks,
            other.milestones,
        )


@dataclass(slots=True)
class _View:
    """The picture at a moment. Most watchers have seen the same one before, so that there are few answers."""

    totals: kpi_pb2.Dashboard
    parts: Mapping[str, _Part]
    gone: Mapping[str, int]
    known_since: int
    revision: int
    start: str
    answers: dict[int, Told[kpi_pb2.WatchDashboardResponse]] = field(default_factory=dict)

    def whole(self) -> kpi_pb2.Dashboard:
        """All of it."""
        return self._dashboard(-1)

    def since(self, seen: int) -> Told[kpi_pb2.WatchDashboardResponse]:
        """What changed after a revision; the whole where that is not known."""
        is_change = self.known_since <= seen <= self.revision
        after = seen if is_change else -1
        found = self.answers.get(after)
        if found is None:
            message = kpi_pb2.WatchDashboardResponse(
                dashboard=self._dashboard(after),
                is_change=is_change,
                deleted_plans=sorted(name for name, at in self.gone.items() if is_change and at > after),
                resume_token=f"{self.start}.{self.revision}",
            )
            found = self.answers[after] = Told(message)
        return found

    def _dashboard(self, after: int) -> kpi_pb2.Dashboard:
        parts = [part for part in self.parts.values() if part.revision > after]
        risks = [risk for part in parts for risk in part.risks]
        milestones = [milestone for part in parts for milestone in part.milestones]
        message = kpi_pb2.Dashboard(
            plans=[part.status for part in parts],
            risks=sorted(risks, key=_urgency)[:RISKS_MAX],
            milestones=sorted(milestones, key=_moment)[:MILESTONES_MAX],
        )
        message.MergeFrom(self.totals)
        return message


@dataclass(frozen=True, slots=True)
class _Declared:
    """What is declared: environments, and what people call each plan, by name."""

    environments: tuple[str, ...]
    plans: Mapping[str, str]


class Dashboards:
    """Makes the picture. `start` tells this engine's tokens from those of another."""

    def __init__(
        self, store: Store, kpis: FleetKpis, limits: LaneLimits, topics: Topics, clock: Clock, start: str
    ) -> None:
        self._store = store
        self._kpis = kpis
        self._limits = limits
        self._topics = topics
        self._clock = clock
        self._start = start
        self._declared = _Declared((), {})
        self._parts: dict[str, _Part] = {}
        self._gone: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._revision = 0
        self._known_since = 0
        self._looking = asyncio.Lock()
        self._looks_begun = self._last_look = 0
        kpis.on_change(self._note)

    async def dashboard(self, environment: str) -> kpi_pb2.Dashboard:
        """The picture now, of everything or of one environment. Raises NotFound with the nearest name."""
        return (await self._view(environment)).whole()

    async def watch(
        self, environment: str, resume_token: str
    ) -> AsyncGenerator[Told[kpi_pb2.WatchDashboardResponse], None]:
        """The picture, then what changed in it, at most every INTERVAL_SECONDS. Raises NotFound."""
        seen = self._seen(resume_token)
        with self._topics.watched(_key(environment), partial(self._view, environment), INTERVAL_SECONDS) as topic:
            picture = await topic.now()
            while True:
                view = picture.view
                if view.revision > seen or not view.known_since <= seen:
                    yield view.since(seen)
                    seen = view.revision
                picture = await topic.after(picture.number)

    async def run_loop(self) -> None:
        """Looks again now and then, for whoever watches, until it is cancelled."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            for environment in ("", *self._declared.environments):
                self._topics.change(_key(environment))

    def _note(self, run: str) -> None:
        self._dirty.add(parent_of(run))
        self._topics.change(_key(""))
        self._topics.change(_key(environment_of(run)))

    def _seen(self, token: str) -> int:
        """The revision that was seen last; -1 for none, or one that is not known here."""
        start, _, number = token.rpartition(".")
        is_known = start == self._start and number.isdecimal() and int(number[:20]) <= self._revision
        return int(number) if is_known else -1

    async def _view(self, environment: str) -> _View:
        """What there is to see now. Those who wait for a look share the next one: it begins after all of them asked."""
        begun = self._looks_begun
        async with self._looking:
            if self._last_look <= begun:
                self._looks_begun += 1
                await self._look()
                self._last_look = self._looks_begun
            if environment and environment not in self._declared.environments:
                known = {last_segment(name) for name in self._declared.environments}
                raise NotFound(
                    f"there is no {environment}{nearest(last_segment(environment), known)}", field="environment"
                )
            below = f"{environment}/" if environment else ""
            return _View(
                totals=self._totals(environment),
                parts={name: part for name, part in self._parts.items() if name.startswith(below)},
                gone={name: at for name, at in self._gone.items() if name.startswith(below)},
                known_since=self._known_since,
                revision=self._revision,
                start=self._start,
            )

    async def _look(self) -> None:
        """Tells anew what may be otherwise than it was told."""
        counted = self._kpis.counted()
        self._declared = await self._store.read(_read_declared)
        self._kpis.leave_out(counted - self._declared.plans.keys())
        behind = {parent_of(run) for run in self._kpis.behind()}
        calendars = (await self._limits.current()).calendars
        dirty, self._dirty = self._dirty, set()
        revision, now = self._revision + 1, self._kpis.now()
        told = KpiTelling(self._kpis.outlook, now)
        parts: dict[str, _Part] = {}
        looked = 0
        for plan, display_name in self._declared.plans.items():
            known = self._parts.get(plan)
            run = self._kpis.newest(plan)
            is_same = known is not None and known.status.display_name == display_name
            if known is not None and is_same and not known.is_moving and plan not in dirty:
                parts[plan] = known
                continue
            made = _part(told, plan, display_name, run, calendars, revision)
            made.status.kpis.is_partial = plan in behind
            parts[plan] = (
                known if known is not None and made.is_as(known) and made.is_moving == known.is_moving else made
            )
            looked += 1
            if looked % PLANS_AT_ONCE == 0:
                await self._clock.sleep(0)  # others have a turn
        gone = self._parts.keys() - parts.keys()
        if gone or any(part.revision == revision for part in parts.values()):
            self._revision = revision
        self._parts = parts
        self._forget(gone, revision)

    def _forget(self, gone: set[str], revision: int) -> None:
        """Notes which plans are gone; of those that went first only so many are known."""
        self._gone = {name: at for name, at in self._gone.items() if name not in self._parts}
        self._gone |= dict.fromkeys(gone, revision)
        for name in sorted(self._gone, key=self._gone.__getitem__)[: max(0, len(self._gone) - GONE_KEPT_MAX)]:
            self._known_since = max(self._known_since, self._gone.pop(name))

    def _totals(self, environment: str) -> kpi_pb2.Dashboard:
        now = self._kpis.now()
        told = KpiTelling(self._kpis.outlook, now)
        summed = {found.name: found for found in self._kpis.environments()}
        names = [environment] if environment else self._declared.environments
        totals = kpi_pb2.Dashboard(
            time=timestamp(now),
            environments=[
                told.environment(name, summed[name]) if name in summed else nothing_yet(name) for name in names
            ],
        )
        for found in totals.environments:
            found.is_partial = bool(self._kpis.behind(found.name))
        totals.is_partial = any(found.is_partial for found in totals.environments)
        return totals


def _part(
    told: KpiTelling,
    plan: str,
    display_name: str,
    run: RunKpis | None,
    calendars: Mapping[tuple[str, str], Calendar],
    revision: int,
) -> _Part:
    if run is None:
        status = kpi_pb2.PlanStatus(plan=plan, display_name=display_name, kpis=nothing_yet(plan))
        return _Part(status, [], [], revision, is_moving=False)
    kpis = told.run(plan, run)
    phases = {
        name: told.phase(f"{run.name}/phases/{name}", run, phase)
        for name, phase in (run.phases.items() if run.is_active else ())
    }
    return _Part(
        kpi_pb2.PlanStatus(plan=plan, display_name=display_name, kpis=kpis),
        plan_risks(run, kpis),
        plan_milestones(run, kpis, phases, calendars, told.now),
        revision,
        is_moving=_is_moving(run, told.now),
    )


def _is_moving(run: RunKpis, now: datetime) -> bool:
    """Whether it changes while nothing happens: it goes on, or its rates still tell of when it did."""
    if run.record is None or run.record.end_time is None:
        return True
    return (now - run.record.end_time).total_seconds() <= WINDOW_SECONDS + 1


def _read_declared(unit: Unit) -> _Declared:
    environments: list[str] = []
    plans: dict[str, str] = {}
    while page := unit.resources.list("environments", "", environments[-1] if environments else "", PAGE):
        environments += [found.name for found in page]
    for environment in environments:
        for found in children(unit, "plans", environment):
            plans[found.name] = PLANS.held(found).display_name
    return _Declared(tuple(environments), plans)


def _key(environment: str) -> tuple[str, str]:
    return ("dashboard", environment)


def _urgency(risk: kpi_pb2.Risk) -> tuple[int, float, str, str]:
    """The worst first, and of those what has been so the longest."""
    since = risk.since.ToNanoseconds() if risk.HasField("since") else float("inf")
    return -risk.severity, since, risk.subject, risk.reason


def _moment(milestone: kpi_pb2.Milestone) -> tuple[int, str, str]:
    return milestone.time.p50.ToNanoseconds(), milestone.subject, milestone.kind
