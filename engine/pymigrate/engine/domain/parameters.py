"""Parameters of environments: their types and constraints, what the layers say of them, and the values that come of it.

A value may refer to other parameters. It is checked as what it becomes, so that a constraint holds whatever it is made of.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.graph import find_cycle, spell
from pymigrate.engine.domain.interpolation import Malformed, interpolate, names_in
from pymigrate.engine.domain.names import ID_RULE, is_id, nearest

PARAMETERS_MAX = 500
PATTERN_CHARACTERS_MAX = 500
TEXT_CHARACTERS_MAX = 4_000
ALLOWED_VALUES_MAX = 100
DESCRIPTION_CHARACTERS_MAX = 2_000
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*://\S+")


class Type(StrEnum):
    """What the values of a parameter are."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    SECRET = "secret"  # noqa: S105 (a word of the contract)


Matches = Callable[[str, str], bool]
"""Whether a pattern fits a whole text. Raises ValueError for what is no pattern."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as a layer declares it. `default` None: a value is required."""

    type: Type = Type.STRING
    default: str | None = None
    allowed: tuple[str, ...] = ()
    pattern: str = ""
    minimum: float | None = None
    maximum: float | None = None
    length_min: int = 0
    length_max: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one environment says of parameters."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Value:
    """A value, the layer that says so (empty: the default), and every parameter that is part of it, by name."""

    text: str
    type: Type
    layer: str
    parameters: tuple[str, ...] = ()

    @property
    def typed(self) -> str | int | float | bool:
        """The value as data."""
        match self.type:
            case Type.INTEGER:
                return int(self.text)
            case Type.NUMBER:
                return float(self.text)
            case Type.BOOLEAN:
                return self.text == "true"
            case _:
                return self.text


@dataclass(frozen=True, slots=True)
class Resolved:
    """The parameters of an environment. `unvalued` are those that no layer gives a value, nor what they refer to."""

    values: Mapping[str, Value]
    unvalued: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every parameter that is declared."""
        return frozenset(self.values) | self.unvalued


def resolve(layers: Sequence[Layer], matches: Matches, *, is_template: bool) -> Resolved:
    """What the layers, the most general first, make of parameters. The problems are those of the last layer, whose environment it is: of
    what it says itself, and of what it is left with."""
    declared: dict[str, tuple[str, Parameter]] = {}
    said: dict[str, tuple[str, str]] = {}
    problems: list[Problem] = []
    for layer in layers:
        if layer is layers[-1]:
            problems += _own_problems(layer, declared, matches)
        declared |= {name: (layer.name, parameter) for name, parameter in layer.parameters.items()}
        said |= {name: (layer.name, text) for name, text in layer.values.items()}
    for name in sorted(layers[-1].values.keys() - declared.keys()):
        problems.append(Problem(f"values.{name}", f"there is no parameter `{name}`{nearest(name, declared)}"))
    parameters = {name: parameter for name, (_, parameter) in declared.items()}
    problems += _mixed(layers)
    own = frozenset(layers[-1].parameters) | frozenset(layers[-1].values)
    values, unvalued, found = _Evaluation(parameters, said, own, matches).evaluate()
    problems += found
    if not is_template:
        for name in sorted(unvalued):
            if name not in said and parameters[name].default is None:
                problems.append(
                    Problem(
                        f"values.{name}",
                        f"is required: `{declared[name][0]}` declares `{name}` without a default, and no layer gives it a value",
                    )
                )
    return Resolved(values, frozenset(unvalued), tuple(dict.fromkeys(problems)))


class _Evaluation:
    """The values of all parameters, each after those that it refers to."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        said: Mapping[str, tuple[str, str]],
        own: frozenset[str],
        matches: Matches,
    ) -> None:
        self._parameters = parameters
        self._texts = {
            name: said.get(name, ("", parameter.default))
            for name, parameter in parameters.items()
            if name in said or parameter.default is not None
        }
        self._own = own
        self._said = said
        self._matches = matches
        self._problems: list[Problem] = []

    def evaluate(self) -> tuple[dict[str, Value], set[str], list[Problem]]:
        """Values, parameters without one, and problems."""
        needs = {name: self._needs(name, text or "") for name, (_, text) in sorted(self._texts.items())}
        known = {name: tuple(each for each in others if each in needs) for name, others in needs.items()}
        values: dict[str, Value] = {}
        left = dict(known)
        while left:
            ready = [name for name, others in left.items() if not any(other in left for other in others)]
            if not ready:
                ring = find_cycle(left)
                self._problems.append(
                    Problem(
                        self._place(ring[0]),
                        f"parameters refer to one another in a circle: {spell(ring)}; give one of them a value of its own",
                    )
                )
                break
            for name in ready:
                del left[name]
                if all(other in values for other in needs[name]):
                    self._evaluate_one(name, needs[name], values)
        return values, set(self._parameters) - values.keys(), self._problems

    def _evaluate_one(self, name: str, needs: Sequence[str], values: dict[str, Value]) -> None:
        layer, text = self._texts[name]
        parameter, place = self._parameters[name], self._place(name)
        try:
            whole = interpolate(text or "", lambda other: values[other].text)
        except Malformed as error:
            self._problems.append(Problem(place, str(error)))
            return
        found = list(value_problems(parameter, whole, self._matches))
        self._problems += [Problem(place, description) for description in found]
        if not found:
            parts = {*needs, *(part for other in needs for part in values[other].parameters)}
            values[name] = Value(whole, parameter.type, layer, tuple(sorted(parts)))

    def _needs(self, name: str, text: str) -> tuple[str, ...]:
        try:
            names = names_in(text)
        except Malformed as error:
            self._problems.append(Problem(self._place(name), str(error)))
            return ()
        for other in names:
            if other not in self._parameters:
                self._problems.append(
                    Problem(self._place(name), f"there is no parameter `{other}`{nearest(other, self._parameters)}")
                )
        return names

    def _place(self, name: str) -> str:
        if name in self._said or name not in self._own:
            return f"values.{name}"
        return f"parameters.{name}.default_value"


