"""The one shape: the contract's messages as plain data, the same in YAML, custom resources, REST and (in snake_case) HCL.

Keys are lowerCamelCase or snake_case, enum values short lower-case words (`read_only`), 64-bit integers numbers (strings are accepted
too), timestamps RFC 3339 text. Everything is read off the descriptors; nothing is described twice.
"""

import base64
import binascii
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

DEPTH_MAX = 32
DIGITS_MAX = 64
NUMBER_WORDS = ("NaN", "Infinity", "-Infinity")
_INTEGERS = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64})
_NATURALS = frozenset({FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64})
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})


class ShapeError(ValueError):
    """Data that does not fit its message; `path` says where, such as `datasets.flights.target.loadMode`."""

    def __init__(self, path: str, description: str) -> None:
        super().__init__(f"{path}: {description}" if path else description)
        self.path = path
        self.description = description


Tell = Callable[[ShapeError], None]


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """`read_only` for DOWNTIME_POLICY_READ_ONLY; empty for the unspecified value. Raises KeyError for an unknown number."""
    value = enum.values_by_number[number]
    return "" if number == 0 else value.name[len(_prefix(enum)) :].lower()


def enum_words(enum: EnumDescriptor) -> tuple[str, ...]:
    """Every word of an enum, in the order of its declaration."""
    return tuple(enum_word(enum, value.number) for value in enum.values if value.number)


def enum_number(enum: EnumDescriptor, word: str) -> int:
    """The number of a word. Raises ValueError that lists the words."""
    value = enum.values_by_name.get(_prefix(enum) + word.upper())
    if value is None or value.number == 0 or word != word.lower():
        raise ValueError(f"`{word}` is not one of {', '.join(enum_words(enum))}")
    return int(value.number)


def to_data(message: Message, *, is_snake: bool = False) -> dict[str, Any]:
    """A message as plain data; what is unset is left out."""
    data: dict[str, Any] = {}
    for field, value in message.ListFields():
        key = field.name if is_snake else field.camelcase_name
        if _is_map(field):
            value_field = field.message_type.fields_by_name["value"]
            data[key] = {name: _out(value_field, value[name], is_snake=is_snake) for name in sorted(value)}
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            data[key] = [_out(field, item, is_snake=is_snake) for item in value]
        else:
            data[key] = _out(field, value, is_snake=is_snake)
    return data


def to_json_data(message: Message) -> dict[str, Any]:
    """`to_data` without numbers that JSON does not have: those are the words that protobuf's JSON has for them."""
    data: dict[str, Any] = _in_words(to_data(message))
    return data


def from_data(
    data: Mapping[str, Any],
    message: Message,
    path: str = "",
    depth: int = 0,
    tell: Tell | None = None,
) -> None:
    """Fills a message from plain data, keys in either spelling. Raises ShapeError at the first thing that does not fit; with `tell`, tells
    it of each and leaves that out."""
    if not isinstance(data, Mapping):
        raise ShapeError(path, f"must be a map, not {_kind(data)}")
    if depth > DEPTH_MAX:
        raise ShapeError(path, f"is nested more than {DEPTH_MAX} deep")
    names, told_errors = _fields(message.DESCRIPTOR), _Telling(tell)
    for key, value in data.items():
        place = f"{path}.{key}" if path else str(key)
        with told_errors:
            if key not in names:
                raise ShapeError(place, f"there is no such field{_nearest(str(key), names)}")
            if value is not None:
                _set(message, names[key], value, place, depth, tell)


@cache
def _fields(message: Descriptor) -> Mapping[str, FieldDescriptor]:
    """The fields of a message in either spelling. There are as many as the contract has messages."""
    names = {field.camelcase_name: field for field in message.fields}
    return names | {field.name: field for field in message.fields}


