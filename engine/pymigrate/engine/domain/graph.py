"""The graph of a plan's phases: cycles and dangling references, the order, and who depends on whom.

networkx is imported by what asks it: it takes as long as half of a command at the command line, most of which have no question for it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest

if TYPE_CHECKING:
    import networkx as nx


def dangling(dependencies: Mapping[str, Sequence[str]]) -> tuple[Problem, ...]:
    """A problem for each dependency on a phase that is not there, at `phases.<phase>.dependencies`."""
    return tuple(
        Problem(f"phases.{phase}.dependencies", f"there is no phase `{name}` in this plan{nearest(name, dependencies)}")
        for phase, names in sorted(dependencies.items())
        for name in names
        if name not in dependencies
    )


def find_cycle(dependencies: Mapping[str, Sequence[str]], through: str = "") -> tuple[str, ...]:
    """The phases of a cycle in the order of their dependencies, the first one again at the end; empty without one.

    It starts at `through` where that lies on it, else at the smallest name, so that the same plan always reads the same.
    """
    if _has_order(dependencies):
        return ()
    import networkx as nx

    graph = _graph(dependencies)
    try:
        edges = nx.find_cycle(graph, source=through if through in graph else None)
    except nx.NetworkXNoCycle:
        try:
            edges = nx.find_cycle(graph)
        except nx.NetworkXNoCycle:
            return ()
    ring = [edge[0] for edge in edges]
    start = ring.index(through) if through in ring else ring.index(min(ring))
    ring = ring[start:] + ring[:start]
    return (*ring, ring[0])


def _has_order(dependencies: Mapping[str, Sequence[str]]) -> bool:
    """Whether there is no cycle, in a time that grows with the dependencies alone: to look for one takes their square along a chain."""
    open_needs = {phase: sum(name in dependencies for name in names) for phase, names in dependencies.items()}
    needed_by: dict[str, list[str]] = {}
    for phase, names in dependencies.items():
        for name in names:
            needed_by.setdefault(name, []).append(phase)
    ready = [phase for phase, count in open_needs.items() if not count]
    for phase in ready:  # grows as it goes
        for other in needed_by.get(phase, ()):
            open_needs[other] -= 1
            if not open_needs[other]:
                ready.append(other)
    return len(ready) == len(dependencies)


def spell(cycle: Sequence[str]) -> str:
    """`sales → finance → sales`."""
    return " → ".join(cycle)


def cycle_problem(cycle: Sequence[str]) -> Problem:
    """The problem that a cycle is, at the dependencies of its first phase."""
    return Problem(
        f"phases.{cycle[0]}.dependencies",
        f"phases depend on one another in a circle: {spell(cycle)}; drop one of these dependencies",
    )


def levels(dependencies: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The phases by level: each level needs only those before it. The graph must have no cycle and nothing dangling."""
    import networkx as nx

    graph = _graph(dependencies).reverse(copy=False)
    return tuple(tuple(sorted(level)) for level in nx.topological_generations(graph))


def _graph(dependencies: Mapping[str, Sequence[str]]) -> "nx.DiGraph[str]":
    """An edge leads from a phase to each phase that it depends on; dangling ones are left out."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted(dependencies))
    graph.add_edges_from(
        (phase, name) for phase, names in sorted(dependencies.items()) for name in names if name in dependencies
    )
    return graph
