"""What limits the lanes now, and how their systems are opened: read from the declared objects as they stand, so that every limit and
every secret reference can be changed while lanes run.

What was deleted meanwhile counts as the run froze it. What is read is used for half a second, and where reading takes long, for so long
that it takes a fifth of the time at most: lanes report far more often than limits change, and all of them commit through the same store.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.kinds import CONNECTIONS, PHASES, PLANS, children
from pymigrate.engine.application.policies import lanes_max_of, policy_of
from pymigrate.engine.application.replaced_relations import replaced_relations
from pymigrate.engine.application.revisions import opened_now
from pymigrate.engine.application.schedules import calendar_of
from pymigrate.engine.domain.calendar import Calendar
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.domain.schedule import Limits, Place
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2

AGE_MAX_SECONDS = 0.5
PAUSE_SHARE = 4.0  # of the time that reading took
HELD_BACK_SHARE = 0.7


@dataclass(slots=True)
class _Found:
    """Limits while they are gathered."""

    environments: dict[str, int] = field(default_factory=dict)
    plans: dict[str, int] = field(default_factory=dict)
    departments: dict[Place, int] = field(default_factory=dict)
    connections: dict[Place, int] = field(default_factory=dict)
    calendars: dict[Place, Calendar] = field(default_factory=dict)
    latency_factors: dict[Place, float] = field(default_factory=dict)
    rates: dict[Place, Rate] = field(default_factory=dict)
    openings: dict[Place, bytes] = field(default_factory=dict)
    replaced: dict[Place, frozenset[str]] = field(default_factory=dict)
    opened: dict[str, dict[str, connection_pb2.Connection]] = field(default_factory=dict)

    def merged(self, newer: "_Found") -> "_Found":
        """What both gathered; of what both have, what the newer one has."""
        names = (each.name for each in fields(self))
        return _Found(**{name: {**getattr(self, name), **getattr(newer, name)} for name in names})

    def limits(self, lanes_max: int) -> Limits:
        """What was gathered, under the engine's own limit."""
        return Limits(
            lanes_max,
            self.environments,
            self.plans,
            self.departments,
            self.connections,
            self.calendars,
            self.latency_factors,
            self.rates,
            self.openings,
            self.replaced,
        )


class LaneLimits:
    """The limits of everything that runs. `lanes_max` is the engine's own, for all lanes together."""

    def __init__(self, store: Store, board: Board, lanes_max: int, clock: Clock) -> None:
        self._store = store
        self._board = board
        self._lanes_max = lanes_max
        self._clock = clock
        self._limits = Limits(lanes_max)
        self._found = _Found()
        self._revisions: dict[str, run_pb2.PlanRevision] = {}
        self._replaced: dict[str, dict[str, frozenset[str]]] = {}
        self._names: frozenset[str] = frozenset()
        self._good_until = float("-inf")
        self._reading = asyncio.Lock()

    async def current(self) -> Limits:
        """The limits, never older than a run that they are for, and read anew once they are half a second old, by whoever asks first: those
        who ask meanwhile about the same runs go on with what was read before."""
        names = self._active()
        if names == self._names and (self._reading.locked() or self._clock.monotonic() < self._good_until):
            return self._limits
        async with self._reading:
            names, begun = self._active(), self._clock.monotonic()
            if begun >= self._good_until:
                if names:
                    await self._take(names, _Found(), {})
                read = self._clock.monotonic()
                self._good_until = max(begun + AGE_MAX_SECONDS, read + (read - begun) * PAUSE_SHARE)
            elif added := names - self._names:
                # However many runs there are, one more costs no more than one: many begin at once.
                await self._take(added, self._found, self._revisions)
            self._names = names
            return self._limits

    async def _take(self, names: frozenset[str], known: _Found, revised: Mapping[str, run_pb2.PlanRevision]) -> None:
        """Reads what limits these runs, beside what is known of others."""
        revisions = {name: await self._board.revision(name) for name in sorted(names)}
        found = await self._store.read(lambda unit: self._read(unit, revisions))
        # A revision never changes: what it replaces is worked out once.
        active = self._active()
        kept = {name: each for name, each in self._replaced.items() if name in active}
        kept |= {name: replaced_relations(each) for name, each in revisions.items() if name not in kept}
        found.replaced = {(name, phase): each for name in names for phase, each in kept[name].items()}
        self._replaced = kept
        self._revisions = {**revised, **self._revised(found, revisions)}
        self._found = known.merged(found)
        self._limits = self._found.limits(self._lanes_max)

    def opened_now(self, run: str, revision: run_pb2.PlanRevision) -> run_pb2.PlanRevision:
        """A run's revision with its connections opened as they were declared when the limits were read last."""
        return self._revisions.get(run, revision)

    def _active(self) -> frozenset[str]:
        return frozenset(core.run.name for core in self._board.active())

    def _read(self, unit: Unit, revisions: dict[str, run_pb2.PlanRevision]) -> _Found:
        found, declared = _Found(), dict[Place, connection_pb2.Connection]()
        for run, revision in revisions.items():
            environment = environment_of(run)
            if revision.plan.name not in found.plans:
                _read_plan(unit, revision.plan.name, revision, found)
            if environment not in found.environments:
                policy = policy_of(unit, environment)
                _take_policy(environment, policy, lanes_max_of(unit, environment, policy), found)
            for name, frozen in revision.connections.items():
                place = environment, name
                if place not in declared:
                    stored = unit.resources.get(f"{environment}/connections/{name}")
                    declared[place] = CONNECTIONS.held(stored) if stored else frozen
                    _take_connection(place, declared[place], found)
                opened = opened_now(frozen, declared[place])
                if opened is not frozen:
                    found.openings[run, name] = opened.SerializeToString(deterministic=True)
                    found.opened.setdefault(run, {})[name] = opened
        return found

    def _revised(self, found: _Found, revisions: Mapping[str, run_pb2.PlanRevision]) -> dict[str, run_pb2.PlanRevision]:
        """The revisions of runs whose connections are opened otherwise than they froze them: those of before, where nothing is other."""
        revised = {}
        for run, opened in found.opened.items():
            before = self._revisions.get(run)
            if before is None or any(before.connections[name] != each for name, each in opened.items()):
                before = run_pb2.PlanRevision()
                before.CopyFrom(revisions[run])
                for name, each in opened.items():
                    before.connections[name].CopyFrom(each)
            revised[run] = before
        return revised


