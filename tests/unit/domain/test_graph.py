"""The graph of phases: cycles spelled out, dangling names, order and critical path."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain import graph

Names = st.integers(0, 8).map(lambda number: f"p{number}")


def test_a_cycle_is_spelled_out_from_its_smallest_name() -> None:
    cycle = graph.find_cycle({"sales": ("finance",), "finance": ("sales",), "hr": ()})
    assert graph.spell(cycle) == "finance → sales → finance"


def test_a_cycle_is_spelled_out_from_the_phase_that_is_asked_about() -> None:
    cycle = graph.find_cycle({"sales": ("finance",), "finance": ("sales",)}, through="sales")
    assert graph.spell(cycle) == "sales → finance → sales"


def test_a_phase_that_needs_itself_is_a_cycle() -> None:
    assert graph.spell(graph.find_cycle({"a": ("a",)})) == "a → a"


def test_a_cycle_that_the_phase_asked_about_is_not_on_is_found_too() -> None:
    assert graph.find_cycle({"a": (), "b": ("c",), "c": ("b",)}, through="a") == ("b", "c", "b")


def test_a_dangling_dependency_is_told_with_the_nearest_name() -> None:
    (problem,) = graph.dangling({"sales": ("finanse",), "finance": ()})
    assert problem.field == "phases.sales.dependencies"
    assert "did you mean `finance`?" in problem.description


def test_levels_need_only_those_before_them() -> None:
    found = graph.levels({"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": ()})
    assert found == (("a",), ("b", "c"), ("d",))


@given(st.dictionaries(Names, st.lists(Names, max_size=4).map(tuple), max_size=9))
def test_a_graph_has_either_a_cycle_or_an_order(dependencies: dict[str, tuple[str, ...]]) -> None:
    cycle = graph.find_cycle(dependencies)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in dependencies[before] for before, after in itertools.pairwise(cycle))
    else:
        order = {phase: at for at, level in enumerate(graph.levels(dependencies)) for phase in level}
        assert order.keys() == dependencies.keys()
        assert all(order[name] < order[p] for p, names in dependencies.items() for name in names if name in order)
