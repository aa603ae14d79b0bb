"""What comes before what: order, critical path, slack, and what a completion sets free, held to networkx."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain import graph
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.domain.precedence import Precedence, ReadySet

DIAMOND = {"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": ()}
COSTS = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0}


@st.composite
def plans(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Up to a dozen phases, each needing some of those before it, declared in any order."""
    names = [f"p{number}" for number in range(draw(st.integers(0, 12)))]
    wanted = {
        name: tuple(draw(st.lists(st.sampled_from(names[:at]), max_size=4))) if at else ()
        for at, name in enumerate(names)
    }
    return {name: wanted[name] for name in draw(st.permutations(names))}


def digraph(dependencies: dict[str, tuple[str, ...]]) -> "nx.DiGraph[str]":
    found: nx.DiGraph[str] = nx.DiGraph()
    found.add_nodes_from(dependencies)
    found.add_edges_from((need, name) for name, needs in dependencies.items() for need in needs)
    return found


def test_the_critical_path_is_the_heaviest_and_everything_else_has_slack() -> None:
    found = Precedence(DIAMOND).criticality(COSTS)
    assert found.makespan == 7.0
    assert found.path == ("a", "b", "d")
    assert found.slacks == {"a": 0.0, "b": 0.0, "c": 3.0, "d": 0.0}
    assert (found.timing("c").start, found.timing("c").finish) == (1.0, 3.0)


def test_of_two_paths_that_are_as_heavy_the_first_by_name_is_told() -> None:
    assert Precedence(DIAMOND).criticality(dict.fromkeys("abcd", 1.0)).path == ("a", "b", "d")


def test_a_cycle_is_refused_with_all_of_its_phases() -> None:
    with pytest.raises(InvalidDefinition, match="a → b → c → a"):
        Precedence({"a": ("b",), "b": ("c",), "c": ("a",), "d": ("a",), "e": ()})


def test_everything_that_dangles_is_told_at_once() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        Precedence({"sales": ("finanse",), "finance": ("hr",)})
    assert [problem.field for problem in refused.value.problems] == [
        "phases.finance.dependencies",
        "phases.sales.dependencies",
    ]


def test_a_completion_sets_free_what_waited_for_it_alone() -> None:
    ready = ReadySet(Precedence(DIAMOND))
    assert ready.complete("a") == ["b", "c"]
    assert ready.complete("b") == []
    assert ready.complete("b") == []
    assert ready.complete("c") == ["d"]


def test_what_is_undone_is_waited_for_again() -> None:
    ready = ReadySet(Precedence(DIAMOND), ["a", "b", "c"])
    assert ready.is_free("d")
    ready.reopen("c")
    ready.reopen("c")
    assert not ready.is_free("d")
    assert ready.complete("c") == ["d"]


@given(plans())
def test_levels_and_descendants_are_those_of_networkx(dependencies: dict[str, tuple[str, ...]]) -> None:
    found = Precedence(dependencies)
    assert found.levels() == graph.levels(dependencies)
    for phase in dependencies:
        descendants = found.descendants(phase)
        assert set(descendants) == nx.descendants(digraph(dependencies), phase)
        order = {name: at for at, name in enumerate(found.order)}
        assert descendants == sorted(descendants, key=order.__getitem__)


@given(plans(), st.lists(st.integers(0, 50), min_size=12, max_size=12))
def test_the_makespan_is_that_of_the_longest_path(dependencies: dict[str, tuple[str, ...]], costs: list[int]) -> None:
    weights = {name: float(costs[at]) for at, name in enumerate(sorted(dependencies))}
    found = Precedence(dependencies).criticality(weights)
    edges = digraph(dependencies)
    for before, after in edges.edges:
        edges[before][after]["weight"] = weights[before]
    end: nx.DiGraph[str] = edges
    end.add_edges_from(((name, "end") for name in dependencies), weight=0.0)
    for name in dependencies:
        end[name]["end"]["weight"] = weights[name]
    assert found.makespan == (nx.dag_longest_path_length(end) if dependencies else 0.0)
    assert sum(weights[name] for name in found.path) == found.makespan
    assert all(found.timing(name).slack == 0 for name in found.path)
    assert all(slack >= 0 for slack in found.slacks.values())
    for name, needs in dependencies.items():
        assert all(found.timing(need).finish <= found.timing(name).start for need in needs)


@given(plans())
def test_whatever_is_completed_in_order_every_phase_is_set_free_once(
    dependencies: dict[str, tuple[str, ...]],
) -> None:
    precedence = Precedence(dependencies)
    ready = ReadySet(precedence)
    freed = [name for name in dependencies if ready.is_free(name)]
    for name in precedence.order:
        assert ready.is_free(name)
        freed.extend(ready.complete(name))
    assert sorted(freed) == sorted(dependencies)