def limits_of(revision: run_pb2.PlanRevision, environment_lanes_max: int, lanes_max: int) -> Limits:
    """The limits of a plan as a revision declares it, for a rehearsal: nothing else runs beside it."""
    plan, environment = revision.plan.name, environment_of(revision.plan.name)
    found = _Found(plans={plan: revision.plan.lanes_max})
    _take_policy(environment, revision.policy, environment_lanes_max, found)
    _take_schedules(plan, revision.plan, revision.plan.phases, found)
    for name, connection in revision.connections.items():
        _take_connection((environment, name), connection, found)
    return found.limits(lanes_max)


def rate_of(connection: connection_pb2.Connection) -> Rate:
    """How fast all lanes together may read from a connection or write to it."""
    return Rate(connection.bytes_per_second_max, connection.rows_per_second_max)


def is_held_back(rate: Rate, size_bytes: float, rows: float, seconds: float) -> bool:
    """Whether so much took about as long as the rate makes it."""
    return rate.seconds(round(size_bytes), round(rows)) > HELD_BACK_SHARE * seconds


def _take_policy(
    environment: str, policy: environment_pb2.EnvironmentPolicy, own_lanes_max: int, found: _Found
) -> None:
    found.environments[environment] = own_lanes_max or policy.lanes_max
    _take_schedule((environment, ""), policy.schedule, found)


def _take_schedules(plan: str, declared: plan_pb2.Plan, phases: Mapping[str, plan_pb2.Phase], found: _Found) -> None:
    for department, lanes in declared.department_lanes_max.items():
        found.departments[plan, department] = lanes
    for phase, schedule in (("", declared.schedule), *((name, each.schedule) for name, each in phases.items())):
        _take_schedule((plan, phase), schedule, found)


def _take_schedule(place: Place, schedule: plan_pb2.Schedule, found: _Found) -> None:
    if schedule.windows or schedule.blackouts:
        found.calendars[place] = calendar_of(schedule)


def _take_connection(place: Place, connection: connection_pb2.Connection, found: _Found) -> None:
    found.connections[place] = connection.lanes_max
    found.latency_factors[place] = connection.latency_factor_max
    rate = rate_of(connection)
    if rate != FREE:
        found.rates[place] = rate


def _read_plan(unit: Unit, plan: str, revision: run_pb2.PlanRevision, found: _Found) -> None:
    stored = unit.resources.get(plan)
    declared: plan_pb2.Plan = PLANS.held(stored) if stored else revision.plan
    phases = dict(revision.plan.phases)
    if stored:
        for resource in children(unit, "phases", plan):
            phases[last_segment(resource.name)] = PHASES.held(resource)
    found.plans[plan] = declared.lanes_max
    _take_schedules(plan, declared, phases, found)
