"""A source that keeps what changes, at the end of a route in virtual time."""

from collections.abc import Callable, Iterator, Sequence

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.capture import Changed, GrowingColumn, Start
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.testing.memory import MemoryDatabase
from pymigrate.engine.testing.memory_capture import MemoryCapture
from pymigrate.engine.testing.simulated_route import Result, Route


class SimulatedCapture(MemoryCapture):
    """See the port. The answer may be lost though the call took effect."""

    def __init__(self, database: MemoryDatabase, route: Route, column: GrowingColumn | None) -> None:
        super().__init__(database, column)
        self.route = route

    def problems(self, relation: SourceRelation, key: Sequence[str]) -> Sequence[Problem]:
        """Takes the route."""
        return self._reach(lambda: super(SimulatedCapture, self).problems(relation, key))

    def start(self, relation: SourceRelation, name: str, heed: Callable[[], None]) -> Start:
        """Takes the route."""
        return self._reach(lambda: super(SimulatedCapture, self).start(relation, name, heed))

    def present(self) -> Position:
        """Takes the route."""
        return self._reach(super().present)

    def changes(
        self,
        relation: SourceRelation,
        columns: Sequence[ColumnInfo],
        key: Sequence[str],
        name: str,
        after: Position,
        until: Position,
    ) -> Iterator[Changed]:
        """Takes the route for each stretch."""
        for changed in super().changes(relation, columns, key, name, after, until):
            self.route.read()
            yield changed

    def confirm(self, name: str, position: Position) -> None:
        """Takes the route."""
        self._reach(lambda: super(SimulatedCapture, self).confirm(name, position))

    def rows(self, relation: SourceRelation) -> int:
        """Takes the route."""
        return self._reach(lambda: super(SimulatedCapture, self).rows(relation))

    def block(self, relation: SourceRelation, name: str) -> None:
        """Takes the route, and what the source holds then is noted."""

        def keep_out() -> None:
            super(SimulatedCapture, self).block(relation, name)
            content = tuple(self._database.read(relation.relation))
            self.route.systems.cutovers[name] = (self.route.system, relation.relation, content)
            self._happened(f"block {name}")

        self._reach(keep_out)

    def open(self, relation: SourceRelation, name: str) -> None:
        """Takes the route."""
        self._reach(lambda: super(SimulatedCapture, self).open(relation, name))
        self._happened(f"open {name}")

    def stop(self, name: str) -> None:
        """Takes the route."""
        self._reach(lambda: super(SimulatedCapture, self).stop(name))
        self._happened(f"stop {name}")

    def _reach(self, effect: Callable[[], Result]) -> Result:
        self.route.read()
        done = effect()
        self.route.read()
        return done

    def _happened(self, what: str) -> None:
        self.route.systems.ledger.happened(f"{what} {self.route.host}")
