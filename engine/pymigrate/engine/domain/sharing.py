"""Lanes that share systems: each goes on at the speed that the lanes beside it leave, from the moment that their number changes.

Processor sharing in virtual time. Lanes with the same source and target are as fast as one another, so that a route needs one clock for
all of them: it counts the work that each has done since, and a lane ends when the clock has reached its work. A change of speed costs
as much as there are routes, however many lanes they have. A lane counts from its lease to its end on its source and on its target. Among
all work count the lanes and every other task under way, but for steps outside databases. Such a task goes on as a lane does
whose systems hold it to no rate: what is scarce is shared by all that need it.
"""

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.rates import FREE, Rate
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.schedule import Place

Slowdown = Callable[[Place, int, Place, int, int], float]
BORDER_TOLERANCE = 1e-6
PACE_MIN = 1e-12


@dataclass(frozen=True, slots=True)
class CopyShape:
    """What a lane copies in all, and how long one chunk of it takes while nothing else uses its systems. `fixed_seconds` go into
    opening and closing each time that a host takes the lane, and are not slowed down."""

    chunks: int
    rows: int
    bytes: int
    chunk_seconds: float
    fixed_seconds: float = 0.0


IN_ONE_PIECE = CopyShape(1, 0, 0, 0.0)
"""What is no copy: how long it takes is known of each."""


@dataclass(slots=True, eq=False)
class System:
    """One connection: the lanes that read it, those that write to it, and the most that used it at once."""

    place: Place
    reading: int = 0
    writing: int = 0
    lanes: int = 0
    lanes_peak: int = 0


@dataclass(slots=True, eq=False)
class Copying:
    """A lane under way. `chunks` are told, at `stop` it tells again or ends; chunk k is done when the route's clock reads
    `base + k * unit`."""

    core: RunCore
    task: Task
    shape: CopyShape
    route: "Route"
    chunks: int
    stop: int = 0
    base: float = 0.0
    unit: float = 0.0
    version: int = 0
    is_open: bool = False
    is_draining: bool = False


@dataclass(slots=True, eq=False)
class Route:
    """Lanes and other tasks from one source to one target; where a rate holds, each lane has its own. `clock` is the work that each of
    them has done at `moment`, in seconds of one that nothing disturbs, or in chunks where a rate holds. `is_held`: the chunk is waited
    for before another may be read."""

    source: System
    target: System
    systems: tuple[System, ...]
    shape: CopyShape | None = None
    clock: float = 0.0
    moment: float = 0.0
    speed: float = 1.0
    lanes: int = 0
    version: int = 0
    is_touched: bool = False
    is_held: bool = True
    stops: list[tuple[float, int, int, Copying]] = field(default_factory=list)

    def read(self, now: float) -> None:
        """Takes the clock forward to now."""
        if now > self.moment:
            self.clock += (now - self.moment) * self.speed
            self.moment = now

    def next_seconds(self) -> float | None:
        """When the first of its lanes stops at this speed; None while none is at work. The clock has been read."""
        stops = self.stops
        while stops and stops[0][2] != stops[0][3].version:
            heapq.heappop(stops)
        if not stops:
            return None
        return self.moment + max(0.0, stops[0][0] - self.clock) / self.speed

    def stopped(self) -> list[Copying]:
        """The lanes that stop now, at the moment that `next_seconds` told."""
        stops, found = self.stops, []
        self.clock = max(self.clock, stops[0][0])
        while stops and stops[0][0] <= self.clock:
            _, _, version, copying = heapq.heappop(stops)
            if version == copying.version:
                found.append(copying)
        return found


