"""Who bears the outages of which phases.

An outage is borne by the departments whose systems or data are read, and by those that need them. Writing that is blocked while reading
goes on is borne by the former alone: who is downstream goes on reading.
"""

from collections.abc import Iterable, Mapping

from pymigrate.engine.domain.business import Move
from pymigrate.engine.domain.outages import Costs, Outage, Outages, PhaseTimes, add_cost, cost
from pymigrate.engine.domain.reach import Effect, Hit, Reach, gravest, reach
from pymigrate.engine.domain.systems import Landscape, Node


class Bearing:
    """Which departments bear the outages of which phases, and what that costs them, draw by draw."""

    def __init__(self, moves: Mapping[str, Move], times: Mapping[str, PhaseTimes], landscape: Landscape) -> None:
        self.moves = {name: moves[name] for name in sorted(times)}
        self.times = times
        self.landscape = landscape
        self.draws = max((len(each.ends) for each in times.values()), default=0)
        self._reaches: dict[tuple[str, frozenset[str], Effect, frozenset[str]], Reach] = {}
        self.reach = {name: self._reach(move) for name, move in self.moves.items()}
        self.outages = Outages(times, {name: id(found) for name, found in self.reach.items()}, self.draws)
        self._hit_by: dict[str, list[str]] = {}
        self._blocked_by: dict[str, list[str]] = {}
        self._down_by: dict[Node, list[str]] = {}
        self._hits: dict[str, list[Hit]] = {}
        for name, found in self.reach.items():
            for hit in found.hits:
                self._hits.setdefault(hit.department, []).append(hit)
                if hit.is_down:
                    self._down_by.setdefault((hit.department, hit.system), []).append(name)
            for department in found.departments:
                self._hit_by.setdefault(department, []).append(name)
            for department in found.direct:
                self._blocked_by.setdefault(department, []).append(name)

    @property
    def departments(self) -> list[str]:
        """Every department that is hit, ordered by name."""
        return sorted(self._hit_by)

    def hit_by(self, department: str) -> list[str]:
        """The phases that hit a department, ordered by name."""
        return self._hit_by[department]

    def hits(self, department: str) -> tuple[Hit, ...]:
        """The department's systems that are hit, each as by the phase that hits it most gravely."""
        return gravest(self._hits.get(department, ()))

    def system_downtime(self, hit: Hit) -> Outage:
        """While a system is down, or without what it needs."""
        return self.outages.of(self._down_by.get((hit.department, hit.system), ()))

    def downtime(self, department: str) -> Outage:
        """While the department is without its systems or those that it needs."""
        return self.outages.of(self._hit_by[department])

    def write_downtime(self, department: str) -> Outage:
        """While it is without them or can't write to its own."""
        return self.outages.of(self._hit_by[department], self._blocked_by.get(department, ()))

    def department_cost(self, department: str) -> list[float]:
        """What the department bears, in its currency."""
        found = self.landscape.department(department)
        downtimes, blocked = self.downtime(department).totals, self.write_downtime(department).totals
        return cost(found.hour_cost, found.hour_cost * found.read_only_share, downtimes, blocked)

    def phase_costs(self, phase: str) -> Costs:
        """What a phase alone costs the departments that it hits."""
        found, times = self.reach[phase], self.times[phase]
        hours: dict[
            str, tuple[float, float]
        ] = {}  # what an hour costs in which systems are down, and in which they are only read
        for name in sorted(found.departments):
            department = self.landscape.department(name)
            down, read_only = hours.get(department.currency, (0.0, 0.0))
            share = department.read_only_share if name in found.direct else 0.0
            hours[department.currency] = (down + department.hour_cost, read_only + department.hour_cost * share)
        return {
            currency: cost(down, read_only, times.downtimes, times.write_downtimes)
            for currency, (down, read_only) in hours.items()
            if currency
        }

    def costs(self) -> Costs:
        """What all departments bear together."""
        costs: Costs = {}
        for name in self.departments:
            add_cost(costs, self.landscape.department(name).currency, self.department_cost(name))
        return costs

    def blocked_seconds(self) -> list[float]:
        """How long departments are without their systems or can't write to them, all of them together."""
        totals = [self.write_downtime(name).totals for name in self.departments]
        return [sum(each) for each in zip(*totals, strict=True)]

    def users(self, departments: Iterable[str]) -> int:
        """The people of departments."""
        return sum(self.landscape.department(name).users for name in departments)

    def _reach(self, move: Move) -> Reach:
        key = (move.department, move.sources, move.effect, move.loaded)
        if key not in self._reaches:
            self._reaches[key] = reach(self.landscape, move.department, move.sources, move.effect, move.loaded)
        return self._reaches[key]
