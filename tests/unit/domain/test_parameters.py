"""What parameters accept, and what is refused of them, with where."""

import re

import pytest

from pymigrate.engine.domain.interpolation import TEXT_CHARACTERS_MAX, Malformed, interpolate, sole_name
from pymigrate.engine.domain.parameters import Layer, Parameter, Resolved, Type, resolve, value_problems


def matches(pattern: str, text: str) -> bool:
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error as error:
        raise ValueError(str(error)) from error


def of(*layers: Layer, is_template: bool = False) -> Resolved:
    return resolve(layers, matches, is_template=is_template)


def told(*layers: Layer, is_template: bool = False) -> list[tuple[str, str]]:
    return [(problem.field, problem.description) for problem in of(*layers, is_template=is_template).problems]


@pytest.mark.parametrize(
    ("kind", "fitting", "refused"),
    [
        (Type.STRING, ["", "any"], []),
        (Type.INTEGER, ["0", "-7", str(2**63 - 1)], ["", "1.0", "007", "+1", " 1", str(2**63), "9" * 40, "٣"]),
        (Type.NUMBER, ["0.5", "-1e3", "7"], ["", "nan", "inf", "1e999", ".5", "0x1", "1_0"]),
        (Type.BOOLEAN, ["true", "false"], ["", "True", "1", "yes"]),
        (Type.SECRET, ["vault://kv/a#b", "env://NAME", "file:///run/secret"], ["", "hunter2", "vault://", "a b://c"]),
    ],
)
def test_a_value_is_written_as_its_type_is(kind: Type, fitting: list[str], refused: list[str]) -> None:
    assert [text for text in fitting if list(value_problems(Parameter(kind), text, matches))] == []
    assert [text for text in refused if not list(value_problems(Parameter(kind), text, matches))] == []


def test_what_a_secret_holds_instead_of_a_reference_is_not_repeated() -> None:
    assert "hunter2" not in "".join(value_problems(Parameter(Type.SECRET), "hunter2", matches))


def test_constraints_hold_for_what_a_value_becomes() -> None:
    base = Layer("base", {"size": Parameter(pattern="[a-z]+[0-9]"), "n": Parameter(default="x")})
    assert told(base, Layer("prod", values={"size": "${n}5"})) == []
    assert told(base, Layer("prod", values={"size": "${n}", "n": "5"})) == [
        ("values.size", "does not match the pattern `[a-z]+[0-9]`")
    ]


def test_bounds_and_choices_are_kept() -> None:
    parameter = Parameter(Type.INTEGER, minimum=1, maximum=10, allowed=("1", "5", "50"))
    assert list(value_problems(parameter, "5", matches)) == []
    assert list(value_problems(parameter, "50", matches)) == ["must be at most 10"]
    assert list(value_problems(parameter, "0", matches)) == ["`0` is not one of 1, 5, 50", "must be at least 1"]
    assert list(value_problems(Parameter(length_min=2), "a", matches)) == ["must have 2 to 4,000 characters; it has 1"]


def test_a_value_that_no_layer_gives_is_required_but_of_a_template() -> None:
    base = Layer("base", {"region": Parameter(), "zone": Parameter(default="${region}-a")})
    assert told(base, is_template=True) == []
    assert of(base, is_template=True).unvalued == {"region", "zone"}
    assert told(base, Layer("prod")) == [
        ("values.region", "is required: `base` declares `region` without a default, and no layer gives it a value")
    ]
    found = of(base, Layer("prod", values={"region": "eu"})).values
    assert (found["zone"].text, found["zone"].layer, found["zone"].parameters) == ("eu-a", "", ("region",))
    assert (found["region"].text, found["region"].layer) == ("eu", "prod")


def test_a_circle_of_values_is_told_by_its_names() -> None:
    base = Layer("base", {"a": Parameter(), "b": Parameter(), "c": Parameter()})
    assert told(base, Layer("prod", values={"a": "${b}", "b": "${a}", "c": "${a}"})) == [
        (
            "values.a",
            "parameters refer to one another in a circle: a → b → a; give one of them a value of its own",
        )
    ]


def test_a_parameter_is_declared_anew_with_the_same_type_alone() -> None:
    base = Layer("base", {"lanes": Parameter(Type.INTEGER, default="1")})
    assert of(base, Layer("prod", {"lanes": Parameter(Type.INTEGER, default="8")})).values["lanes"].text == "8"
    assert told(base, Layer("prod", {"lanes": Parameter(default="8")})) == [
        ("parameters.lanes.type", "`base` declares it as integer: declare it alike, or by another name")
    ]


def test_bases_that_declare_a_parameter_differently_are_refused_together() -> None:
    layers = (Layer("a", {"x": Parameter(default="1")}), Layer("b", {"x": Parameter(Type.INTEGER, default="1")}))
    assert told(*layers, Layer("prod")) == [("bases", "`a` declares the parameter `x` as string, and `b` as integer")]


def test_a_value_of_nothing_is_told_with_the_nearest_name() -> None:
    base = Layer("base", {"region": Parameter(default="eu")})
    assert told(base, Layer("prod", values={"regoin": "us", "region": "${zone}"})) == [
        ("values.regoin", "there is no parameter `regoin`; did you mean `region`?"),
        ("values.region", "there is no parameter `zone`; there are `region`"),
    ]


def test_constraints_that_make_no_sense_are_all_told_where_they_stand() -> None:
    parameters = {
        "A": Parameter(),
        "bad": Parameter(pattern="(", length_min=5, length_max=2),
        "flag": Parameter(Type.BOOLEAN, minimum=1.0, allowed=("maybe",)),
        "n": Parameter(Type.INTEGER, default="x", minimum=3, maximum=1, pattern="a"),
    }
    found = [field for field, _ in told(Layer("prod", parameters), is_template=True)]
    assert found == [
        "parameters.A",
        "parameters.bad.length_max",
        "parameters.bad.pattern",
        "parameters.flag.minimum",
        "parameters.flag.allowed_values",
        "parameters.n.maximum",
        "parameters.n.pattern",
        "parameters.n.default_value",
    ]


def test_values_that_double_one_another_stay_bounded() -> None:
    parameters = {f"p{number}": Parameter(default=f"${{p{number - 1}}}" * 2) for number in range(1, 60)}
    found = of(Layer("prod", {"p0": Parameter(default="x" * 10)} | parameters), is_template=True)
    assert max(len(value.text) for value in found.values.values()) <= 4_000
    assert found.problems[0].description == "must have 0 to 4,000 characters; it has 5,120"


@pytest.mark.parametrize(
    "text", ["${", "${a", "${}", "${a.b}", "${a b}", "${A}", "${a-}", "${${a}}", "${a$b}", "x ${1}"]
)
def test_what_is_no_place_of_a_parameter_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"write `\$\$\{`"):
        interpolate(text, lambda name: name)


def test_a_text_has_an_end() -> None:
    with pytest.raises(Malformed, match="longer than"):
        interpolate("${a}${a}", lambda name: "x" * TEXT_CHARACTERS_MAX)


def test_only_a_whole_text_is_a_parameter_alone() -> None:
    assert [sole_name(text) for text in ("${port}", "${port} ", "$${port}", "${a}${b}", "port", "${A}")] == [
        "port",
        *[""] * 5,
    ]
