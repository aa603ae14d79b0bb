"""What comes before what, as a plain index: order, critical path and slack in one pass, and what a completion makes ready.

`graph` answers people's questions about a plan with networkx. This is for the hot path: building it is linear in phases and
dependencies, and the next ready set costs as much as the completed phase has direct dependents, however large the graph is
(`benchmarks/graph.py` measures both against networkx).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.graph import cycle_problem, dangling, find_cycle

SLACK_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Timing:
    """When a phase could start at the earliest, and how long it may be late without delaying the whole. In the weights' unit."""

    start: float
    finish: float
    slack: float


class Criticality:
    """The longest path through a plan, in the weights' unit. `ranks` are the weights from a phase's start to the plan's end along its
    heaviest path: what lies on the critical path is highest."""

    def __init__(
        self, precedence: "Precedence", costs: Sequence[float], starts: Sequence[float], tails: Sequence[float]
    ) -> None:
        self._precedence = precedence
        self._costs = costs
        self._starts = starts
        self._tails = tails
        self.makespan = max(map(add, starts, tails), default=0.0)
        self.path = precedence.heaviest(costs, starts, tails, self.makespan)

    def timing(self, phase: str) -> Timing:
        """When it could start and finish, and its slack."""
        number = self._precedence.number(phase)
        start = self._starts[number]
        return Timing(start, start + self._costs[number], self.makespan - start - self._tails[number])

    def rank(self, phase: str) -> float:
        """The weight from its start to the plan's end."""
        return self._tails[self._precedence.number(phase)]

    @property
    def slacks(self) -> dict[str, float]:
        """The slack of every phase."""
        slacks = [self.makespan - start - tail for start, tail in zip(self._starts, self._tails, strict=True)]
        return dict(zip(self._precedence.names, slacks, strict=True))


class Precedence:
    """An index over phases and their dependencies. Raises InvalidDefinition for dangling dependencies and for cycles, in full."""

    def __init__(self, dependencies: Mapping[str, Sequence[str]]) -> None:
        self.names = list(dependencies)
        self._numbers = dict(zip(self.names, range(len(self.names)), strict=True))
        try:
            self._needs = [[*{self._numbers[name] for name in wanted}] for wanted in dependencies.values()]
        except KeyError as error:
            raise InvalidDefinition(dangling(dependencies)) from error
        self._dependents: list[list[int]] = [[] for _ in self.names]
        for number, needs in enumerate(self._needs):
            for need in needs:
                self._dependents[need].append(number)
        self._levels = self._sort()
        self._order = [number for level in self._levels for number in level]
        if len(self._order) < len(self.names):
            placed = set(self._order)
            stuck = {name for number, name in enumerate(self.names) if number not in placed}
            rest = {name: [need for need in dependencies[name] if need in stuck] for name in sorted(stuck)}
            raise InvalidDefinition((cycle_problem(find_cycle(rest)),))

    def _sort(self) -> list[list[int]]:
        missing = [*map(len, self._needs)]
        level = [number for number, count in enumerate(missing) if not count]
        levels: list[list[int]] = []
        dependents = self._dependents
        while level:
            levels.append(level)
            following: list[int] = []
            for number in level:
                for waiting in dependents[number]:
                    missing[waiting] -= 1
                    if not missing[waiting]:
                        following.append(waiting)
            level = following
        return levels

    def number(self, phase: str) -> int:
        """The place of a phase in `names`."""
        return self._numbers[phase]

    @property
    def order(self) -> list[str]:
        """Every phase after those that it needs."""
        return [self.names[number] for number in self._order]

    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The phases by level, each ordered by name: a level needs only those before it."""
        names = self.names
        return tuple(tuple(sorted([names[number] for number in level])) for level in self._levels)

    def needed(self) -> dict[str, int]:
        """How many phases each one needs directly."""
        return dict(zip(self.names, map(len, self._needs), strict=True))

    def dependents(self, phase: str) -> list[str]:
        """The phases that need it directly."""
        return [self.names[number] for number in self._dependents[self._numbers[phase]]]

    def descendants(self, phase: str) -> list[str]:
        """Every phase that needs it, directly or not, each after those of them that it needs."""
        found = {self._numbers[phase]}
        reached = [self._numbers[phase]]
        for number in reached:
            fresh = [waiting for waiting in self._dependents[number] if waiting not in found]
            found.update(fresh)
            reached.extend(dict.fromkeys(fresh))
        found.discard(self._numbers[phase])
        return [self.names[number] for number in self._order if number in found] if found else []

    def criticality(self, weights: Mapping[str, float]) -> Criticality:
        """Earliest start and finish, slack, and the critical path, with these weights (0 for a phase that has none)."""
        costs = [weights.get(name, 0.0) for name in self.names]
        starts, tails = [0.0] * len(costs), costs[:]
        dependents = self._dependents
        for number in reversed(self._order):
            if waiting := dependents[number]:
                tails[number] += max([tails[each] for each in waiting])
        for number in self._order:
            if needs := self._needs[number]:
                starts[number] = max([starts[each] + costs[each] for each in needs])
        return Criticality(self, costs, starts, tails)

    def heaviest(
        self, costs: Sequence[float], starts: Sequence[float], tails: Sequence[float], makespan: float
    ) -> tuple[str, ...]:
        """The phases of the path without slack, in order; of several the one that comes first by name."""
        path: list[str] = []
        ways: Iterable[int] = (number for number in self._order if not self._needs[number])
        reached = 0.0
        while ways:
            fitting = [
                number
                for number in ways
                if abs(starts[number] - reached) <= SLACK_TOLERANCE * max(makespan, 1.0)
                and abs(starts[number] + tails[number] - makespan) <= SLACK_TOLERANCE * max(makespan, 1.0)
            ]
            if not fitting:
                break
            chosen = min(fitting, key=lambda number: self.names[number])
            path.append(self.names[chosen])
            reached = starts[chosen] + costs[chosen]
            ways = self._dependents[chosen]
        return tuple(path)


def unordered(dependencies: Mapping[str, Sequence[str]]) -> tuple[Problem, ...]:
    """What keeps phases from being put in order, none of whose dependencies is dangling; much faster than a search for cycles where
    nothing does."""
    try:
        Precedence(dependencies)
    except InvalidDefinition as error:
        return error.problems
    return ()


class ReadySet:
    """What each phase still waits for, counted. A phase is free once everything that it needs is complete."""

    def __init__(self, precedence: Precedence, complete: Iterable[str] = ()) -> None:
        self._precedence = precedence
        self._missing = precedence.needed()
        self._complete: set[str] = set()
        for name in complete:
            self.complete(name)

    def is_free(self, phase: str) -> bool:
        """Whether everything that the phase needs is complete."""
        return not self._missing[phase]

    def complete(self, phase: str) -> list[str]:
        """Notes a completion; the phases that it set free. The second time it changes nothing."""
        if phase in self._complete:
            return []
        self._complete.add(phase)
        freed: list[str] = []
        for waiting in self._precedence.dependents(phase):
            self._missing[waiting] -= 1
            if not self._missing[waiting]:
                freed.append(waiting)
        return freed

    def reopen(self, phase: str) -> None:
        """Takes a completion back: those that need the phase wait for it again."""
        if phase in self._complete:
            self._complete.discard(phase)
            for waiting in self._precedence.dependents(phase):
                self._missing[waiting] += 1