class Sharing:
    """All lanes and tasks under way, and how fast the lanes are. After changes `settle` says which routes have another next moment."""

    def __init__(self, slowdown: Slowdown, rates: Mapping[Place, Rate], report_seconds: float | None) -> None:
        self._slowdown = slowdown
        self._rates = rates
        self._report_seconds = report_seconds
        self._order = 0
        self._works = 0
        self._works_settled = 0
        self._are_lanes_changed = False
        self._is_any_touched = False
        self._routes: dict[tuple[Place, Place], Route] = {}
        self._at_work: dict[int, Route] = {}
        self.systems: dict[Place, System] = {}

    def begin(self, core: RunCore, task: Task, shape: CopyShape, source: Place, target: Place, chunks: int) -> Copying:
        """A lane was leased, with so many chunks done. It counts from now on; `go` sets it to work."""
        route = self._route(source, target, shape)
        self._count(route)
        self._are_lanes_changed = True
        route.source.reading += 1
        route.target.writing += 1
        for system in route.systems:
            system.lanes += 1
            system.lanes_peak = max(system.lanes_peak, system.lanes)
        return Copying(core, task, shape, route, chunks)

    def go(self, copying: Copying, now: float) -> None:
        """A lane has opened its systems and copies."""
        route, shape = copying.route, copying.shape
        route.read(now)
        copying.is_open = True
        copying.unit = shape.chunk_seconds if route.shape is None else 1.0
        copying.base = route.clock - copying.chunks * copying.unit
        self.plan(copying)

    def plan(self, copying: Copying) -> None:
        """Plans where the lane stops next: at its end, or where it tells how far it is. The clock of its route has been read."""
        route, left = copying.route, max(copying.shape.chunks - copying.chunks, 0)
        if route.shape is not None:
            # A lane waits before it reads, so that its last chunk holds up nobody.
            route.is_held = left > 1
            left = left - 1 if route.is_held else left
        if self._report_seconds is not None and copying.unit > 0:
            chunk_seconds = copying.unit / route.speed
            left = min(left, max(1, int(self._report_seconds / chunk_seconds)))
        self._stop_at(copying, copying.chunks + left)

    def drain(self, copying: Copying, now: float) -> None:
        """The lane stops at the end of the chunk that it is at; one that is still opening its systems at once."""
        if copying.is_draining:
            return
        copying.is_draining = True
        if not copying.is_open:
            self.go(copying, now)
            self._stop_at(copying, copying.chunks)
            return
        copying.route.read(now)
        if copying.unit > 0:
            done = math.ceil((copying.route.clock - copying.base) / copying.unit - BORDER_TOLERANCE)
            self._stop_at(copying, max(copying.chunks, min(done, copying.stop)))

    def end(self, copying: Copying) -> None:
        """A lane has ended, or was given back."""
        route = copying.route
        self.end_work(copying)
        self._are_lanes_changed = True
        route.source.reading -= 1
        route.target.writing -= 1
        for system in route.systems:
            system.lanes -= 1

    def work(self, core: RunCore, task: Task, seconds: float, source: Place, target: Place, now: float) -> Copying:
        """A task that is no copy begins, which takes so long while nothing else is under way. It is no lane of its systems."""
        route = self._free_route(source, target)
        self._count(route)
        route.read(now)
        working = Copying(core, task, IN_ONE_PIECE, route, 0, base=route.clock, unit=seconds, is_open=True)
        self._stop_at(working, IN_ONE_PIECE.chunks)
        return working

    def end_work(self, working: Copying) -> None:
        """A task has ended, or was given back."""
        route = working.route
        route.lanes -= 1
        self.touch(route)
        if not route.lanes:
            del self._at_work[id(route)]
            route.version += 1
        working.version += 1
        self._works -= 1

    def settle(self, now: float) -> list[Route]:
        """The routes whose next moment is another one now, as lanes were added or ended or go on at another speed."""
        works = self._works
        are_counts_changed = self._are_lanes_changed or works != self._works_settled
        if not are_counts_changed and not self._is_any_touched:
            return []
        self._are_lanes_changed = self._is_any_touched = False
        self._works_settled = works
        changed, slowdown_of = [], self._slowdown
        for route in self._at_work.values():
            if not are_counts_changed and not route.is_touched:
                continue  # one took another's place: everything else is as fast as it was
            source, target = route.source, route.target
            slowdown = slowdown_of(source.place, source.reading, target.place, target.writing, works)
            if route.shape is not None:
                speed = self._held_speed(route, route.shape, slowdown)
            else:
                speed = 1.0 / slowdown if slowdown > PACE_MIN else 1.0 / PACE_MIN
            if route.is_touched or speed != route.speed:
                route.read(now)
                route.speed = speed
                route.is_touched = False
                route.version += 1
                changed.append(route)
        return changed

    def touch(self, route: Route) -> None:
        """The next moment of a route has passed."""
        route.is_touched = self._is_any_touched = True

    def _count(self, route: Route) -> None:
        """One more is under way on a route."""
        route.lanes += 1
        self._at_work[id(route)] = route
        self._works += 1

    def _stop_at(self, copying: Copying, chunks: int) -> None:
        copying.stop = chunks
        copying.version += 1
        self._order += 1
        clock = copying.base + chunks * copying.unit
        heapq.heappush(copying.route.stops, (clock, self._order, copying.version, copying))
        self.touch(copying.route)

    def _held_speed(self, route: Route, shape: CopyShape, slowdown: float) -> float:
        """Chunks a second of a lane whose systems hold it to a rate."""
        rate = FREE
        for system in route.systems if route.is_held else ():
            rate = rate.tighter(self._rates.get(system.place, FREE).shared(system.lanes))
        slowest = rate.seconds(shape.bytes, shape.rows) / max(shape.chunks, 1)
        return 1.0 / max(shape.chunk_seconds * slowdown, slowest, PACE_MIN)

    def _route(self, source: Place, target: Place, shape: CopyShape) -> Route:
        if source in self._rates or target in self._rates:
            return self._new_route(source, target, shape)
        return self._free_route(source, target)

    def _free_route(self, source: Place, target: Place) -> Route:
        """That of all lanes and tasks from one to the other that no rate holds."""
        route = self._routes.get((source, target))
        if route is None:
            route = self._routes[source, target] = self._new_route(source, target, None)
        return route

    def _new_route(self, source: Place, target: Place, shape: CopyShape | None) -> Route:
        reading, writing = self._system(source), self._system(target)
        systems = (reading,) if reading is writing else (reading, writing)
        return Route(reading, writing, systems, shape)

    def _system(self, place: Place) -> System:
        if place not in self.systems:
            self.systems[place] = System(place)
        return self.systems[place]
