"""Configurations as people write them by mistake: for every kind of resource, values of right and wrong types, unknown ones, empty and
huge ones, and names that nobody would choose. Everything follows from one source of chance."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random

from tf.types import Bool, List, Map, Number

from pymigrate.provider.sdk.schema import Attribute, Moment, Nesting

HUGE = 'join("", [for at in range(20000) : "ab☃"])'
TEXTS = (
    "",
    " ",
    "a",
    "sales",
    "env://NAME",
    "file:///run/secret#key",
    "22:00",
    "25:61",
    "mon",
    "Europe/Berlin",
    "2026-01-31T12:00:00Z",
    "2026-13-41T12:00:00Z",
    "environments/nowhere",
    "environments/nowhere/plans/none",
    "/srv/data.db",
    "https://host/path",
    "a:b@c://d",
    "${nothing} %{ if } \\ \" ' \n\t",
    "e\u0301\u200b\U0001f40d\u202e",
    "null",
    "{}",
)
NUMBERS = ("0", "1", "-1", "7", "0.1", "-0.0000001", "1e9", "2147483648", "9223372036854775808", "1e300", "1e-400")
MOMENTS = (
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.123456789+05:30",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
)
KEYS = ("a", "sales", "", "A b", "a.b", "0", "å", '"', "${x}", "name", "x" * 300)
WRONG = ("null", "true", "7", '"text"', "[]", "{}", '["a", null]', "{ a = null }", "[[]]", '{ a = { b = ["c"] } }')
# What is known only once it is applied, in each type; `known` is applied beside it.
UNKNOWNS = """
resource "terraform_data" "known" {
  input = { text = "a", number = 1, flag = true, texts = ["a"], map = { a = "b" } }
}
"""


class Writer:
    """Writes arguments. One that `is_wild` gives values of wrong types, leaves out what is required, and sets what can't be set."""

    def __init__(self, chance: Random, *, is_wild: bool) -> None:
        self._chance = chance
        self._is_wild = is_wild

    def block(self, type_name: str, attributes: Mapping[str, Attribute], given: Mapping[str, str]) -> str:
        """A resource named `fuzzed`; `given` are arguments that are as they are."""
        body = {**self._arguments(attributes, given), **given}
        lines = "".join(f"  {name} = {value}\n" for name, value in body.items())
        return f'resource "{type_name}" "fuzzed" {{\n{lines}}}\n'

    def _arguments(self, attributes: Mapping[str, Attribute], given: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for name, attribute in attributes.items():
            is_settable = attribute.required or attribute.optional
            is_here = self._likely(0.95 if self._is_wild else 1.0) if attribute.required else self._likely(0.3)
            if name not in given and is_here and (is_settable or (self._is_wild and self._likely(0.05))):
                found[name] = self._value(attribute)
        return found

    def _value(self, attribute: Attribute) -> str:
        if self._is_wild and self._likely(0.15):
            return self._chance.choice(WRONG)
        if not attribute.required and self._likely(0.05):
            return "null"
        if self._likely(0.05):
            return f"terraform_data.known.output.{_unknown(attribute)}"
        if not attribute.nested:
            return self._plain(attribute)
        make: Callable[[], str] = lambda: _object(self._arguments(attribute.nested, {}))  # noqa: E731
        match attribute.nesting:
            case Nesting.SINGLE:
                return make()
            case Nesting.LIST:
                return f"[{', '.join(make() for _ in range(self._chance.randrange(3)))}]"
            case Nesting.MAP:
                return _object({key: make() for key in self._keys()}, is_quoted=True)

    def _plain(self, attribute: Attribute) -> str:
        match attribute.type:
            case Bool():
                return self._chance.choice(("true", "false"))
            case Number():
                return self._number()
            case List():
                return f"[{', '.join(self._text(attribute.words) for _ in range(self._chance.randrange(4)))}]"
            case Map(element_type=Number()):
                return _object({key: self._number() for key in self._keys()}, is_quoted=True)
            case Map():
                return _object({key: self._text(()) for key in self._keys()}, is_quoted=True)
            case Moment():
                return quoted(self._chance.choice(MOMENTS)) if self._likely(0.8) else self._text(())
            case _:
                return self._text(attribute.words)

    def _number(self) -> str:
        return self._chance.choice(NUMBERS)

    def _text(self, words: Sequence[str]) -> str:
        if words and self._likely(0.9):
            return quoted(self._chance.choice(words))
        return HUGE if self._likely(0.02) else quoted(self._chance.choice(TEXTS))

    def _keys(self) -> list[str]:
        return self._chance.sample(KEYS, self._chance.choice((0, 1, 1, 1, 2)))

    def _likely(self, share: float) -> bool:
        return self._chance.random() < share


def quoted(text: str) -> str:
    """A text as HCL writes it; nothing in it is a template."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _object(entries: Mapping[str, str], *, is_quoted: bool = False) -> str:
    parts = [f"{quoted(name) if is_quoted else name} = {value}" for name, value in entries.items()]
    return f"{{ {', '.join(parts)} }}"


def _unknown(attribute: Attribute) -> str:
    if attribute.nested:
        return "map"
    match attribute.type:
        case Bool():
            return "flag"
        case Number():
            return "number"
        case List():
            return "texts"
        case Map():
            return "map"
        case _:
            return "text"
