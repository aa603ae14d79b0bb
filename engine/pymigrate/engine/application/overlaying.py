"""A message, overridden: values are set and taken away by the paths of fields, such as `postgres.host` or `datasets.orders.lanes`.

They are read off the message's descriptor. A field may be spelled in snake_case or lowerCamelCase; a key of a map that is no plain word
stands in backticks. Lists, maps and messages are written as JSON in the one shape of the contract, and replaced whole.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.domain.interpolation import interpolate, sole_name
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.parameters import Value
from pymigrate.v1.shape import DEPTH_MAX, ShapeError, from_data

PATH_CHARACTERS_MAX = 1_000
SEGMENTS_KEPT_MAX = 10_000
_SEGMENT = re.compile(r"`([^`]+)`|([^.`]+)")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
Path = tuple[str, ...]
"""The segments of a path: fields in snake_case, and keys of maps as they are."""
ValueOf = Callable[[str, Path], Value]
"""The value of a parameter that is put in at a path; of what is in a list, at the list's."""


class CannotOverride(ValueError):
    """A path that leads to nothing that can be set, or a value that does not fit there."""


def split_path(path: str) -> Path:
    """The segments as they are written. Raises CannotOverride."""
    if len(path) > PATH_CHARACTERS_MAX:
        raise CannotOverride(f"a path has at most {PATH_CHARACTERS_MAX:,} characters")
    segments, at = [], 0
    while True:
        found = _SEGMENT.match(path, at)
        if found is None:
            raise CannotOverride("is no path of a field, such as postgres.host: a key with dots stands in backticks")
        segments.append(found[1] or found[2])
        at = found.end()
        if at == len(path):
            return tuple(segments)
        if path[at] != ".":
            raise CannotOverride("is no path of a field: a backtick ends before a dot or at the end")
        at += 1


def join_path(segments: Path) -> str:
    """The path as it is written, with what is no plain word in backticks."""
    return ".".join(map(_spelled, segments))


