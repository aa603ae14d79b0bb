"""How many lanes are at work over several runs, by what is limited: in all, by plan, environment, department and system.

The runs count their own, so that asking costs as much as there are runs, however many lanes they have."""

from collections.abc import Sequence

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run_layout import ALL, connection_pool, department_pool, live_pool


class Usage:
    """The lanes at work now."""

    def __init__(self, cores: Sequence[RunCore]) -> None:
        self._cores = cores

    def of_all(self) -> int:
        """In all."""
        lanes = 0
        for core in self._cores:
            lanes += core.lanes_at_work[ALL]
        return lanes

    def of_plan(self, plan: str) -> int:
        """Of a plan, by resource name."""
        return sum([core.lanes_at_work[ALL] for core in self._cores if core.run.plan == plan])

    def of_environment(self, environment: str) -> int:
        """In an environment, by resource name."""
        return sum([core.lanes_at_work[ALL] for core in self._cores if core.environment == environment])

    def of_department(self, place: tuple[str, str]) -> int:
        """Of a (plan, department)."""
        pool = department_pool(place[1])
        return sum([core.lanes_at_work[pool] for core in self._cores if core.run.plan == place[0]])

    def of_connection(self, place: tuple[str, str]) -> int:
        """That read or write an (environment, connection)."""
        pool = connection_pool(place[1])
        return sum([core.lanes_at_work[pool] for core in self._cores if core.environment == place[0]])

    def of_live(self, place: tuple[str, str]) -> int:
        """That read an (environment, connection) whose system is in use."""
        pool = live_pool(place[1])
        return sum([core.lanes_at_work[pool] for core in self._cores if core.environment == place[0]])
