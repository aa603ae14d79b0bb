"""What is refused of layers."""

import pytest

from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.domain.layering import BASES_MAX, LEVELS_MAX, layers_of


def refusal(bases: dict[str, list[str]], name: str = "prod") -> list[tuple[str, str]]:
    with pytest.raises(InvalidDefinition) as refused:
        layers_of(name, bases)
    return [(problem.field, problem.description) for problem in refused.value.problems]


def test_an_environment_without_bases_is_its_only_layer() -> None:
    assert layers_of("prod", {"prod": [], "base": []}) == ("prod",)


def test_a_base_that_is_met_twice_counts_where_it_comes_first() -> None:
    bases = {"root": [], "eu": ["root"], "big": ["root"], "prod": ["eu", "big"]}
    assert layers_of("prod", bases) == ("root", "eu", "big", "prod")


def test_a_circle_is_told_with_everything_that_lies_on_it() -> None:
    found = refusal({"prod": ["eu"], "eu": ["base"], "base": ["prod"]})
    assert found == [
        (
            "bases",
            "environments inherit from one another in a circle: prod → eu → base → prod; leave one of these bases out",
        )
    ]


def test_an_environment_is_not_its_own_base() -> None:
    assert "prod → prod" in refusal({"prod": ["prod"]})[0][1]


def test_every_unknown_base_is_told_with_the_nearest_name() -> None:
    found = refusal({"prod": ["bsae", "base", "nowhere-near"], "base": []})
    assert found[0] == ("bases", "there is no environment `bsae`; did you mean `base`?")
    assert len(found) == 2


def test_a_base_is_named_once() -> None:
    assert refusal({"prod": ["base", "base"], "base": []}) == [("bases", "names an environment twice")]


def test_there_are_sixteen_bases_and_sixteen_levels_at_most() -> None:
    many: dict[str, list[str]] = {f"b{number}": [] for number in range(BASES_MAX + 1)}
    assert refusal({**many, "prod": list(many)}) == [("bases", "has at most 16 entries")]
    deep = {f"b{number}": [f"b{number - 1}"] if number else [] for number in range(LEVELS_MAX)}
    assert len(layers_of(f"b{LEVELS_MAX - 1}", deep)) == LEVELS_MAX
    assert "17 levels deep" in refusal({**deep, "prod": [f"b{LEVELS_MAX - 1}"]})[0][1]