@lru_cache(SEGMENTS_KEPT_MAX)
def _spelled(segment: str) -> str:
    return segment if _PLAIN.fullmatch(segment) else f"`{segment}`"


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path leads: a field of a message, or with a key an entry of the map that it is."""

    message: Any
    field: FieldDescriptor
    key: str
    path: Path

    @property
    def value_field(self) -> FieldDescriptor:
        """What describes a single value there."""
        found: FieldDescriptor = self.field.message_type.fields_by_name["value"] if self.key else self.field
        return found

    @property
    def is_one(self) -> bool:
        """Whether a single value lies there, no list and no map."""
        return bool(self.key) or self.field.label != FieldDescriptor.LABEL_REPEATED


def clear(message: Message, path: str) -> Path:
    """Takes away what lies at a path, if anything; the path as it was read. Raises CannotOverride."""
    place = _find(message, split_path(path), is_setting=False)
    if not place.key:
        place.message.ClearField(place.field.name)
    else:
        getattr(place.message, place.field.name).pop(place.key, None)
    return place.path


def put(message: Message, path: str, text: str, value_of: ValueOf) -> Path:
    """Sets what lies at a path; the path as it was read. Parameters are put in where no text is asked for; texts keep theirs. Raises
    CannotOverride, and whatever `value_of` raises."""
    place = _find(message, split_path(path), is_setting=True)
    data = _data(place, text, value_of)
    fresh = type(place.message)()
    try:
        from_data({place.field.name: {place.key: data} if place.key else data}, fresh)
    except ShapeError as error:
        _, _, below = error.path.partition(f"{place.field.name}.{place.key}" if place.key else place.field.name)
        where = f"{below.lstrip('.')}: " if below.lstrip(".") else ""
        raise CannotOverride(f"{where}{error.description}") from error
    if place.key:
        getattr(place.message, place.field.name).pop(place.key, None)
    else:
        place.message.ClearField(place.field.name)
    place.message.MergeFrom(fresh)
    return place.path


def _find(message: Message, segments: Path, *, is_setting: bool) -> _Place:
    at: Any = message
    left = list(reversed(segments))
    path: list[str] = []
    while True:
        field = _field(at.DESCRIPTOR, left.pop())
        path.append(field.name)
        if is_setting:
            _refuse_another_kind(at, field)
        key = ""
        if is_map(field) and left:
            key = left.pop()
            path.append(key)
        if not left:
            return _Place(at, field, key, tuple(path))
        value = field.message_type.fields_by_name["value"] if key else field
        if not key and field.label == FieldDescriptor.LABEL_REPEATED:
            raise CannotOverride(f"`{field.name}` is a list: write it whole, as JSON")
        if value.message_type is None or value.message_type is Timestamp.DESCRIPTOR:
            raise CannotOverride(f"nothing lies below `{join_path(tuple(path))}`")
        if not key:
            at = getattr(at, field.name)
        elif is_setting or key in getattr(at, field.name):
            at = getattr(at, field.name)[key]
        else:
            at = GetMessageClass(value.message_type)()  # nothing is there to be cleared, but the path may still be none


def _field(descriptor: Descriptor, segment: str) -> FieldDescriptor:
    for field in descriptor.fields:
        if segment in {field.name, field.camelcase_name}:
            return field  # type: ignore[no-any-return]  # descriptors are not typed through
    raise CannotOverride(f"there is no field `{segment}`{nearest(segment, descriptor.fields_by_name)}")


def _refuse_another_kind(message: Any, field: FieldDescriptor) -> None:
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) == 1:
        return
    chosen = message.WhichOneof(oneof.name)
    if chosen is not None and chosen != field.name:
        raise CannotOverride(f"it is `{chosen}`: take that away by cleared_fields before `{field.name}` is set")


def _data(place: _Place, text: str, value_of: ValueOf) -> Any:
    """The text as plain data of the one shape."""
    field = place.value_field
    is_message = field.message_type is not None and field.message_type is not Timestamp.DESCRIPTOR
    if is_message or not place.is_one:
        return _Filling(value_of).filled(field, _read_json(text), place.path, is_one=place.is_one, depth=0)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != FieldDescriptor.TYPE_BYTES:
        return text
    return _scalar(field, interpolate(text, lambda name: value_of(name, place.path).text))


def _read_json(text: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CannotOverride(f"must be written as JSON: {error}") from error


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    if field.cpp_type in _FLOATS:
        try:
            return float(text)
        except ValueError:
            return text
    return text


@dataclass(frozen=True, slots=True)
class _Filling:
    """Data with parameters put in wherever a value that is no text is asked for; what does not fit its field stays for others to refuse."""

    value_of: ValueOf

    def filled(self, field: FieldDescriptor, data: Any, path: Path, *, is_one: bool, depth: int) -> Any:
        """The data of a field: of one value, or of all in a list or map."""
        if depth > DEPTH_MAX:
            return data
        if not is_one and is_map(field):
            value = field.message_type.fields_by_name["value"]
            if not isinstance(data, dict):
                return data
            return {
                key: self.filled(value, each, (*path, str(key)), is_one=True, depth=depth + 1)
                for key, each in data.items()
            }
        if not is_one:
            if not isinstance(data, list):
                return data
            return [self.filled(field, each, path, is_one=True, depth=depth + 1) for each in data]
        if field.message_type is not None and isinstance(data, dict):
            return dict(self._fields(field.message_type, data, path, depth))
        is_text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type != FieldDescriptor.TYPE_BYTES
        if is_text or not isinstance(data, str) or "${" not in data:
            return data
        if name := sole_name(data):
            return self.value_of(name, path).typed
        return _scalar(field, interpolate(data, lambda name: self.value_of(name, path).text))

    def _fields(
        self, descriptor: Descriptor, data: dict[Any, Any], path: Path, depth: int
    ) -> Iterator[tuple[Any, Any]]:
        known = {field.camelcase_name: field for field in descriptor.fields}
        known |= {field.name: field for field in descriptor.fields}
        for key, each in data.items():
            if key not in known:
                yield key, each
                continue
            is_one = known[key].label != FieldDescriptor.LABEL_REPEATED
            place = (*path, known[key].name)
            yield key, self.filled(known[key], each, place, is_one=is_one, depth=depth + 1)
