"""The texts of messages: parameters are put into them, and a message is laid out as the values that it holds, by their paths."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
    """What filling a message found: problems by the path of the text, the parameters of each text (of all in a list, at the list's path),
    and whether every parameter had a value."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    names: dict[Path, set[str]] = field(default_factory=dict)
    is_complete: bool = True


def fill(message: Message, text_of: Callable[[str], str], skipped: frozenset[str] = frozenset()) -> Filled:
    """Puts parameters into every text of a message, but for those of `skipped` fields at its top. `text_of` raises Unvalued for one without
    a value, whose text stays as it is, and Malformed for one that there is not."""
    found = Filled()

    def filled(text: str, path: Path) -> str:
        used = found.names.setdefault(path, set())

        def take(name: str) -> str:
            used.add(name)
            return text_of(name)

        try:
            return interpolate(text, take)
        except Unvalued:
            found.is_complete = False
        except Malformed as error:
            found.problems.append((join_path(path), str(error)))
        return text

    waiting: list[tuple[Any, Path]] = [(message, ())]
    while waiting:
        at, path = waiting.pop()
        for described, value in at.ListFields():
            if not path and described.name in skipped:
                continue
            if described.cpp_type == FieldDescriptor.CPPTYPE_STRING:
                _fill_texts(at, described, value, (*path, described.name), filled)
            elif is_map(described):
                _fill_map(described, value, (*path, described.name), filled, waiting)
            elif described.message_type is None:
                continue
            elif described.label == FieldDescriptor.LABEL_REPEATED:
                waiting += [(each, (*path, described.name)) for each in value]
            else:
                waiting.append((value, (*path, described.name)))
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
    """A value of a message, written as definitions write it."""

    path: Path
    value: str


def leaves(message: Message, skipped: frozenset[str] = frozenset()) -> Iterator[Leaf]:
    """Every value that a message holds, in the order of its fields; lists are one value each. `skipped` are left out at the top."""
    waiting: list[tuple[Any, Path]] = [(message, ())]
    while waiting:
        at, path = waiting.pop()
        fields = at.ListFields()
        if not fields and path:
            yield Leaf(path, "{}")
        below: list[tuple[Any, Path]] = []
        for described, value in fields:
            if not path and described.name in skipped:
                continue
            place = (*path, described.name)
            if is_map(described):
                entry = described.message_type.fields_by_name["value"]
                for key in sorted(value):
                    if entry.message_type is not None and entry.message_type is not Timestamp.DESCRIPTOR:
                        below.append((value[key], (*place, key)))
                    else:
                        yield _leaf((*place, key), entry, value[key])
            elif described.label == FieldDescriptor.LABEL_REPEATED:
                yield Leaf(place, _listed(at, described, value))
            elif described.message_type is not None and not isinstance(value, Timestamp):
                below.append((value, place))
            else:
                yield _leaf(place, described, value)
        waiting += reversed(below)


def _listed(message: Any, field: FieldDescriptor, values: Any) -> str:
    """A list as JSON in the one shape."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return json.dumps(list(values), ensure_ascii=False)
    whole = type(message)()
    getattr(whole, field.name).extend(values)
    [listed] = to_json_data(whole).values()
    return json.dumps(listed, ensure_ascii=False)


def _leaf(path: Path, field: FieldDescriptor, value: Any) -> Leaf:
    if isinstance(value, str):
        return Leaf(path, value)
    if isinstance(value, bool):
        return Leaf(path, "true" if value else "false")
    if isinstance(value, Timestamp):
        return Leaf(path, value.ToJsonString())
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return Leaf(path, enum_word(field.enum_type, value))
    return Leaf(path, repr(value) if isinstance(value, float) else str(value))
