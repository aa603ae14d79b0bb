"""How many lanes are at work over several runs, by what is limited: in all, by plan, environment, department and system.

The runs count their own, and what is asked for again is added up once: the cost is that of the runs, however many lanes they have and
however many of them are asked about."""

from collections import Counter
from collections.abc import Sequence

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run_layout import ALL, connection_pool, department_pool, live_pool


class Usage:
    """The lanes at work when it was made: valid until one of them begins or ends."""

    def __init__(self, cores: Sequence[RunCore]) -> None:
        self._cores = cores
        self._all = sum([core.lanes_at_work[ALL] for core in cores])
        self._sums: dict[tuple[str, bool], Counter[str]] = {}

    def of_all(self) -> int:
        """In all."""
        return self._all

    def of_plan(self, plan: str) -> int:
        """Of a plan, by resource name."""
        return self._sum(ALL, is_by_plan=True)[plan]

    def of_environment(self, environment: str) -> int:
        """In an environment, by resource name."""
        return self._sum(ALL, is_by_plan=False)[environment]

    def of_department(self, place: tuple[str, str]) -> int:
        """Of a (plan, department)."""
        return self._sum(department_pool(place[1]), is_by_plan=True)[place[0]]

    def of_connection(self, place: tuple[str, str]) -> int:
        """That read or write an (environment, connection)."""
        return self._sum(connection_pool(place[1]), is_by_plan=False)[place[0]]

    def of_live(self, place: tuple[str, str]) -> int:
        """That read an (environment, connection) whose system is in use."""
        return self._sum(live_pool(place[1]), is_by_plan=False)[place[0]]

    def _sum(self, pool: str, *, is_by_plan: bool) -> Counter[str]:
        """The lanes of a pool by plan or by environment."""
        found = self._sums.get((pool, is_by_plan))
        if found is None:
            found = self._sums[pool, is_by_plan] = Counter()
            for core in self._cores:
                if core.lanes_at_work:
                    found[core.run.plan if is_by_plan else core.environment] += core.lanes_at_work[pool]
        return found
