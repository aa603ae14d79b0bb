"""What a store in memory keeps of the figures of runs that have ended."""

from collections.abc import Iterable, Sequence

from pymigrate.engine.ports.figures import KeptFigures
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.store_tables import Tables


class MemoryFigures:
    """Figures, by plan."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._figures = tables.figures
        self._journal = journal

    def of_plans(self, plans: Iterable[str]) -> Sequence[KeptFigures]:
        """What is kept of these plans."""
        return [self._figures[plan] for plan in sorted(set(plans)) if plan in self._figures]

    def put(self, figures: KeptFigures) -> None:
        """Keeps them in place of what was kept of the plan."""
        self._journal.put(self._figures, figures.plan, figures)
