"""Layers and parameters as properties: order alone decides, nothing is evaluated but names, and a value is what its references say.

Each property is paired with ways to get it wrong, which it must tell.
"""

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.interpolation import Malformed, interpolate, names_in
from pymigrate.engine.domain.layering import heirs_of, layers_of
from pymigrate.engine.domain.parameters import Layer, Parameter, resolve

# The first example that shows what is wrong will do: it need not be the least.
FIRST = (Phase.generate,)
NAMES = [f"e{number}" for number in range(8)]
Order = Callable[[str, Mapping[str, Sequence[str]]], Sequence[str]]


@st.composite
def families(draw: st.DrawFn) -> dict[str, list[str]]:
    """Environments of which each inherits only from those before it: there is no circle."""
    return {
        name: draw(st.lists(st.sampled_from(NAMES[:at]), unique=True, max_size=3)) if at else []
        for at, name in enumerate(NAMES)
    }


def hold_order(order: Order) -> None:
    """Each layer stands once, after its own bases; of two bases the earlier comes first wherever neither needs the other."""

    @settings(max_examples=200, deadline=None, phases=FIRST)
    @given(families())
    def check(bases: dict[str, list[str]]) -> None:
        layers = order(NAMES[-1], bases)
        assert layers[-1] == NAMES[-1]
        assert len(set(layers)) == len(layers)
        reached = {NAMES[-1]}
        for name in reversed(NAMES):
            reached |= set(bases[name]) if name in reached else set()
        assert set(layers) == reached
        at = {name: place for place, name in enumerate(layers)}
        for name in layers:
            assert all(at[base] < at[name] for base in bases[name])
        # The layers of the first base open the list as they are by themselves, and so on with each that follows.
        expected: list[str] = []
        for base in bases[NAMES[-1]]:
            expected += [name for name in order(base, bases) if name not in expected]
        assert list(layers) == [*expected, NAMES[-1]]

    check()


def test_a_layer_stands_once_after_its_own_bases_and_in_their_order() -> None:
    hold_order(layers_of)


def _last_place_counts(name: str, bases: Mapping[str, Sequence[str]]) -> list[str]:
    walked = [each for base in bases[name] for each in _last_place_counts(base, bases)] + [name]
    return [each for at, each in enumerate(walked) if each not in walked[at + 1 :]]


def _level_by_level(name: str, bases: Mapping[str, Sequence[str]]) -> list[str]:
    walked = [name]
    for each in walked:
        walked += [base for base in bases[each] if base not in walked]
    return walked[::-1]


def _by_name(name: str, bases: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted(layers_of(name, bases))


def _once_for_each_way(name: str, bases: Mapping[str, Sequence[str]]) -> list[str]:
    return [each for base in bases[name] for each in _once_for_each_way(base, bases)] + [name]


@pytest.mark.parametrize("order", [_last_place_counts, _level_by_level, _by_name, _once_for_each_way])
def test_a_wrong_order_of_layers_is_told(order: Order) -> None:
    with pytest.raises(AssertionError):
        hold_order(order)


@settings(max_examples=200, deadline=None)
@given(families(), st.sampled_from(NAMES))
def test_heirs_are_all_that_have_the_layer_each_after_those_it_inherits_from(
    bases: dict[str, list[str]], name: str
) -> None:
    heirs = heirs_of(name, bases)
    assert set(heirs) == {each for each in NAMES if each != name and name in layers_of(each, bases)}
    at = {heir: place for place, heir in enumerate(heirs)}
    assert all(at[base] < at[heir] for heir in heirs for base in bases[heir] if base in at)


PLAIN = st.text(st.sampled_from("a{}$ \n"), max_size=6).filter(lambda text: "${" not in text and text[-1:] != "$")
PIECES = st.lists(
    st.one_of(
        PLAIN.map(lambda text: (text, text)),
        st.sampled_from(["a}", "x}"]).map(lambda text: (text, text)),
        st.just(("$${", "${")),
        st.sampled_from(["a", "x"]).map(lambda name: (f"${{{name}}}", f"<{name}>")),
    ),
    max_size=6,
)
Fill = Callable[[str, Callable[[str], str]], str]


def hold_interpolation(fill: Fill) -> None:
    """A text becomes its pieces, one by one: values are put in as they are, even where they look like something to evaluate."""

    @settings(max_examples=300, deadline=None, phases=FIRST)
    @given(PIECES, st.sampled_from(["plain", "${x}", "$${", "}"]))
    def check(pieces: list[tuple[str, str]], value: str) -> None:
        text = "".join(written for written, _ in pieces)
        expected = "".join(value if written.startswith("${") else meant for written, meant in pieces)
        assert fill(text, lambda name: value) == expected

    check()


def test_a_text_becomes_what_its_pieces_stand_for() -> None:
    hold_interpolation(interpolate)


def _twice(text: str, value_of: Callable[[str], str]) -> str:
    try:
        return interpolate(interpolate(text, value_of), value_of)
    except Malformed:
        return ""


def _without_escapes(text: str, value_of: Callable[[str], str]) -> str:
    for name in ("a", "x"):
        text = text.replace(f"${{{name}}}", value_of(name))
    return text


def _escapes_first(text: str, value_of: Callable[[str], str]) -> str:
    return _without_escapes(text.replace("$${", "${"), value_of)


@pytest.mark.parametrize("fill", [_twice, _without_escapes, _escapes_first])
def test_a_wrong_interpolation_is_told(fill: Fill) -> None:
    with pytest.raises(AssertionError):
        hold_interpolation(fill)


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("$ab{}.-_ (1"), max_size=12))
def test_whatever_text_there_is_is_read_or_refused(text: str) -> None:
    try:
        names = names_in(text)
    except Malformed:
        assert "${" in text
    else:
        assert interpolate(text, lambda name: name.upper()).count("${") == text.count("$${")
        assert all(f"${{{name}}}" in text for name in names)


@st.composite
def chains(draw: st.DrawFn) -> list[Layer]:
    """Layers that say something of five parameters, each of which may refer to those before it."""
    parameters = {f"p{number}": Parameter(default="0") for number in range(5)}
    layers = [Layer("base", parameters)]
    for at in range(draw(st.integers(0, 3))):
        said = draw(st.sets(st.integers(0, 4)))
        values = {
            f"p{number}": f"{at}" + "".join(f"-${{p{draw(st.integers(0, number - 1))}}}" for _ in range(min(number, 2)))
            for number in sorted(said)
        }
        layers.append(Layer(f"layer{at}", {}, values))
    return layers


@settings(max_examples=200, deadline=None)
@given(chains())
def test_a_value_is_what_the_last_layer_says_with_the_values_it_refers_to(layers: list[Layer]) -> None:
    resolved = resolve(layers, lambda pattern, text: True, is_template=False)
    assert not resolved.problems
    for name, value in resolved.values.items():
        says = [layer for layer in layers if name in layer.values]
        assert value.layer == (says[-1].name if says else "")
        written = says[-1].values[name] if says else "0"
        assert value.text == interpolate(written, lambda other: resolved.values[other].text)
        direct = set(names_in(written))
        assert set(value.parameters) == direct.union(*(resolved.values[other].parameters for other in direct))
