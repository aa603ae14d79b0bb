"""What must hold of the sources of online phases: what they held when they were blocked is published, and nothing is left in them."""

from collections.abc import Collection, Iterable, Iterator

from pymigrate.engine.application.works import staging_id
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.engine.domain.run_states import PhaseState
from pymigrate.engine.testing.simulated_route import Rows, SimulatedSystems
from tests.simulation.plans import DrawnPlan, Place


class Cutovers:
    """Looks at them. `done` are the states of phases whose data stands in its place."""

    def __init__(self, plan: DrawnPlan, systems: SimulatedSystems, done: Collection[str]) -> None:
        self._plan = plan
        self._systems = systems
        self._done = done

    def contents(self, place: Place) -> Iterable[Rows]:
        """What a source held each time when writes to it were blocked for the dataset."""
        mark = f"pymigrate_{place[0]}_{place[1]}_"
        return [content for name, (_, _, content) in self._systems.cutovers.items() if name.startswith(mark)]

    def left(self, aggregate: RunAggregate, forgiven: Collection[str]) -> Iterator[str]:
        """No slot is left, and writes are kept out of the sources of what is published alone, where that is wished. `forgiven` are the
        stagings that a person is to clean up after, as the run says."""
        kept, blocked = set(forgiven), set(forgiven)
        for place in sorted(self._plan.followed):
            phase = aggregate.phases[place[0]]
            own = staging_id(aggregate.run.name, *place, phase.attempt)
            if phase.state is PhaseState.ROLLBACK_BLOCKED:
                kept.add(own)
                blocked.add(own)
            elif str(phase.state) in self._done and not self._is_opened(place):
                if own not in blocked and not self._is_blocked(place, own):
                    yield f"{place} is {phase.state}, and writes to its source are let in"
                blocked.add(own)
        for system, database in sorted(self._systems.databases.items()):
            for name in sorted(database.slots):
                if _staging_of(name) not in kept:
                    yield f"{system} still keeps changes for {name}"
            for relation, names in sorted(database.blocks.items()):
                for name in sorted(names):
                    if _staging_of(name) not in blocked:
                        yield f"{name} still keeps writes out of {relation}"

    def _is_opened(self, place: Place) -> bool:
        return bool(self._plan.phases[place[0]].datasets[place[1]].catch_up.opens_source)

    def _is_blocked(self, place: Place, staging: str) -> bool:
        system, relation = self._plan.sources[place]
        return any(_staging_of(name) == staging for name in self._systems.database(system).blocks.get(relation, ()))


def _staging_of(name: str) -> str:
    return name.rpartition("_")[2]
