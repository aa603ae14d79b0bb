"""The texts of messages: parameters are put into them, and a message is laid out as the values that it holds, by their paths."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.application.overlaying import Path, is_map, join_path
from pymigrate.engine.domain.interpolation import Malformed, has_places, interpolate
from pymigrate.v1.shape import enum_word, to_json_data

PLACE = b"${"


class Unvalued(Exception):
    """A parameter that has no value yet."""


@dataclass(slots=True)
class Filled:
    """What filling a message found: problems by the path of the text, and whether every parameter had a value."""

    problems: list[tuple[str, str]]
    is_complete: bool = True


def fill(message: Message, text_of: Callable[[str], str], skipped: frozenset[str] = frozenset()) -> Filled:
    """Puts parameters into every text of a message, but for those of `skipped` fields at its top. `text_of` raises Unvalued for one without
    a value, whose text stays as it is, and Malformed for one that there is not."""
    found = Filled([])

    def filled(text: str, path: Path) -> str:
        try:
            return interpolate(text, text_of)
        except Unvalued:
            found.is_complete = False
        except Malformed as error:
            found.problems.append((join_path(path), str(error)))
        return text

    waiting: list[tuple[Any, Path]] = [(message, ())]
    while waiting:
        at, path = waiting.pop()
        for field, value in at.ListFields():
            if not path and field.name in skipped:
                continue
            if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
                _fill_texts(at, field, value, (*path, field.name), filled)
            elif is_map(field):
                _fill_map(field, value, (*path, field.name), filled, waiting)
            elif field.message_type is None:
                continue
            elif field.label == FieldDescriptor.LABEL_REPEATED:
                waiting += [(each, (*path, field.name)) for each in value]
            else:
                waiting.append((value, (*path, field.name)))
    found.problems.sort()
    return found


def _fill_texts(
    message: Any, field: FieldDescriptor, value: Any, path: Path, filled: Callable[[str, Path], str]
) -> None:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return
    if isinstance(value, str):
        if has_places(value):
            setattr(message, field.name, filled(value, path))
        return
    for at, text in enumerate(value):
        if has_places(text):
            value[at] = filled(text, path)


def _fill_map(
    field: FieldDescriptor,
    entries: Any,
    path: Path,
    filled: Callable[[str, Path], str],
    waiting: list[tuple[Any, Path]],
) -> None:
    value = field.message_type.fields_by_name["value"]
    if value.message_type is not None:
        waiting += [(entries[key], (*path, key)) for key in entries]
    elif value.type == FieldDescriptor.TYPE_STRING:
        for key in [key for key, text in entries.items() if has_places(text)]:
            entries[key] = filled(entries[key], (*path, key))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value of a message, written as definitions write it, with the texts that are part of it."""

    path: Path
    value: str
    texts: tuple[str, ...] = ()


def leaves(message: Message, skipped: frozenset[str] = frozenset()) -> Iterator[Leaf]:
    """Every value that a message holds, in the order of its fields; lists are one value each. `skipped` are left out at the top."""
    waiting: list[tuple[Any, Path]] = [(message, ())]
    while waiting:
        at, path = waiting.pop()
        fields = at.ListFields()
        if not fields and path:
            yield Leaf(path, "{}")
        below: list[tuple[Any, Path]] = []
        for field, value in fields:
            if not path and field.name in skipped:
                continue
            place = (*path, field.name)
            if is_map(field):
                described = field.message_type.fields_by_name["value"]
                for key in sorted(value):
                    if described.message_type is not None and described.message_type is not Timestamp.DESCRIPTOR:
                        below.append((value[key], (*place, key)))
                    else:
                        yield _leaf((*place, key), described, value[key])
            elif field.label == FieldDescriptor.LABEL_REPEATED:
                whole = type(at)()
                getattr(whole, field.name).extend(value)
                [listed] = to_json_data(whole).values()
                yield Leaf(place, json.dumps(listed, ensure_ascii=False), tuple(_texts_in(listed)))
            elif field.message_type is not None and not isinstance(value, Timestamp):
                below.append((value, place))
            else:
                yield _leaf(place, field, value)
        waiting += reversed(below)


def _leaf(path: Path, field: FieldDescriptor, value: Any) -> Leaf:
    if isinstance(value, str):
        return Leaf(path, value, (value,))
    if isinstance(value, bool):
        return Leaf(path, "true" if value else "false")
    if isinstance(value, Timestamp):
        return Leaf(path, value.ToJsonString())
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return Leaf(path, enum_word(field.enum_type, value))
    return Leaf(path, repr(value) if isinstance(value, float) else str(value))


def _texts_in(data: Any) -> Iterator[str]:
    waiting = [data]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as entries:
                waiting += entries.values()
            case list() as items:
                waiting += items
