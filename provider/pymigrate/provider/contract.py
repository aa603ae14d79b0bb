"""Terraform schemas and values from the contract's descriptors, so that HCL says what proto says, in the same words."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tf.types import Bool, List, Map, Number, String, TfType

from pymigrate.provider.descriptions import description_of
from pymigrate.provider.sdk.checks import Check
from pymigrate.provider.sdk.resource import State
from pymigrate.provider.sdk.schema import TEXT_MAP, TEXTS, Attribute, Moment, Nesting
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1.shape import ShapeError, enum_word, enum_words, from_data, to_data

TIMESTAMP = "google.protobuf.Timestamp"
NO_CHECKS: Mapping[str, Check] = MappingProxyType({})
_NUMBERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_DOUBLE,
        FieldDescriptor.CPPTYPE_FLOAT,
    }
)


def attributes_of(
    descriptor: Descriptor,
    *,
    leave_out: Sequence[str] = (),
    required: Sequence[str] = (),
    computed: Sequence[str] = (),
    checks: Mapping[str, Check] = NO_CHECKS,
    is_computed: bool = False,
) -> list[Attribute]:
    """An attribute for each field. Fields are optional unless they are named as required or computed; the parts of a computed field
    are computed. `required` and `checks` may name nested fields by their path, such as `source.connection`."""
    found = []
    for field in descriptor.fields:
        if field.name in leave_out:
            continue
        is_out = is_computed or field.name in computed
        is_needed = field.name in required and not is_out
        below = f"{field.name}."
        inner = [path.removeprefix(below) for path in required if path.startswith(below)]
        inner_checks = {path.removeprefix(below): check for path, check in checks.items() if path.startswith(below)}
        options = {"computed": is_out, "required": is_needed, "optional": not is_out and not is_needed}
        found.append(_attribute(field, inner, inner_checks, options, checks.get(field.name)))
    return found


def to_message(state: State, message: Message, attributes: Mapping[str, Attribute]) -> None:
    """Fills a message from a state or plan: only fields of the message, null left out. Raises ValueError for what does not fit."""
    names = {field.name for field in message.DESCRIPTOR.fields}
    data = {name: _plain(value) for name, value in state.items() if name in names and name in attributes}
    try:
        from_data({name: value for name, value in data.items() if value is not None}, message)
    except ShapeError as error:
        raise ValueError(str(error)) from error


def to_state(message: Message, attributes: Mapping[str, Attribute], *, has_zeros: bool = False) -> State:
    """A message as state: every attribute that the message has; null, or with `has_zeros` an empty value, where it is not set."""
    told = {name: each for name, each in attributes.items() if name in message.DESCRIPTOR.fields_by_name}
    return _complete(to_data(message, is_snake=True), told, has_zeros=has_zeros)


def to_figures(message: Message, attributes: Mapping[str, Attribute]) -> State:
    """A message of figures as state: a zero is a zero, an empty map empty; null are messages and words that are not set, and numbers that
    are none (NaN, infinite)."""
    fields = message.DESCRIPTOR.fields_by_name
    return {name: _told(message, fields[name], attribute) for name, attribute in attributes.items() if name in fields}


def _told(message: Message, field: FieldDescriptor, attribute: Attribute) -> Any:
    value = getattr(message, field.name)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        return {key: _told_one(inner, value[key], attribute) for key in sorted(value)}
    if field.label == FieldDescriptor.LABEL_REPEATED:
        return [_told_one(field, item, attribute) for item in value]
    if entry is not None and not message.HasField(field.name):
        return None
    return _told_one(field, value, attribute)


def _told_one(field: FieldDescriptor, value: Any, attribute: Attribute) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return to_figures(value, attribute.nested)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return enum_word(field.enum_type, value) or None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _attribute(
    field: FieldDescriptor,
    inner: Sequence[str],
    checks: Mapping[str, Check],
    how: Mapping[str, Any],
    check: Check | None,
) -> Attribute:
    is_out = how["computed"]
    described = description_of(f"{field.containing_type.name}.{field.name}")
    if is_out and field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        described = f"{described} One of {', '.join(f'`{word}`' for word in enum_words(field.enum_type))}."
    options = {**how, "check": check, "description": described}
    message = field.message_type
    may_be_zero = how["optional"] and not field.has_presence and field.cpp_type != FieldDescriptor.CPPTYPE_ENUM
    if message is not None and message.GetOptions().map_entry:
        value = message.fields_by_name["value"]
        if value.message_type is None:
            kind = TEXT_MAP if _is_text(value) else Map(Number())
            return Attribute(field.name, kind, is_zero_unset=may_be_zero, **options)
        nested = attributes_of(value.message_type, required=inner, checks=checks, is_computed=is_out)
        return Attribute(field.name, nested=nested, nesting=Nesting.MAP, **options)
    if message is not None and message.full_name != TIMESTAMP:
        nesting = Nesting.LIST if field.label == FieldDescriptor.LABEL_REPEATED else Nesting.SINGLE
        nested = attributes_of(message, required=inner, checks=checks, is_computed=is_out)
        # An object without attributes can't be told from null on the wire of a nested attribute: a flag stands for it.
        return (
            Attribute(field.name, nested=nested, nesting=nesting, **options)
            if nested
            else Attribute(field.name, TEXT_MAP, **options)
        )
    if field.label == FieldDescriptor.LABEL_REPEATED:
        return Attribute(field.name, TEXTS, is_zero_unset=may_be_zero, **options)
    if message is not None:
        return Attribute(field.name, Moment(), **options)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return Attribute(field.name, String(), words=() if is_out else enum_words(field.enum_type), **options)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return Attribute(field.name, Bool(), is_zero_unset=may_be_zero, **options)
    return Attribute(
        field.name, Number() if field.cpp_type in _NUMBERS else String(), is_zero_unset=may_be_zero, **options
    )


def _is_text(field: FieldDescriptor) -> bool:
    return bool(field.cpp_type == FieldDescriptor.CPPTYPE_STRING)


def _plain(value: Any) -> Any:
    """A value without null and unknown parts."""
    if value is Unknown:
        return None
    if isinstance(value, dict):
        return {name: plain for name, item in value.items() if (plain := _plain(item)) is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _complete(data: Mapping[str, Any], attributes: Mapping[str, Attribute], *, has_zeros: bool) -> State:
    state: State = {}
    for name, attribute in attributes.items():
        value = data.get(name)
        if attribute.nested and value is not None:
            if attribute.nesting is Nesting.MAP:
                value = {key: _complete(item, attribute.nested, has_zeros=has_zeros) for key, item in value.items()}
            elif attribute.nesting is Nesting.LIST:
                value = [_complete(item, attribute.nested, has_zeros=has_zeros) for item in value]
            else:
                value = _complete(value, attribute.nested, has_zeros=has_zeros)
        elif value is None and has_zeros and attribute.is_zero_unset:
            value = _zero(attribute.type)
        state[name] = value
    return state


def _zero(kind: TfType) -> Any:
    match kind:
        case Bool():
            return False
        case Number():
            return 0
        case List():
            return []
        case Map():
            return {}
        case _:
            return ""
