"""Lanes that are called back because what they were granted under has changed: a limit was lowered below what is at work, or a system is
opened with something else by now. They drain to a checkpoint, and are granted again as things stand then.

Pure: the limits are handed in. Only lanes are called back; what verifies or publishes goes on, and takes what has changed when it is tried
again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pymigrate.engine.domain.orchestration import RunCore
from pymigrate.engine.domain.run import Task
from pymigrate.engine.domain.run_states import TaskKind
from pymigrate.engine.domain.schedule import Limits

Opening = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _LaneAtWork:
    """A leased copy."""

    core: RunCore
    task: Task

    @property
    def connections(self) -> tuple[str, ...]:
        """Those that it reads from and writes to, each once."""
        dataset = self.core.aggregate.datasets[self.task.phase, self.task.datasets[0]]
        return tuple(dict.fromkeys((dataset.source_connection, dataset.target_connection)))


class Recalls:
    """Knows of each lane at work what its systems were opened with."""

    def __init__(self) -> None:
        self._openings: dict[str, Opening] = {}

    def leased(self, core: RunCore, task: Task, limits: Limits) -> None:
        """A task was handed out under these limits."""
        if task.kind is TaskKind.COPY:
            self._openings[task.id] = _opening(_LaneAtWork(core, task), limits)

    def to_drain(self, cores: Iterable[RunCore], limits: Limits) -> list[str]:
        """The lanes to call back. `cores` are all that there are: what is known of other lanes is forgotten. A lane that another engine
        handed out counts as opened with what holds when it is first seen."""
        lanes = [
            _LaneAtWork(core, task)
            for core in cores
            for task in core.leased()
            if task.kind is TaskKind.COPY and not core.is_cutting_over(task)
        ]
        now = {lane.task.id: _opening(lane, limits) for lane in lanes}
        self._openings = {name: self._openings.get(name, opening) for name, opening in now.items()}
        outdated = [name for name, opening in now.items() if self._openings[name] != opening]
        return list(dict.fromkeys((*outdated, *_beyond(lanes, limits))))


def _opening(lane: _LaneAtWork, limits: Limits) -> Opening:
    if not limits.openings:
        return tuple(b"" for _ in lane.connections)
    return tuple(limits.openings.get((lane.core.run.name, name), b"") for name in lane.connections)


def _beyond(lanes: list[_LaneAtWork], limits: Limits) -> Iterator[str]:
    """Of every pool with more lanes than it may have by now the least urgent ones."""
    pools: dict[tuple[str, ...], list[_LaneAtWork]] = {}
    for lane in lanes:
        for pool, lanes_max in _pools(lane, limits):
            if lanes_max > 0:
                pools.setdefault((*pool, str(lanes_max)), []).append(lane)
    for pool, held in pools.items():
        lanes_max = int(pool[-1])
        if len(held) > lanes_max:
            held.sort(key=lambda lane: (lane.core.urgency(lane.task), lane.core.run.name, lane.task.id))
            yield from (lane.task.id for lane in held[lanes_max:])


def _pools(lane: _LaneAtWork, limits: Limits) -> Iterator[tuple[tuple[str, ...], int]]:
    core, plan = lane.core, lane.core.run.plan
    department = core.aggregate.phases[lane.task.phase].department
    yield ("environment", core.environment), limits.environments.get(core.environment, 0)
    yield ("run", core.run.name), core.run.lanes_max
    yield ("plan", plan), limits.plans.get(plan, 0)
    yield ("department", plan, department), limits.departments.get((plan, department), 0)
    for name in lane.connections:
        yield ("connection", core.environment, name), limits.connections.get((core.environment, name), 0)
