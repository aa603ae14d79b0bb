"""Somebody who works with the sources of online phases all the while: rows come, change and go, until they are kept out."""

import random
from collections.abc import Sequence

from pymigrate.engine.testing.memory import KeptOut
from pymigrate.engine.testing.simulated_route import Rows, SimulatedSystems
from tests.simulation.plans import LATE_MAX, DrawnPlan, Place

ROWS_AT_ONCE_MAX = 3
LATE = 0.2
PAUSE_SECONDS = (0.5, 5.0)


class Application:
    """Writes into one source at a time. `kept_out` counts its writes that were refused."""

    def __init__(self, rng: random.Random, systems: SimulatedSystems, plan: DrawnPlan) -> None:
        self._rng = rng
        self._systems = systems
        self._places: Sequence[Place] = sorted(plan.followed)
        self._plan = plan
        self._versions = {
            place: max([0, *(int(str(row[2])) for row in self._content(plan.sources[place]))]) for place in self._places
        }
        self.writes = 0
        self.kept_out = 0

    @property
    def has_work(self) -> bool:
        """Whether any phase is online."""
        return bool(self._places)

    def pause_seconds(self) -> float:
        """Until the next write."""
        return self._rng.uniform(*PAUSE_SECONDS)

    def write(self) -> None:
        """One transaction. What a column tells has versions that grow, a few of them late; only what a log tells goes."""
        rng, place = self._rng, self._rng.choice(self._places)
        system, relation = self._plan.sources[place]
        known = [int(str(row[0])) for row in self._content((system, relation))]
        self.writes += 1
        rows = []
        for _ in range(rng.randint(1, ROWS_AT_ONCE_MAX)):
            number = rng.choice(known) if known and rng.random() < 0.6 else rng.randint(0, 2 * len(known) + 9)
            self._versions[place] += 1
            late = rng.randint(1, LATE_MAX) if rng.random() < LATE else 0
            rows.append((number, f"{relation}~{self.writes}", self._versions[place] - late))
        gone = (
            [(rng.choice(known),)] if known and self._plan.followed[place] == "logical" and rng.random() < 0.4 else []
        )
        if rng.random() < 0.02 and gone:
            gone = [(number,) for number in known]
        try:
            self._systems.database(system).write(relation, rows, gone)
        except KeptOut:
            self.kept_out += 1

    def _content(self, place: Place) -> Rows:
        return tuple(self._systems.database(place[0]).read(place[1]))
