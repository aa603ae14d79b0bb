"""Which run replaces a relation of a target now: one at a time, from its first lane until it is published, has failed or is undone.

A publication is a swap, so that two never mix. But a run that had read before another and published after it would put older rows in the
place of newer ones, with both of them done and verified.
"""

from collections.abc import Iterable, Mapping, Sequence

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run_states import PhaseState

HOLDING = frozenset({PhaseState.STAGING, PhaseState.VERIFYING, PhaseState.PUBLISHING, PhaseState.ROLLING_BACK})
Replaced = Mapping[tuple[str, str], frozenset[str]]
"""What the phases of runs put others' rows away for, by (run, phase)."""


class Writers:
    """Who holds which relation: valid until a task is leased or ends. Found out when it is first asked for."""

    def __init__(self, cores: Sequence[RunCore], replaced: Replaced) -> None:
        self._cores = cores
        self._replaced = replaced
        self._holders: dict[str, list[str]] | None = None

    def ahead_of(self, core: RunCore, phase: str) -> set[str]:
        """The runs that a phase has to wait for before its first lane. What has begun goes on."""
        relations = self._replaced.get((core.run.name, phase))
        if not relations or len(self._cores) < 2 or core.aggregate.phases[phase].state is not PhaseState.READY:
            return set()
        if self._holders is None:
            self._holders = self._held()
        return {run for each in relations for run in self._holders.get(each, ()) if run != core.run.name}

    def _held(self) -> dict[str, list[str]]:
        """The runs that hold each relation: more than one where they began under an engine that let them."""
        held: dict[str, list[str]] = {}
        for core in self._cores:
            for phase in core.aggregate.phases.values():
                if phase.state in HOLDING:
                    for relation in self._replaced.get((core.run.name, phase.id), ()):
                        held.setdefault(relation, []).append(core.run.name)
        return held


def held_up(cores: Iterable[RunCore], replaced: Replaced) -> dict[str, tuple[str, ...]]:
    """The runs with phases that could begin if others did not write what they replace, each with those others."""
    known = list(cores)
    writers = Writers(known, replaced)
    found = {
        core.run.name: {run for phase in core.aggregate.phases for run in writers.ahead_of(core, phase)}
        for core in known
    }
    return {name: tuple(sorted(ahead)) for name, ahead in found.items() if ahead}
