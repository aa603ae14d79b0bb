"""The graph of a plan: from its definitions to a validated order with critical path and slack, and the next ready set.

Reference: networkx, which builds the same graph and takes `topological_generations` of it, without critical path and slack.
"""

import random
import statistics
import time
from collections.abc import Mapping, Sequence

import networkx as nx
from _figures import Report, arguments, interleaved, percentile

from pymigrate.engine.domain.precedence import Precedence, ReadySet

SMALL = (1_000, 5_000, 0.005)
LARGE = (100_000, 300_000, 1.0)
READY_SECONDS_MAX = 50e-6
MILLISECONDS = 1e3
MICROSECONDS = 1e6


def plan(phases: int, edges: int, seed: int = 1) -> dict[str, list[str]]:
    """Phases that each need some of those before them."""
    rng = random.Random(seed)
    found: dict[str, list[str]] = {f"phase-{number}": [] for number in range(phases)}
    names = list(found)
    for _ in range(edges):
        before, after = sorted(rng.sample(range(phases), 2))
        found[names[after]].append(names[before])
    return found


def resolved(dependencies: Mapping[str, Sequence[str]], weights: Mapping[str, float]) -> object:
    """What PyMigrate does with a plan: cycles and dangling names refused, levels, critical path, and slack of every phase."""
    precedence = Precedence(dependencies)
    criticality = precedence.criticality(weights)
    return precedence.levels(), criticality.path, criticality.slacks


def by_networkx(dependencies: Mapping[str, Sequence[str]]) -> object:
    """What networkx does with it."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(dependencies)
    graph.add_edges_from((need, name) for name, needs in dependencies.items() for need in needs)
    return list(nx.topological_generations(graph))


def ready_seconds(precedence: Precedence) -> list[float]:
    """How long each completion takes until the next ready set is known."""
    ready, found = ReadySet(precedence), []
    for name in precedence.order:
        started = time.perf_counter()
        ready.complete(name)
        found.append(time.perf_counter() - started)
    return found


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    report = Report("graph", ["networkx"])
    medians = []
    for (phases, edges, goal_seconds), rounds in ((SMALL, 41), (LARGE, 3 if given.quick else 7)):
        if given.tiny:
            phases, edges, rounds = 50, 100, 1
        dependencies = plan(phases, edges)
        weights = {name: float(at % 97) for at, name in enumerate(dependencies)}
        ours, reference = interleaved(
            [lambda d=dependencies, w=weights: resolved(d, w), lambda d=dependencies: by_networkx(d)],  # type: ignore[misc]  # bound now
            rounds,
        )
        report.add(
            f"{phases:,} phases and {edges:,} edges to order, critical path and slack",
            ours * MILLISECONDS,
            "ms",
            reference="networkx, order alone",
            reference_value=reference * MILLISECONDS,
            goal=f"no slower than networkx and below {goal_seconds * MILLISECONDS:g} ms",
            met=ours <= reference and ours < goal_seconds,
        )
        times = ready_seconds(Precedence(dependencies))
        medians.append(statistics.median(times))
        report.add(
            f"next ready set after a completion, {phases:,} phases, p99",
            percentile(times, 99) * MICROSECONDS,
            "µs",
            reference="median of the same",
            reference_value=medians[-1] * MICROSECONDS,
            goal=f"median below {READY_SECONDS_MAX * MICROSECONDS:g} µs",
            met=medians[-1] < READY_SECONDS_MAX,
        )
    report.add(
        "next ready set, the large graph against the small one",
        medians[1] * MICROSECONDS,
        "µs",
        reference="the small graph",
        reference_value=medians[0] * MICROSECONDS,
        goal="independent of the graph's size but for the processor's caches: at most 5 times",
        met=medians[1] <= 5 * medians[0],
    )
    report.write(given.results)


if __name__ == "__main__":
    main()