def _set(
    message: Message,
    field: FieldDescriptor,
    value: Any,
    path: str,
    depth: int,
    tell: Tell | None,
) -> None:
    if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name) is not None:
        raise ShapeError(
            path, f"stands beside {message.WhichOneof(field.containing_oneof.name)}: only one of them may be set"
        )
    target = getattr(message, field.name)
    if _is_map(field):
        if not isinstance(value, Mapping):
            raise ShapeError(path, f"must be a map, not {_kind(value)}")
        value_field = field.message_type.fields_by_name["value"]
        for name, item in value.items():
            with _Telling(tell):
                _set_entry(target, value_field, name, item, f"{path}.{name}", depth, tell)
    elif field.label == FieldDescriptor.LABEL_REPEATED:
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
            raise ShapeError(path, f"must be a list, not {_kind(value)}")
        for at, item in enumerate(value):
            with _Telling(tell):
                if field.message_type is not None:
                    from_data(item, target.add(), f"{path}[{at}]", depth + 1, tell)
                else:
                    target.append(_in(field, item, f"{path}[{at}]"))
    elif isinstance(target, Timestamp):
        try:
            target.FromJsonString(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise ShapeError(path, "must be a time such as 2026-01-31T12:00:00Z") from error
    elif field.message_type is not None:
        target.SetInParent()
        from_data(value, target, path, depth + 1, tell)
    else:
        setattr(message, field.name, _in(field, value, path))


def _set_entry(
    target: Any,
    value_field: FieldDescriptor,
    name: Any,
    item: Any,
    path: str,
    depth: int,
    tell: Tell | None,
) -> None:
    if not isinstance(name, str):
        raise ShapeError(path, "a key must be text: quote it")
    if value_field.message_type is not None:
        from_data({} if item is None else item, target[name], path, depth + 1, tell)
    else:
        target[name] = _in(value_field, item, path)


class _Telling:
    """Tells of what does not fit, where somebody wants to be told, so that what stands beside it is looked at too."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._tell is None or not isinstance(error, ShapeError):
            return False
        self._tell(error)
        return True


def _in(field: FieldDescriptor, value: Any, path: str) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        if not isinstance(value, str):
            raise ShapeError(path, f"must be one of {', '.join(enum_words(field.enum_type))}")
        try:
            return enum_number(field.enum_type, value)
        except ValueError as error:
            raise ShapeError(path, str(error)) from error
    if kind in _INTEGERS | _NATURALS:
        return _integer(field, value, path)
    if kind in _FLOATS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ShapeError(path, f"must be a number, not {_kind(value)}")
        return float(value)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise ShapeError(path, f"must be true or false, not {_kind(value)}")
        return value
    if not isinstance(value, str):
        raise ShapeError(path, f"must be text, not {_kind(value)}: quote it")
    if field.type != FieldDescriptor.TYPE_BYTES:
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ShapeError(path, "must be base64") from error


def _integer(field: FieldDescriptor, value: Any, path: str) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.removeprefix("-").isdecimal():
        text = int(text[:DIGITS_MAX])  # what is longer is out of bounds either way
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    if isinstance(text, bool) or not isinstance(text, int):
        kind = "one with a fraction" if isinstance(text, float) and math.isfinite(text) else _kind(value)
        raise ShapeError(path, f"must be a whole number, not {kind}")
    bits = 32 if field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32} else 64
    is_natural = field.cpp_type in _NATURALS
    least, most = (0, 2**bits - 1) if is_natural else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not least <= text <= most:
        raise ShapeError(path, f"must be {least} to {most}")
    return text


def _out(field: FieldDescriptor, value: Any, *, is_snake: bool) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return to_data(value, is_snake=is_snake)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return enum_word(field.enum_type, value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _in_words(data: Any) -> Any:
    match data:
        case dict():
            return {name: _in_words(value) for name, value in data.items()}
        case list():
            return [_in_words(value) for value in data]
        case float() if not math.isfinite(data):
            return NUMBER_WORDS[0] if math.isnan(data) else NUMBER_WORDS[1 if data > 0 else 2]
        case _:
            return data


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _prefix(enum: EnumDescriptor) -> str:
    zero = enum.values_by_number[0].name
    return str(zero[: -len("UNSPECIFIED")])


def _kind(value: Any) -> str:
    kinds = {dict: "a map", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    kinds[Decimal] = "one of more digits than a double holds"
    return kinds.get(type(value), type(value).__name__)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""
