"""What the engine keeps of the figures of runs that have ended, so that whoever starts after them need not count again.

A body is opaque to the store, and of use only to whoever knows its format: where that, the run or its version is another one, it is as
though nothing were kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeptFigures:
    """The figures of a plan's newest run. `version` is that of the run's record that they were counted at."""

    plan: str
    run: str
    version: int
    format: int
    body: bytes


class Figures(Protocol):
    """Figures of runs that have ended: one for each plan."""

    def of_plans(self, plans: Iterable[str]) -> Sequence[KeptFigures]:
        """What is kept of these plans, ordered by plan; nothing of those that have nothing."""
        ...

    def put(self, figures: KeptFigures) -> None:
        """Keeps them in place of what was kept of the plan."""
        ...