def value_problems(parameter: Parameter, text: str, matches: Matches) -> Iterator[str]:
    """What is wrong with a value, written as it is in definitions."""
    if wrong := _type_problem(parameter.type, text):
        yield wrong
        return
    if parameter.allowed and text not in parameter.allowed:
        yield f"`{text[:100]}` is not one of {', '.join(parameter.allowed)}"
    if parameter.type in {Type.INTEGER, Type.NUMBER}:
        value = float(text) if parameter.type is Type.NUMBER else int(text)
        if parameter.minimum is not None and value < parameter.minimum:
            yield f"must be at least {parameter.minimum:.15g}"
        if parameter.maximum is not None and value > parameter.maximum:
            yield f"must be at most {parameter.maximum:.15g}"
    characters_max = parameter.length_max or TEXT_CHARACTERS_MAX
    if not parameter.length_min <= len(text) <= characters_max:
        yield f"must have {parameter.length_min:,} to {characters_max:,} characters; it has {len(text):,}"
    elif parameter.pattern and not _fits(matches, parameter.pattern, text):
        yield f"does not match the pattern `{parameter.pattern}`"


def _fits(matches: Matches, pattern: str, text: str) -> bool:
    try:
        return matches(pattern, text)
    except ValueError:
        return True  # that the pattern is none is told where it is declared


def _type_problem(kind: Type, text: str) -> str:
    match kind:
        case Type.INTEGER if not _INTEGER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
            return f"`{text[:100]}` is no whole number of 64 bits"
        case Type.NUMBER if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            return f"`{text[:100]}` is no number"
        case Type.BOOLEAN if text not in {"true", "false"}:
            return f"`{text[:100]}` is neither true nor false"
        case Type.SECRET if not _REFERENCE.fullmatch(text):
            return "must be a reference to a secret, such as vault://kv/legacy#password, never the secret itself"
        case _:
            return ""


def _own_problems(layer: Layer, before: Mapping[str, tuple[str, Parameter]], matches: Matches) -> Iterator[Problem]:
    if len(layer.parameters) > PARAMETERS_MAX:
        yield Problem("parameters", f"has at most {PARAMETERS_MAX} entries")
    for name, parameter in sorted(layer.parameters.items()):
        path = f"parameters.{name}"
        if not is_id(name):
            yield Problem(path, f"`{name}` is no name: use {ID_RULE}")
        if name in before and before[name][1].type is not parameter.type:
            base, declared = before[name]
            yield Problem(
                f"{path}.type", f"`{base}` declares it as {declared.type}: declare it alike, or by another name"
            )
        for where, description in _constraint_problems(parameter, matches):
            yield Problem(f"{path}.{where}", description)


def _constraint_problems(parameter: Parameter, matches: Matches) -> Iterator[tuple[str, str]]:
    is_number, is_text = parameter.type in {Type.INTEGER, Type.NUMBER}, parameter.type is Type.STRING
    if len(parameter.description) > DESCRIPTION_CHARACTERS_MAX:
        yield "description", f"has at most {DESCRIPTION_CHARACTERS_MAX:,} characters"
    for where, bound in (("minimum", parameter.minimum), ("maximum", parameter.maximum)):
        if bound is not None and not is_number:
            yield where, "is for integers and numbers"
        elif bound is not None and not math.isfinite(bound):
            yield where, "must be a number"
    if parameter.minimum is not None and parameter.maximum is not None and parameter.minimum > parameter.maximum:
        yield "maximum", "is below the minimum"
    for where, length in (("length_min", parameter.length_min), ("length_max", parameter.length_max)):
        if length and not is_text:
            yield where, "is for texts"
        elif not 0 <= length <= TEXT_CHARACTERS_MAX:
            yield where, f"must be 0 to {TEXT_CHARACTERS_MAX:,}"
    if parameter.length_max and parameter.length_min > parameter.length_max:
        yield "length_max", "is below length_min"
    yield from _pattern_problems(parameter, matches)
    if len(parameter.allowed) > ALLOWED_VALUES_MAX:
        yield "allowed_values", f"has at most {ALLOWED_VALUES_MAX} entries"
    for value in parameter.allowed:
        if wrong := _type_problem(parameter.type, value):
            yield "allowed_values", wrong


def _pattern_problems(parameter: Parameter, matches: Matches) -> Iterator[tuple[str, str]]:
    if not parameter.pattern:
        return
    if parameter.type is not Type.STRING:
        yield "pattern", "is for texts"
    if len(parameter.pattern) > PATTERN_CHARACTERS_MAX:
        yield "pattern", f"has at most {PATTERN_CHARACTERS_MAX} characters"
        return
    try:
        matches(parameter.pattern, "")
    except ValueError as error:
        yield "pattern", f"is no regular expression of RE2: {error}"


def _mixed(layers: Sequence[Layer]) -> Iterator[Problem]:
    """Parameters that two bases, neither of which inherits from the other, declare with different types."""
    types: dict[str, tuple[str, Type]] = {}
    for layer in layers[:-1]:
        for name, parameter in sorted(layer.parameters.items()):
            base, kind = types.setdefault(name, (layer.name, parameter.type))
            if kind is not parameter.type:
                yield Problem(
                    "bases",
                    f"`{base}` declares the parameter `{name}` as {kind}, and `{layer.name}` as {parameter.type}",
                )
