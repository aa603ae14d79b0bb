"""Schemas with nested attributes, times, defaults that hold on update too, what a value may be, and write-only attributes."""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp
from tf.gen import tfplugin_pb2 as pb
from tf.schema import Attribute as PlainAttribute
from tf.schema import Schema as PlainSchema
from tf.types import List, Map, Number, Set, String, TfType, Unknown

from pymigrate.provider.sdk.checks import Check

State = dict[str, Any]
WRITE_ONLY = b"\x58\x01"  # field 11, true: newer than the protocol that `tf` speaks


class Nesting(Enum):
    """How a nested attribute holds its objects."""

    SINGLE = "SINGLE"
    MAP = "MAP"
    LIST = "LIST"


class NestedType(TfType):
    """Objects of nested attributes. Values are plain dictionaries and lists as they are on the wire."""

    def __init__(self, nesting: Nesting, attributes: Sequence["Attribute"]) -> None:
        self.nesting = nesting
        self.attributes = attributes

    def encode(self, value: Any) -> Any:
        """As it is."""
        return value

    def decode(self, value: Any) -> Any:
        """As it is."""
        return value

    def tf_type(self) -> bytes:
        """Terraform's words for the type, where one is asked for beside the nested type."""
        parts = ",".join(f'"{attribute.name}":{attribute.type.tf_type().decode()}' for attribute in self.attributes)
        bare = f'["object",{{{parts}}}]'
        wrap = {Nesting.SINGLE: bare, Nesting.MAP: f'["map",{bare}]', Nesting.LIST: f'["list",{bare}]'}
        return wrap[self.nesting].encode()


class UnorderedSet(Set):
    """A set that may become unknown in a plan."""

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """Order does not matter; an unknown set equals only itself, and so does one that is not set at all."""
        if any(value is None or value is Unknown for value in (a_decoded, b_decoded)):
            return a_decoded is b_decoded
        return bool(super().semantically_equal(a_decoded, b_decoded))


class Moment(String):
    """A time as RFC 3339 writes it. However it is written, it is the same one."""

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """Whether both are the same instant; what is no time equals only itself."""
        if a_decoded == b_decoded:
            return True
        return is_moment(a_decoded) and is_moment(b_decoded) and _instant(a_decoded) == _instant(b_decoded)


def is_moment(value: Any) -> bool:
    """Whether a value is a time such as `2026-01-31T12:00:00Z`."""
    try:
        _instant(value)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _instant(text: str) -> tuple[int, int]:
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment.seconds, moment.nanos


class Attribute(PlainAttribute):
    """An attribute. `nested` holds its own attributes; `is_stable`: computed once and kept on update; `words`: all it may be; `check`
    says what is wrong with a value; `default` holds on create and update; `is_write_only`: never in plan or state; `is_zero_unset`: to
    the engine an empty value is the same as none, so Terraform is told that it may be computed, and a plan keeps whichever is there."""

    def __init__(
        self,
        name: str,
        type: TfType | None = None,
        *,
        nested: Sequence["Attribute"] = (),
        nesting: Nesting = Nesting.SINGLE,
        is_stable: bool = False,
        is_write_only: bool = False,
        is_zero_unset: bool = False,
        words: Sequence[str] = (),
        check: Check | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, type or (NestedType(nesting, nested) if nested else String()), **options)
        self.nested: Mapping[str, Attribute] = {attribute.name: attribute for attribute in nested}
        self.nesting = nesting
        self.is_stable = is_stable
        self.is_write_only = is_write_only
        self.is_zero_unset = is_zero_unset
        self.words = tuple(words)
        self.check = check

    @property
    def has_default(self) -> bool:
        """Whether a default stands for what is not set."""
        return self.default is not Unknown

    @cached_property
    def has_numbers(self) -> bool:
        """Whether numbers are in its values, which are other ones on the wire."""
        if self.nested:
            return any(part.has_numbers for part in self.nested.values())
        kind = self.type
        while isinstance(kind, List | Map | Set):
            kind = kind.element_type
        return isinstance(kind, Number)

    @property
    def told(self) -> str:
        """Its description with what else there is to know of its values."""
        parts = [self.description or ""]
        if self.words:
            parts.append(f"One of {', '.join(f'`{word}`' for word in self.words)}.")
        if self.has_default:
            default = json.dumps(self.default) if not isinstance(self.default, str) else self.default
            parts.append(f"Default: `{default}`.")
        if self.requires_replace:
            parts.append("Another value is another object.")
        return " ".join(part for part in parts if part)

    def to_pb(self) -> pb.Schema.Attribute:
        """The attribute on the wire, with its nested type."""
        message = super().to_pb()
        message.description = self.told
        message.computed = message.computed or self.is_zero_unset
        if self.nested:
            message.ClearField("type")
            message.nested_type.nesting = getattr(pb.Schema.Object, self.nesting.value)
            message.nested_type.attributes.extend(attribute.to_pb() for attribute in self.nested.values())
        if self.is_write_only:
            message.MergeFromString(WRITE_ONLY)
        return message


class Schema(PlainSchema):
    """A schema with a version, so that a refresh needs no guess."""

    def __init__(self, attributes: Sequence[Attribute], version: int = 1, **options: Any) -> None:
        super().__init__(attributes=list(attributes), version=version, **options)

    @cached_property
    def by_name(self) -> Mapping[str, Attribute]:
        """The attributes by name."""
        return {attribute.name: cast(Attribute, attribute) for attribute in self.attributes}


def elements(attribute: Attribute, value: Any) -> list[tuple[Any, State]]:
    """The objects of a nested attribute with what leads to each: None, a map's key or a list's index."""
    if not attribute.nested or not isinstance(value, dict | list):
        return []
    if attribute.nesting is Nesting.SINGLE:
        return [(None, value)] if isinstance(value, dict) else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [(key, item) for key, item in pairs if isinstance(item, dict)]


def rebuilt(attribute: Attribute, value: Any, parts: Mapping[Any, State]) -> Any:
    """A nested attribute's value with other objects where `parts` has some, keyed as `elements` keys them."""
    if attribute.nesting is Nesting.SINGLE:
        return parts.get(None, value)
    if isinstance(value, dict):
        return {key: parts.get(key, item) for key, item in value.items()}
    return [parts.get(at, item) for at, item in enumerate(value)] if isinstance(value, list) else value


def are_equal(attribute: Attribute, one: Any, other: Any) -> bool:
    """Whether two values mean the same."""
    if one == other:
        return True
    if not attribute.nested or not isinstance(one, dict | list) or not isinstance(other, dict | list):
        return bool(attribute.type.semantically_equal(one, other))
    first, second = dict(elements(attribute, one)), dict(elements(attribute, other))
    return first.keys() == second.keys() and all(
        are_equal(part, first[key].get(name), second[key].get(name))
        for key in first
        for name, part in attribute.nested.items()
    )


TEXTS = List(String())
TEXT_MAP = Map(String())
